"""Threads that pull batches from a queue and run them."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from serving import _core
from serving.cancellation import Cancellation
from serving.errors import ErrorCode
from serving.events import log
from serving.execution import first_requests
from serving.execution.abandoned import Runs
from serving.execution.recovery import AnyRunner, OnEvent, Recovery, answer, log_event

if TYPE_CHECKING:
    from serving._core import Batch, Queue


class Instances:
    """``count`` daemon threads serving one queue with one runner, from its first request on.

    onnxruntime lets go of the GIL while it runs, and sessions may be shared by threads, so
    instances cost a thread each and no second copy of the weights.
    """

    def __init__(
        self,
        queue: Queue,
        runner: AnyRunner,
        count: int,
        name: str,
        on_event: OnEvent = log_event,
    ) -> None:
        """The threads end when the queue is closed and empty.

        ``name`` (``model:version``) names the threads and the events.
        """
        self._queue = queue
        self._runner = runner
        self._name = name
        self._on_event = on_event
        self._runs = Runs(runner)
        self._recovery = Recovery(runner, name, on_event, self._runs)
        self._count = count
        self._ending = Cancellation()
        self._starting = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._number = first_requests.on_first(queue, self._start)

    def join(self, timeout: float) -> bool:
        """Wait until all threads ended, at most ``timeout`` seconds; whether they did, and nothing
        is left. To be called when the queue is closed."""
        first_requests.forget(self._number)
        self._ending.cancel()
        if not self._is_served():
            return False
        end = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _start(self) -> None:
        """Raises RuntimeError or MemoryError where there is no thread; to be called again then."""
        with self._starting:
            if not self._ending():
                self._start_threads()

    def _is_served(self) -> bool:
        """Whether those who came before the queue closed have threads, or none has come. The first
        may have come just before, with nobody started for it yet."""
        with self._starting:
            if self._threads or not self._queue.depth()["requests"]:
                return True
            try:
                self._start_threads()
            except (RuntimeError, MemoryError) as error:
                log.warning("threads_not_started", model=self._name, detail=str(error))
            return bool(self._threads)

    def _start_threads(self) -> None:
        for number in range(len(self._threads), self._count):
            thread = threading.Thread(
                target=self._serve, name=f"run {self._name} #{number}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def _serve(self) -> None:
        _core.take_short_turns()
        next_batch, run = self._queue.next_batch, self._runs.run
        while True:
            batch = outputs = None
            try:
                # While its process is away, requests wait in the queue and not in a batch.
                self._runner.wait_ready(ending=self._ending)
                batch = next_batch()
                if batch is None:
                    return
                outputs = run(batch)
                answer(batch, outputs)
            except BaseException as error:  # noqa: BLE001 - it may cost the batch, no thread
                self._recover(batch, error)

    def _recover(self, batch: Batch | None, error: BaseException) -> None:
        """Whatever happens in here, the thread lives on."""
        try:
            if batch is None:
                raise error
            self._recovery.settle(batch, error)
        except BaseException as second:  # noqa: BLE001 - the thread lives on
            self._give_up(batch, second)

    def _give_up(self, batch: Batch | None, error: BaseException) -> None:
        detail = f"{type(error).__name__}: {error}"
        try:
            facts = {"model": self._name, "message": "an instance failed", "detail": detail}
            self._on_event("instance_failed", facts)
            if batch is not None:
                batch.fail(ErrorCode.INTERNAL, "the model failed on this input", detail)
            else:
                # The queue itself failed: no spinning on it, and nothing tells when it is well.
                time.sleep(0.1)
        except BaseException:  # noqa: BLE001 - the thread lives on
            log.exception("instance_failed", model=self._name)
