"""A template for children: started when one is wanted, kept while more may be wanted at any moment,
ended after a quiet while."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Sequence

from serving.events import log
from serving.execution.isolation.framing import FramingError
from serving.execution.isolation.many_texts import Demand
from serving.execution.isolation.parent.forked import Forked
from serving.execution.isolation.parent.template_process import NoTemplateError, TemplateProcess

# After which it ends, if nobody holds it.
QUIET_S = 15.0
# Until one that died early, or could not be started, is tried again; children are spawned then.
_FIRST_S, _LONGEST_S = 10.0, 300.0
# One that lived so long died of nothing that comes again at once.
_PROVEN_S = 60.0
# For a child to wait for a template that is on its way.
_PATIENCE_S = 60.0
_CLOSE_S = 5.0


class Template:
    """``modules``: what children run; each has a ``main()``. Safe from any thread. Linux only."""

    def __init__(
        self,
        modules: Sequence[str],
        demand: Demand | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._modules = tuple(modules)
        self._demand = demand or Demand(QUIET_S, _FIRST_S, _LONGEST_S)
        self._clock = clock
        self._changed = threading.Condition()
        # There from the start of a process to its end.
        self._thread: threading.Thread | None = None
        self._starting: TemplateProcess | None = None
        self._process: TemplateProcess | None = None
        self._holders = self._forking = 0
        self._closed = False
        # Written to where it may be time for its end.
        self._look = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    @property
    def pid(self) -> int | None:
        """Of the process, while it forks."""
        process = self._process
        return None if process is None else process.pid

    def prepare(self) -> None:
        """A child may be wanted soon: start the process, if there is none. Returns at once."""
        with self._changed:
            now = self._clock()
            self._demand.use(now)
            if self._thread is not None or self._closed or not self._demand.may_start(now):
                return
            thread = threading.Thread(target=self._live, name="template", daemon=True)
            try:
                thread.start()
            # Children are spawned then, while there are threads for that.
            except (RuntimeError, MemoryError) as error:
                self._demand.failed(now)
                log.debug("template_failed", reason=str(error))
            else:
                self._thread = thread

    def hold(self) -> None:
        """Until ``release`` a child may be wanted at any moment."""
        with self._changed:
            self._holders += 1
        self.prepare()

    def release(self) -> None:
        with self._changed:
            self._holders -= 1
            self._demand.use(self._clock())
        os.eventfd_write(self._look, 1)

    def fork(self, module: str, fd: int, name: str) -> Forked:
        """What ``python -m <module> <fd> <our pid> <name>`` would be. Waits for the process, if it
        is on its way.

        Raises NoTemplateError. A child that came of it nevertheless ends once the other end of
        ``fd`` is closed.
        """
        self.prepare()
        with self._changed:
            self._changed.wait_for(
                lambda: self._process is not None or self._thread is None, _PATIENCE_S
            )
            process = self._process
            if process is None:
                raise NoTemplateError("there is none")
            self._forking += 1
        try:
            return process.fork(module, fd, name)
        finally:
            with self._changed:
                self._forking -= 1
                self._demand.use(self._clock())
            os.eventfd_write(self._look, 1)

    def close(self) -> None:
        """End the process, and start none any more."""
        with self._changed:
            self._closed = True
            starting, thread = self._starting, self._thread
        os.eventfd_write(self._look, 1)
        if starting is not None:
            starting.kill()
        if thread is not None:
            thread.join(_CLOSE_S)

    # In its thread.

    def _live(self) -> None:
        try:
            while self._lived():
                pass
        finally:
            with self._changed:
                self._thread = None
                self._changed.notify_all()

    def _lived(self) -> bool:
        """From a process's start to its end; whether there is to be another at once."""
        began = time.monotonic()
        words = ""
        try:
            process = TemplateProcess(self._modules)
        except OSError as error:
            return self._failed(f"it could not be started: {error}", 0.0)
        try:
            words = self._started(process, began) or self._until_idle(process)
        finally:
            with self._changed:
                self._starting = self._process = None
            code = process.end()
        if not words or self._closed:
            log.info("template_ended")
            with self._changed:  # somebody may have come while it ended
                return bool(self._holders) and not self._closed
        return self._failed(f"{words}; its status was {code}", time.monotonic() - began)

    def _started(self, process: TemplateProcess, began: float) -> str:
        """Why it did not come, or ""."""
        with self._changed:
            self._starting = process
            closed = self._closed
        if closed:
            return "closed"
        try:
            process.wait_ready()
        except (EOFError, OSError, FramingError) as error:
            return f"it did not start: {type(error).__name__}"
        with self._changed:
            self._starting, self._process = None, process
            self._demand.use(self._clock())
            self._changed.notify_all()
        log.info("template_started", pid=process.pid, seconds=round(time.monotonic() - began, 3))
        return ""

    def _until_idle(self, process: TemplateProcess) -> str:
        """Why it ended, "" where it is to."""
        events = select.poll()
        events.register(process.ends, select.POLLIN)
        events.register(self._look, select.POLLIN)
        while True:
            left = self._left()
            if left is not None and left <= 0:
                return ""
            for fd, _ in events.poll(None if left is None else left * 1000):
                if fd == process.ends:
                    return "it ended by itself"
                os.eventfd_read(self._look)

    def _left(self) -> float | None:
        """Seconds until it ends, None while it is held or forks. Nobody gets it any more where that
        is over."""
        with self._changed:
            if self._closed:
                left = 0.0
            elif self._holders or self._forking:
                return None
            else:
                left = self._demand.idle_in(self._clock())
            if left <= 0:
                self._process = None
            return left

    def _failed(self, words: str, lived: float) -> bool:
        """Whether another is to be started at once."""
        with self._changed:
            self._process = None
            if lived >= _PROVEN_S:
                self._demand.started()
            else:
                self._demand.failed(self._clock())
            again = bool(self._holders) and self._demand.may_start(self._clock())
        log.warning("template_failed", reason=words, lived_s=round(lived, 1))
        return again and not self._closed
