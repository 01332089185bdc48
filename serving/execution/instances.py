"""Threads that pull batches from a queue and run them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from serving.errors import Word
from serving.events import log
from serving.execution.faults import classify

if TYPE_CHECKING:
    from serving._core import Batch, Queue
    from serving.execution.session import Output, Runner

# (event's name, its facts)
OnEvent = Callable[[str, Mapping[str, Any]], None]

_ROWS_NOT_KEPT = "the model's answer does not have the rows or datatypes that it declares"


class _AnswerError(Exception):
    """The model ran, but its outputs do not have the rows or datatypes they should."""


def _answer(batch: Batch, outputs: Sequence[Output]) -> None:
    try:
        batch.complete(outputs)
    except ValueError as error:
        raise _AnswerError(str(error)) from error


def log_event(event: str, facts: Mapping[str, Any]) -> None:
    """What ``Instances`` does with an event unless told otherwise: a line in the log."""
    log.warning(event, **facts)


class Instances:
    """``count`` daemon threads serving one queue with one runner.

    onnxruntime lets go of the GIL while it runs, and sessions may be shared by threads, so
    instances cost a thread each and no second copy of the weights.
    """

    def __init__(
        self,
        queue: Queue,
        runner: Runner,
        count: int,
        name: str,
        on_event: OnEvent = log_event,
    ) -> None:
        """Start the threads at once; they end when the queue is closed and empty.

        ``name`` (``model:version``) names the threads and the events.
        """
        self._queue = queue
        self._runner = runner
        self._name = name
        self._on_event = on_event
        self._said_rows_not_kept = False
        self._threads = [
            threading.Thread(target=self._serve, name=f"run {name} #{number}", daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def join(self, timeout: float) -> bool:
        """Wait until all threads ended, at most ``timeout`` seconds; whether they did."""
        end = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        return self.alive == 0

    @property
    def alive(self) -> int:
        """How many of the threads are running."""
        return sum(thread.is_alive() for thread in self._threads)

    def _serve(self) -> None:
        next_batch = self._queue.next_batch
        run = self._runner.run
        while True:
            batch = outputs = None
            try:
                batch = next_batch()
                if batch is None:
                    return
                outputs = run(batch.outputs, batch.inputs)
                _answer(batch, outputs)
            except BaseException as error:  # noqa: BLE001 - it may cost the batch, no thread
                self._recover(batch, error)

    def _recover(self, batch: Batch | None, error: BaseException) -> None:
        """Whatever happens in here, the thread lives on."""
        try:
            if batch is None:
                raise error
            self._halve(batch, error)
        except BaseException as second:  # noqa: BLE001 - the thread lives on
            self._give_up(batch, second)

    def _halve(self, failed: Batch, error: BaseException) -> None:
        """Run the halves of a failed batch, their halves, ... until the guilty request is
        alone (fault 21). Those who expired meanwhile are dropped by ``split``."""
        failures: list[tuple[Batch, BaseException]] = [(failed, error)]
        while failures:
            batch, error = failures.pop()
            halves = batch.split()
            if halves is None:
                self._fail(batch, error)
                continue
            if isinstance(error, _AnswerError):
                self._say_rows_not_kept(error)
            for half in reversed(halves):
                failure = self._try(half)
                if failure is not None:
                    failures.append((half, failure))

    def _try(self, batch: Batch) -> BaseException | None:
        """Run and answer one half; the error if that failed."""
        if batch.requests == 0:
            return None
        try:
            _answer(batch, self._runner.run(batch.outputs, batch.inputs))
        except BaseException as error:  # noqa: BLE001 - a model may fail in any way
            return error
        return None

    def _fail(self, batch: Batch, error: BaseException) -> None:
        if isinstance(error, _AnswerError):
            batch.fail(Word.INTERNAL, _ROWS_NOT_KEPT, f"{type(error).__name__}: {error}")
            return
        fault = classify(error)
        batch.fail(fault.word, fault.message, fault.detail)

    def _say_rows_not_kept(self, error: BaseException) -> None:
        if not self._said_rows_not_kept:
            self._said_rows_not_kept = True
            facts = {"model": self._name, "message": _ROWS_NOT_KEPT, "detail": str(error)}
            self._on_event("batch_answer_does_not_fit", facts)

    def _give_up(self, batch: Batch | None, error: BaseException) -> None:
        detail = f"{type(error).__name__}: {error}"
        try:
            facts = {"model": self._name, "message": "an instance failed", "detail": detail}
            self._on_event("instance_failed", facts)
            if batch is not None:
                batch.fail(Word.INTERNAL, "the model failed on this input", detail)
            else:
                # The queue itself failed: no spinning on it.
                time.sleep(0.1)
        except BaseException:  # noqa: BLE001 - the thread lives on
            log.exception("instance_failed", model=self._name)
