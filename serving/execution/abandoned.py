"""Runs that nobody waits for any more are ended (fault 106).

The core says when callers have left. Then one thread looks at what runs, and ends the runs whose
last caller is gone: here by onnxruntime's flag, in a child by telling it, and where it does not
obey by ending the child. All that this costs a run is an entry in a dictionary, put and taken.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from serving import _core
from serving.events import log

if TYPE_CHECKING:
    from serving._core import Batch
    from serving.execution.isolation.many_texts import Packing, PackingOf
    from serving.execution.session import Array, Output, Run

# From the word that somebody left to a look at what runs: one look for all who leave meanwhile,
# and most runs have ended by then. As long again between two looks while such a run goes on:
# onnxruntime forgets a word to end that comes just between two runs.
_PAUSE_S = 0.1


class Stoppable(Protocol):
    """A runner whose runs can be ended. ``packing``: who runs a batch with its texts packed; None
    where nobody ever does."""

    @property
    def packing(self) -> PackingOf | None: ...
    @property
    def run(self) -> Run: ...

    def run_alone(
        self, names: Sequence[str], feeds: Mapping[str, Array], requests: int = 0
    ) -> Sequence[Output]: ...

    def stop(self, thread: int, alone: bool = True) -> None:
        """Have what ``thread`` (by ``threading.get_ident``) runs end, in RunStoppedError or, if
        nobody waits for another run in it (``alone``), with the process that it runs in. To be
        called again as long as it goes on."""


# What runs now, by thread: a look costs what runs, however many versions there are.
_now: dict[int, tuple[Runs, Batch]] = {}


class Runs:
    """What the threads of one version run now."""

    def __init__(self, runner: Stoppable) -> None:
        self._runner = runner
        self._packing = runner.packing
        _watch.start()

    def run(self, batch: Batch, alone: bool = False, again: bool = False) -> Sequence[Output]:
        """The outputs of a batch; ``alone``: while nothing else runs in its process; ``again``:
        see ``packing``.

        Raises what the runner raises; RunStoppedError, or what comes of the end of its process,
        where the batch was abandoned meanwhile.
        """
        runner, thread = self._runner, threading.get_ident()
        _now[thread] = (self, batch)
        try:
            packing = self.packing(batch, again)
            if packing is not None:
                return packing.run_packed(batch.outputs, batch.packed_inputs, batch.requests, alone)
            run = runner.run_alone if alone else runner.run
            return run(batch.outputs, batch.inputs, batch.requests)
        finally:
            del _now[thread]

    def packing(self, batch: Batch, again: bool) -> Packing | None:
        """Who runs it packed, if not the runner itself, with objects. ``again``: it, or what it is
        a part of, was lost with a child."""
        return None if self._packing is None else self._packing(batch, again)

    def end_abandoned(self) -> bool:
        """Have runs end that nobody waits for; whether there was any."""
        # One step for the interpreter: nothing comes or goes meanwhile.
        everything = list(_now.items())
        now = [(thread, batch) for thread, (runs, batch) in everything if runs is self]
        threads = [thread for thread, batch in now if batch.is_abandoned()]
        for thread in threads:
            self._runner.stop(thread, alone=len(threads) == len(now))
        return bool(threads)


class _Watch:
    """One thread for all versions, asleep while nobody leaves."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Once; further calls do nothing."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._watch, name="abandoned runs", daemon=True
                )
                self._thread.start()

    def _watch(self) -> None:
        while True:
            _core.wait_for_departures()
            time.sleep(_PAUSE_S)
            while self._look():
                time.sleep(_PAUSE_S)

    def _look(self) -> bool:
        """Whether a run goes on that nobody waits for. A function of its own: no name of it
        keeps a version's runs alive while the watch sleeps."""
        # One step for the interpreter, as in ``end_abandoned``.
        busy = {runs for runs, _ in list(_now.values())}
        ended = [_ended(runs) for runs in busy]
        return any(ended)


def _ended(runs: Runs) -> bool:
    try:
        return runs.end_abandoned()
    except Exception:  # noqa: BLE001 - one version's trouble; the thread watches others, too
        log.exception("abandoned_run_not_ended")
        return False


_watch = _Watch()
