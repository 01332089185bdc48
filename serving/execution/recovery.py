"""What becomes of the requests of a run that failed: only who caused it pays (faults 20, 21).

The members of a failed batch are run again before anybody else, in halves, until the guilty
one is alone; those who expired meanwhile are dropped. A batch whose model's process is gone
gives its permit back while it waits for the next one. One whose run was ended because nobody
waits for it is let go, and no failure (fault 106).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from serving.cancellation import Cancellation
from serving.errors import ErrorCode
from serving.events import log
from serving.execution.abandoned import Runs, Stoppable
from serving.execution.faults import classify
from serving.execution.isolation.crashes import CrashError, NotRunningError
from serving.execution.run_limit import RunLimitError, RunStoppedError

if TYPE_CHECKING:
    from serving._core import Batch
    from serving.execution.session import Output

# (event's name, its facts)
OnEvent = Callable[[str, Mapping[str, Any]], None]

_ROWS_NOT_KEPT = "the model's answer does not have the rows or datatypes that it declares"
_EXPIRED = "Request timeout expired"
# A single request whose child ended through no fault of its own is tried so often.
_TRIES = 3
# For the child to be back, where no deadline is nearer.
_PATIENCE_S = 60.0


class AnyRunner(Stoppable, Protocol):
    """``session.Runner`` or ``isolated.IsolatedRunner``."""

    def wait_ready(
        self, timeout: float | None = None, ending: Cancellation | None = None
    ) -> bool: ...


class AnswerError(Exception):
    """The model ran, but its outputs do not have the rows or datatypes they should."""


def answer(batch: Batch, outputs: Sequence[Output]) -> None:
    """Raises AnswerError where the outputs don't fit."""
    try:
        batch.complete(outputs)
    except ValueError as error:
        raise AnswerError(str(error)) from error


def log_event(event: str, facts: Mapping[str, Any]) -> None:
    """What is done with an event unless told otherwise: a line in the log."""
    log.warning(event, **facts)


@dataclass(slots=True)
class _Failed:
    """``lost``: with a child, now or as a part of a batch."""

    batch: Batch
    error: BaseException
    tries: int = 0
    lost: bool = False


class Recovery:
    """For one runner, whose runs go through ``runs`` (default: its own); ``name``
    (``model:version``) is for the events."""

    def __init__(
        self,
        runner: AnyRunner,
        name: str,
        on_event: OnEvent = log_event,
        runs: Runs | None = None,
    ) -> None:
        self._runner = runner
        self._runs = runs or Runs(runner)
        self._name = name
        self._on_event = on_event
        self._said_rows_not_kept = False

    def settle(self, batch: Batch, error: BaseException) -> None:
        """Answer every member of a batch that failed with ``error``."""
        work = [_Failed(batch, error)]
        while work:
            one = work.pop()
            if _is_guilty(one.batch, one.error):
                self._fail(one.batch, one.error)
                continue
            if _is_abandoned(one.batch, one.error):
                one.batch.abandon()
                continue
            if one.batch.of_copies:
                # Nobody waits for them, and requests do.
                self._fail(one.batch, one.error)
                continue
            if isinstance(one.error, (CrashError, NotRunningError)):
                one.batch.step_aside()
                if not self._comes_back(one.batch):
                    continue
            work += self._again(one)

    def _comes_back(self, batch: Batch) -> bool:
        """Wait for the model's process; False when the batch had to be answered without."""
        left = batch.deadline
        where = self._runs.packing(batch, again=True) or self._runner
        if where.wait_ready(_PATIENCE_S if left is None else min(left, _PATIENCE_S)):
            return True
        if _is_expired(batch):
            batch.fail(ErrorCode.EXPIRED, _EXPIRED)
        else:
            batch.fail(ErrorCode.UNAVAILABLE, "the model's process is being started again")
        return False

    def _again(self, failed: _Failed) -> list[_Failed]:
        """Run the parts of what failed; those that fail again."""
        batch, error = failed.batch, failed.error
        lost = failed.lost or isinstance(error, (CrashError, NotRunningError))
        if _is_innocent(batch, error):
            if failed.tries >= _TRIES:
                self._fail(batch, error)
                return []
            found = self._try(batch, error, lost, failed.tries + 1)
            return [] if found is None else [found]
        parts = self._parts(batch, error)
        if parts is None:
            self._fail(batch, error)
            return []
        if isinstance(error, AnswerError):
            self._say_rows_not_kept(error)
        again = [self._try(part, error, lost) for part in parts]
        return [one for one in reversed(again) if one is not None]

    def _parts(self, batch: Batch, error: BaseException) -> list[Batch] | None:
        """Halves; or single requests: after a run that hit its limit each half might take that
        long again, and answers without a row for each row may fit a half by chance. None for a
        request that was alone."""
        halves = batch.split()
        if halves is None:
            return None
        if isinstance(error, (RunLimitError, AnswerError)):
            return [single for half in halves for single in _singles(half)]
        return list(halves)

    def _try(
        self, batch: Batch, because: BaseException, lost: bool, tries: int = 0
    ) -> _Failed | None:
        """Run and answer one part; how it failed, if it did."""
        if batch.requests == 0:
            return None
        if _is_expired(batch):
            batch.fail(ErrorCode.EXPIRED, _EXPIRED)
            return None
        try:
            alone = isinstance(because, CrashError)
            answer(batch, self._runs.run(batch, alone, again=lost))
        except BaseException as error:  # noqa: BLE001 - a model may fail in any way
            # Its inputs could be read no more from shared memory, and that was the answer.
            if batch.requests == 0:
                return None
            # The next part may need the permit that this one holds.
            batch.step_aside()
            return _Failed(batch, error, tries, lost)
        return None

    def _fail(self, batch: Batch, error: BaseException) -> None:
        detail = f"{type(error).__name__}: {error}"
        if isinstance(error, AnswerError):
            batch.fail(ErrorCode.INTERNAL, _ROWS_NOT_KEPT, detail)
        elif isinstance(error, CrashError):
            batch.fail(ErrorCode.UNAVAILABLE, str(error), harmful=not error.killed)
        elif isinstance(error, NotRunningError):
            batch.fail(ErrorCode.UNAVAILABLE, str(error))
        elif isinstance(error, RunLimitError):
            word = ErrorCode.EXPIRED if _is_expired(batch) else ErrorCode.INTERNAL
            batch.fail(word, str(error))
        else:
            fault = classify(error)
            batch.fail(fault.code, fault.message, fault.detail)

    def _say_rows_not_kept(self, error: BaseException) -> None:
        if not self._said_rows_not_kept:
            self._said_rows_not_kept = True
            facts = {"model": self._name, "message": _ROWS_NOT_KEPT, "detail": str(error)}
            self._on_event("batch_answer_does_not_fit", facts)


def _is_guilty(batch: Batch, error: BaseException) -> bool:
    """Whether it ended its model's process, or ran until its limit, all by itself: then it need
    not wait for anything to be answered."""
    if batch.requests != 1:
        return False
    return isinstance(error, RunLimitError) or (isinstance(error, CrashError) and error.alone)


def _is_abandoned(batch: Batch, error: BaseException) -> bool:
    """Whether its run was ended because nobody waits for it; or some other run's process was,
    and nobody waits for this one either."""
    ended = isinstance(error, (RunStoppedError, CrashError, NotRunningError))
    return ended and batch.is_abandoned()


def _is_innocent(batch: Batch, error: BaseException) -> bool:
    """Whether it is to be run again as it is: what ended the process was not it, or not
    certainly; or the word to stop was for the run before."""
    if isinstance(error, (NotRunningError, RunStoppedError)):
        return True
    return isinstance(error, CrashError) and not error.alone and batch.requests == 1


def _is_expired(batch: Batch) -> bool:
    left = batch.deadline
    return left is not None and left <= 0


def _singles(batch: Batch) -> Iterator[Batch]:
    work = [batch]
    while work:
        one = work.pop()
        halves = one.split()
        if halves is None:
            yield one
        else:
            work += reversed(halves)
