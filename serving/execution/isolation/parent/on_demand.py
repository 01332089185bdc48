"""A child beside a version that runs in this process: started when it is first wanted, ended when
it was not used for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from serving.cancellation import Cancellation
from serving.errors import ConfigError, LoadError
from serving.events import log
from serving.execution.isolation.crashes import CrashError, NotRunningError
from serving.execution.isolation.many_texts import Demand
from serving.execution.isolation.parent.runner import Hosted
from serving.execution.isolation.parent.starting import Hold
from serving.execution.isolation.parent.supervised import IsolatedRunner
from serving.execution.session import Input, Output

IDLE_S = 300.0
# Until a start that failed is tried again.
_FIRST_S, _LONGEST_S = 10.0, 300.0
# A run whose child is on its way waits so long at most for it: others of the version wait behind.
_PATIENCE_S = 5.0
_CLOSE_S = 5.0


class Open(Protocol):
    """Start a child; ``started`` hears of it before it loads. Raises LoadError, ConfigError."""

    def __call__(self, started: Callable[[Hosted], None]) -> IsolatedRunner: ...


class OnDemand:
    """``take`` from any thread. ``on_changed`` is called, in whichever thread, when the child has
    come or gone, or could not be had."""

    def __init__(
        self,
        name: str,
        open_child: Open,
        on_changed: Callable[[], None],
        demand: Demand | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._open = open_child
        self._on_changed = on_changed
        self._demand = demand or Demand(IDLE_S, _FIRST_S, _LONGEST_S)
        self._clock = clock
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._runner: IsolatedRunner | None = None
        self._starting: Hosted | None = None
        self._running = 0
        self._closed = False
        # Whether a run has ended one: its like are not for the server's own process. Of several
        # that were in it nobody knows which.
        self._crashed = False
        # Why there is none, though it is wanted.
        self.trouble = ""
        self._hold = Hold()

    @property
    def process(self) -> IsolatedRunner | None:
        """The child, while there is one."""
        return self._runner

    def take(self) -> OnDemand | None:
        """Itself, where a run may go to the child; else the child is started, if it is not on its
        way, and the run goes elsewhere; but once a run has ended a child, others wait for the
        next child."""
        with self._changed:
            now = self._clock()
            self._demand.use(now)
            if self._closed:
                return None
            if self._thread is None and self._demand.may_start(now):
                self._begin()
            is_there = self._runner is not None and self._runner.pid is not None
            on_its_way = self._thread is not None
            return self if is_there or (self._crashed and on_its_way) else None

    @property
    def is_awaited(self) -> bool:
        """Whether a child is on its way since an earlier run."""
        return self._thread is not None and self._runner is None and not self._closed

    def _begin(self) -> None:
        thread = threading.Thread(target=self._live, name=f"texts {self._name}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self._failed("no thread can be had for it", str(error))
            self._on_changed()
        else:
            self._thread = thread

    def run_packed(
        self,
        names: Sequence[str],
        feeds: Mapping[str, Input],
        requests: int = 0,
        alone: bool = False,
    ) -> Sequence[Output]:
        """As ``IsolatedRunner.run_packed``."""
        with self._changed:
            runner = self._runner
            if runner is None:
                raise NotRunningError("the process for its many texts has ended")
            self._running += 1
        try:
            return runner.run_packed(names, feeds, requests, alone)
        except CrashError as error:
            self._crashed |= not error.killed
            raise
        finally:
            with self._changed:
                self._running -= 1
                self._demand.use(self._clock())

    def wait_ready(self, timeout: float | None = None, ending: Cancellation | None = None) -> bool:
        """Wait a few seconds for the child, if it is on its way; whether runs are possible
        elsewhere, or in it."""
        left = _PATIENCE_S if timeout is None else min(timeout, _PATIENCE_S)
        with self._changed:
            until = self._clock() + left
            self._changed.wait_for(lambda: self._runner is not None or self._thread is None, left)
            runner = self._runner
            if runner is None:
                return self._thread is None
        return runner.wait_ready(max(0.0, until - self._clock()), ending)

    def stop(self, thread: int, alone: bool = True) -> None:
        """As ``IsolatedRunner.stop``."""
        runner = self._runner
        if runner is not None:
            runner.stop(thread, alone)

    def close(self) -> None:
        """End the child, or its start, and start none any more."""
        with self._changed:
            self._closed = True
            starting, thread = self._starting, self._thread
            self._changed.notify_all()
        self._hold.close()
        if starting is not None:
            starting.close()
        if thread is not None:
            thread.join(_CLOSE_S)

    def _live(self) -> None:
        """From the child's start to its end."""
        try:
            runner = self._started()
            if runner is not None:
                self._on_changed()
                self._wait_until_idle()
                self._ended(runner)
        finally:
            with self._changed:
                self._runner = self._thread = None
                self._changed.notify_all()
            if not self._closed:
                self._on_changed()

    def _started(self) -> IsolatedRunner | None:
        began = time.monotonic()
        try:
            runner = self._open(self._watch_start)
        except (LoadError, ConfigError) as error:
            self._failed(str(error), getattr(error, "detail", ""))
            return None
        except Exception as error:  # noqa: BLE001 - runs go on without it
            self._failed("no process can be started for it", f"{type(error).__name__}: {error}")
            return None
        with self._changed:
            self._starting = None
            self._demand.started()
            # It came late: as if it had just been used.
            self._demand.use(self._clock())
            self._runner, self.trouble = runner, ""
            self._changed.notify_all()
        seconds = round(time.monotonic() - began, 3)
        log.info("texts_process_started", model=self._name, pid=runner.pid, seconds=seconds)
        return runner

    def _watch_start(self, hosted: Hosted) -> None:
        with self._changed:
            self._starting = hosted
            closed = self._closed
        if closed:
            hosted.close()

    def _failed(self, words: str, detail: str) -> None:
        with self._changed:
            self._starting = None
            self._demand.failed(self._clock())
            first, closed = self._demand.failures == 1, self._closed
            self.trouble = f"its runs of many texts have no process of their own: {words}"
        if not closed:
            say = log.warning if first else log.debug
            say("texts_process_failed", model=self._name, reason=words, detail=detail)

    def _wait_until_idle(self) -> None:
        with self._changed:
            while not self._closed:
                left = self._demand.idle_in(self._clock())
                if left <= 0 and not self._running:
                    return
                self._changed.wait(max(left, 1.0))

    def _ended(self, runner: IsolatedRunner) -> None:
        with self._changed:
            self._runner = None
        runner.close()
        log.info("texts_process_ended", model=self._name)
