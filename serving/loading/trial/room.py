"""Memory for trials, lent before they start, so that those which go on at once cannot take
more together than there is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from serving.cancellation import Cancellation
from serving.errors import LoadError, Retry
from serving.loading.memory import Ledger, words
from serving.loading.trial.findings import Failure, Findings
from serving.loading.trial.trial import Job

Outcome = Findings | Failure
# For others' trials to end, where one needs what they were lent.
_WAIT_S = 10.0


class TrialRoom:
    """What versions that are loaded leave of the memory for all. ``places``: how many trials
    may go on at once; each has an equal share at first. Safe from any thread."""

    def __init__(self, ledger: Ledger, places: int) -> None:
        self._ledger = ledger
        self._places = places
        self._changed = threading.Condition()
        self._lent = 0
        # Whoever needs all that is free: two at once would each keep the other from it.
        self._whole = threading.Lock()

    def try_out(self, job: Job, run: Callable[[Job], Outcome], cancelled: Cancellation) -> Outcome:
        """Run a trial within a share; where that is too little, again with all that is free,
        once others have ended or have had time to.

        ``run`` gets the job with what it may take. Raises what ``run`` does, and LoadError, to be
        tried later, where only others' trials and versions are in its way.
        """
        with self._loan(job, self._places) as lent:
            outcome = run(replace(job, budget=lent))
        if lent < job.budget and _is_short(outcome):
            return self._with_all(job, run, cancelled)
        return outcome

    def _with_all(
        self, job: Job, run: Callable[[Job], Outcome], cancelled: Cancellation
    ) -> Outcome:
        if not self._whole.acquire(blocking=False):
            raise self._no_room(self._left(job) - self._lent)
        try:
            self._wait_for_others(cancelled)
            with self._loan(job, 1) as lent:
                outcome = run(replace(job, budget=lent))
        finally:
            self._whole.release()
        if lent < job.budget and isinstance(outcome, Failure) and outcome.for_memory:
            raise self._no_room(lent)
        return outcome

    def _wait_for_others(self, cancelled: Cancellation) -> None:
        with cancelled.waking(self._wake), self._changed:
            self._changed.wait_for(lambda: cancelled() or not self._lent, _WAIT_S)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _left(self, job: Job) -> int:
        """The job's own files are reserved already, and are part of what it takes."""
        return self._ledger.total - self._ledger.held + job.size

    @contextmanager
    def _loan(self, job: Job, places: int) -> Iterator[int]:
        with self._changed:
            left = self._left(job)
            free = max(0, left - self._lent)
            share = min(job.budget, free, left // places)
            # What has no room for its files twice would be in vain.
            lent = share if share >= 2 * job.size else min(job.budget, free)
            if lent < min(job.size, job.budget):
                raise self._no_room(lent)
            self._lent += lent
        try:
            yield lent
        finally:
            with self._changed:
                self._lent -= lent
                self._changed.notify_all()

    def _no_room(self, bytes_: int) -> LoadError:
        return LoadError(
            f"there is no room for its trial: loaded versions and other trials leave"
            f" {words(max(0, bytes_))} of the {words(self._ledger.total)} for all together",
            retry=Retry.LATER,
        )


def _is_short(outcome: Outcome) -> bool:
    return outcome.for_memory if isinstance(outcome, Failure) else outcome.short
