"""A version that runs in a child, with the surface of a ``Runner``; the child comes back."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.cancellation import Cancellation
from serving.errors import ConfigError, LoadError, Retry
from serving.events import log
from serving.execution.isolation import snapshot
from serving.execution.isolation.backoff import Backoff
from serving.execution.isolation.crashes import CrashError, NotRunningError
from serving.execution.isolation.many_texts import FEW, ManyTexts, Packing, PackingOf
from serving.execution.isolation.parent.runner import Hosted, HostSpec
from serving.execution.isolation.parent.starting import Hold
from serving.execution.session import Array, Input, Output, run_timeout_s
from serving.model_config import plain
from serving.model_config.schema import ModelConfig
from serving.settings import Settings

if TYPE_CHECKING:
    from serving._core import Batch

# What the child needs of the settings; nothing secret is among them.
_SECTIONS = {"threads", "providers", "limits", "state_dir"}
_CLOSE_S = 5.0
# What a load takes beside the model: tables, and stacks, which count in full.
_ROOM = 64 * 1024 * 1024
_STACK = 9 * 1024 * 1024


class IsolatedRunner:
    """One version in a child. ``run`` may be called from any number of threads at once.

    ``signature``, ``providers``, ``provider``, ``threads`` and ``notes`` are as ``Runner`` has
    them. ``trouble``: "" while the child runs, else in words why not; ``on_trouble`` is
    called, in a thread of its own, whenever that changed, ``on_closed`` once at the end of
    ``close``. ``crashes`` counts the ends of its
    children that nobody asked for, ``restarts`` the children started in their stead.
    """

    def __init__(self, hosted: Hosted, backoff: Backoff) -> None:
        facts = hosted.facts
        self.signature = facts.signature
        self.providers = facts.nodes
        self.provider = facts.provider
        self.threads = facts.threads
        self.notes = facts.notes
        self.trouble = ""
        self.on_trouble: Callable[[], None] = _nothing
        self.on_closed: Callable[[], None] = _nothing
        # Written by the keeper only.
        self.crashes = self.restarts = 0
        self.packing: PackingOf | None = self._packing if self.signature.has_texts else None
        self._many = ManyTexts(FEW)
        self._spec = hosted.spec
        self._backoff = backoff
        self._changed = threading.Condition()
        self._hosted: Hosted | None = hosted
        self._starting: Hosted | None = None
        self._closed = False
        self._running = 0
        self._alone = False
        self._waiting_alone = 0
        # Whether what runs, or ran last, are members of a failed batch.
        self._searching = False
        self._keeper = threading.Thread(
            target=self._keep, args=(hosted,), name=f"keep {hosted.spec.name}", daemon=True
        )
        self._keeper.start()
        # It may have to be started again at any moment.
        self._hold = Hold()

    @property
    def pid(self) -> int | None:
        """The child's; None while there is none."""
        hosted = self._hosted
        return None if hosted is None else hosted.child.pid

    def run(
        self, names: Sequence[str], feeds: Mapping[str, Array], requests: int = 0
    ) -> Sequence[Output]:
        """As ``Runner.run``; what answers so many ``requests`` is bounded. Raises FaultError for
        what failed in the child, RunLimitError, CrashError, NotRunningError."""
        with self._entered(alone=False) as hosted:
            return hosted.run(names, feeds, requests)

    def run_packed(
        self,
        names: Sequence[str],
        feeds: Mapping[str, Input],
        requests: int = 0,
        alone: bool = False,
    ) -> Sequence[Output]:
        """As ``run``, or as ``run_alone``; texts of the outputs come packed."""
        with self._entered(alone) as hosted:
            return hosted.run(names, feeds, requests, packed=True)

    def _packing(self, batch: Batch, again: bool = False) -> Packing | None:
        """Objects are quick for few texts, and what looks at runs can read them. All runs are in
        the child."""
        del again
        return self if self._many.many(*batch.weight) else None

    def run_alone(
        self, names: Sequence[str], feeds: Mapping[str, Array], requests: int = 0
    ) -> Sequence[Output]:
        """The same while nothing else runs in the child: if it ends, this run is the cause."""
        with self._entered(alone=True) as hosted:
            return hosted.run(names, feeds, requests)

    def stop(self, thread: int, alone: bool = True) -> None:
        """End what this thread runs, in RunStoppedError; where the child does not obey, with the
        child, which is started again."""
        hosted = self._hosted
        if hosted is not None:
            hosted.stop(thread, alone)

    def wait_ready(self, timeout: float | None = None, ending: Cancellation | None = None) -> bool:
        """Wait until the child runs, at most so many seconds or until ``ending`` is cancelled;
        whether it does. Once closed it never will."""
        if self._hosted is not None:
            return True
        ending = ending or Cancellation()
        with ending.waking(self._wake), self._changed:
            self._changed.wait_for(
                lambda: self._closed or self._hosted is not None or ending(), timeout
            )
            return self._hosted is not None

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """End the child, whatever runs in it, and give everything back."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            running = [one for one in (self._hosted, self._starting) if one is not None]
            self._hosted = None
            self._changed.notify_all()
        for one in running:
            one.close()
        self._keeper.join(_CLOSE_S)
        self._hold.close()
        self._spec.close()
        self.on_closed()

    @contextmanager
    def _entered(self, alone: bool) -> Iterator[Hosted]:
        """The child, shared with other runs or to be had alone. Those who wait to be alone go
        first, else they would wait for ever."""
        with self._changed:
            self._wait_for_turn(alone)
            hosted = self._hosted
            if hosted is None:
                raise NotRunningError("the model's process is being started again")
            self._running += 1
            self._alone = self._searching = alone
        try:
            yield hosted
        except (CrashError, NotRunningError):
            # Else who tries again finds it once more, until the keeper has seen its end.
            self._lose(hosted)
            raise
        finally:
            with self._changed:
                self._running -= 1
                self._alone = False
                if self._waiting_alone or alone:
                    self._changed.notify_all()

    def _wait_for_turn(self, alone: bool) -> None:
        if not alone:
            if self._alone or self._waiting_alone:
                self._changed.wait_for(lambda: not (self._alone or self._waiting_alone))
            return
        self._waiting_alone += 1
        try:
            self._changed.wait_for(lambda: self._running == 0)
        finally:
            self._waiting_alone -= 1
            self._changed.notify_all()

    def _lose(self, hosted: Hosted) -> None:
        with self._changed:
            if self._hosted is hosted:
                self._hosted = None

    def _keep(self, hosted: Hosted | None) -> None:
        """Start the child again whenever it has ended, until closed."""
        while hosted is not None:
            hosted.child.wait()
            self._lose(hosted)
            hosted.close()
            if self._closed:
                return
            self.crashes += not hosted.hung
            hosted = self._next(hosted.died(), hosted.lived(), asked_for=hosted.hung)

    def _next(self, words: str, lived: float, asked_for: bool) -> Hosted | None:
        """A child that runs, after as many tries as it takes; None once closed. ``asked_for``:
        the end of the last one was no crash."""
        while True:
            with self._changed:
                wait = 0.0 if asked_for else self._backoff.wait(lived, self._searching)
                asked_for = self._searching = False
                if self._closed:
                    return None
            self._say(words, wait)
            with self._changed:
                if self._changed.wait_for(lambda: self._closed, wait):
                    return None
            began = time.monotonic()
            try:
                hosted = Hosted.start(self._spec, self._watch_start)
            except (LoadError, ConfigError) as error:
                words, lived = str(error), 0.0
                continue
            if self._publish(hosted):
                self.restarts += 1
                self.on_trouble()
                seconds = round(time.monotonic() - began, 3)
                log.info("model_process_restarted", model=self._spec.name, seconds=seconds)
                return hosted
            hosted.close()
            return None

    def _watch_start(self, hosted: Hosted) -> None:
        """While it loads it can be closed, too."""
        with self._changed:
            self._starting = hosted
            closed = self._closed
        if closed:
            hosted.close()

    def _publish(self, hosted: Hosted) -> bool:
        with self._changed:
            self._starting = None
            if self._closed:
                return False
            self._hosted = hosted
            self.trouble = ""
            self._changed.notify_all()
            return True

    def _say(self, words: str, wait: float) -> None:
        deaths = self._backoff.deaths
        again = f"; it is started again in {wait:.1f} s" if wait else "; it is being started again"
        self.trouble = f"its process ended ({words}){again}"
        facts = {"model": self._spec.name, "how": words, "in_a_row": deaths, "wait_s": wait}
        log.warning("model_process_ended", **facts)
        self.on_trouble()


def _nothing() -> None:
    pass


def load_isolated_runner(
    version_dir: Path, config: ModelConfig, settings: Settings, name: str | None = None
) -> IsolatedRunner:
    """``session.load_runner`` in a child; this process never sees the model's bytes.

    Raises what that raises, and LoadError where the child ends while it loads.
    """
    spec = host_spec(version_dir, config, settings, name or version_dir.parent.name)
    return supervised(spec, settings)


def supervised(
    spec: HostSpec, settings: Settings, started: Callable[[Hosted], None] = lambda hosted: None
) -> IsolatedRunner:
    """A child as ``spec`` says, which is the runner's from now on. ``started`` hears of it before
    it loads. Raises as ``load_isolated_runner``."""
    try:
        hosted = Hosted.start(spec, started)
    except BaseException:
        spec.close()
        raise
    waits = settings.isolation
    try:
        return IsolatedRunner(hosted, Backoff(waits.restart_first_s, waits.restart_max_s))
    except BaseException:  # no thread can be had to keep it
        hosted.close()
        spec.close()
        raise


def _room(settings: Settings) -> int:
    return _ROOM + _STACK * (settings.intra_op_threads + settings.threads.inter_op)


def host_spec(version_dir: Path, config: ModelConfig, settings: Settings, name: str) -> HostSpec:
    """What a child has to be told. Raises LoadError where no memory can be had for it."""
    budget = config.memory_bytes or settings.loading.model_memory_bytes or settings.models_bytes
    message: dict[str, Any] = {
        "do": "load",
        "fingerprint": "",
        "path": os.fspath(version_dir),
        "name": name,
        "config": plain.to_plain(config),
        "settings": settings.model_dump(mode="json", include=_SECTIONS),
        "memory_bytes": settings.isolation_bytes,
        "process_bytes": settings.process_bytes,
        "niceness": 0,
    }
    try:
        files = snapshot.new()
    except OSError as error:
        words = "there is not enough memory for the model's files"
        raise LoadError(words, retry=Retry.LATER) from error
    return HostSpec(
        name=name,
        message=message,
        files=files,
        load_bytes=budget + settings.isolation_bytes + _room(settings),
        load_timeout_s=settings.loading.trial_timeout_s,
        run_timeout_s=run_timeout_s(config, settings),
    )
