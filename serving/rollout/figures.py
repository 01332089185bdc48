"""What two versions did in the same stretch of time, as the judge takes it. Pure."""

from __future__ import annotations

import operator
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from serving.rollout.features import FeatureLook
from serving.rollout.martingales import Counted

# What an error of each kind is called to people, and the gateway's own error words for it.
KINDS: Mapping[str, tuple[str, frozenset[str]]] = {
    "internal": ("internal errors", frozenset({"internal"})),
    "bad_data": ("errors of its operators on its inputs", frozenset({"bad_data"})),
    "unavailable": ("answers that it is unavailable", frozenset({"unavailable"})),
    "refused": (
        "refusals, for a queue or a budget was full",
        frozenset({"full", "too_many_requests"}),
    ),
    "late": ("passed deadlines", frozenset({"expired"})),
    "input": (
        "inputs that it does not take",
        frozenset({"bad_request", "schema_mismatch", "too_large", "failed_precondition"}),
    ),
}
# Requests whose callers left say nothing of a version.
UNCOUNTED = frozenset({"cancelled"})
FAULTS = ("internal", "unavailable", "refused", "late")
OF_INPUTS = ("bad_data", "input")


@dataclass(frozen=True, slots=True)
class Latencies:
    """``counts``: observations at or below each of ``bounds`` (seconds), then all of them."""

    bounds: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        return self.counts[-1] if self.counts else 0

    def __sub__(self, before: Latencies) -> Latencies:
        """What was observed since; all of it where these are other counts than before."""
        if not before.counts or self.bounds != before.bounds or self.count < before.count:
            return self
        return Latencies(self.bounds, tuple(map(operator.sub, self.counts, before.counts)))

    def since(self, before: Latencies) -> Latencies:
        """The same of counts that are known to go on, whatever was counted a moment apart."""
        if self.bounds != before.bounds:
            return self
        fewer = map(operator.sub, self.counts, before.counts)
        return Latencies(self.bounds, tuple(accumulate(fewer, max, initial=0))[1:])

    def __add__(self, other: Latencies) -> Latencies:
        if not other.count or (self.counts and self.bounds != other.bounds):
            return self
        if not self.counts:
            return other
        return Latencies(self.bounds, tuple(map(operator.add, self.counts, other.counts)))

    def bucket_of(self, share: float) -> float:
        """The bound of the bucket in which the quantile ``share`` lies; infinity beyond the last
        one, and where nothing was observed."""
        place = bisect_left(self.counts, share * self.count) if self.count else len(self.bounds)
        return self.bounds[place] if place < len(self.bounds) else float("inf")

    def above(self, seconds: float) -> Counted | None:
        """How many took longer than the first bound that is not below ``seconds``; None where
        there is none."""
        place = bisect_left(self.bounds, seconds)
        if place >= len(self.bounds):
            return None
        return Counted(self.count - self.counts[place], self.count)


NONE_OBSERVED = Latencies()


@dataclass(frozen=True, slots=True)
class Spread:
    """How observations are distributed: ``counts`` by bucket, () where nobody counts; ``squares``:
    each answer's number of them squared, and all these summed."""

    counts: tuple[int, ...] = ()
    squares: int = 0

    @property
    def worth(self) -> float:
        """How many independent observations they are worth, where those of one answer may all
        depend on each other (Kish's effective size)."""
        return sum(self.counts) ** 2 / self.squares if self.squares else 0.0

    def __sub__(self, before: Spread) -> Spread:
        """What was observed since; all of it where these are other counts than before."""
        if len(self.counts) != len(before.counts) or self.squares < before.squares:
            return self
        fewer = (max(0, one) for one in map(operator.sub, self.counts, before.counts))
        return Spread(tuple(fewer), self.squares - before.squares)

    def __add__(self, other: Spread) -> Spread:
        if len(self.counts) != len(other.counts):
            return self if self.counts else other
        counts = tuple(map(operator.add, self.counts, other.counts))
        return Spread(counts, self.squares + other.squares)


NO_SPREAD = Spread()


@dataclass(frozen=True, slots=True)
class Answers:
    """What one version did: ``requests`` answered, those whose callers left not counted;
    ``errors``: by kind, where there were any; ``latencies``: of its requests. ``inspected``:
    answers that were looked at for NaN and infinity, ``nonfinite``: those with any. ``classes``,
    ``scores``: of its outputs, where they are counted. ``ever``: a count of the same source that
    never goes back, 0 where it has none."""

    requests: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    latencies: Latencies = NONE_OBSERVED
    inspected: int = 0
    nonfinite: int = 0
    classes: Spread = NO_SPREAD
    scores: Spread = NO_SPREAD
    ever: int = 0

    def __add__(self, other: Answers) -> Answers:
        kinds = self.errors.keys() | other.errors.keys()
        errors = {kind: self.errors.get(kind, 0) + other.errors.get(kind, 0) for kind in kinds}
        return Answers(
            self.requests + other.requests,
            errors,
            self.latencies + other.latencies,
            self.inspected + other.inspected,
            self.nonfinite + other.nonfinite,
            self.classes + other.classes,
            self.scores + other.scores,
            self.ever + other.ever,
        )

    def __sub__(self, before: Answers) -> Answers:
        """What it did since; all of it where these are other counts than before."""
        goes_on = self._goes_on(before)
        if self.requests < before.requests and not goes_on:
            return self
        fewer = {kind: n - before.errors.get(kind, 0) for kind, n in self.errors.items()}
        errors = {kind: count for kind, count in fewer.items() if count > 0}
        nonfinite = max(0, self.nonfinite - before.nonfinite)
        return Answers(
            max(0, self.requests - before.requests),
            errors,
            self.latencies.since(before.latencies)
            if goes_on
            else self.latencies - before.latencies,
            # Counted a moment apart: no more have any than were looked at.
            max(nonfinite, self.inspected - before.inspected),
            nonfinite,
            self.classes - before.classes,
            self.scores - before.scores,
            self.ever - before.ever,
        )

    def _goes_on(self, before: Answers) -> bool:
        """Whether these are the same counts for all that there are fewer requests: of one that was
        answered in another's place that is counted a moment before the answer itself."""
        return self.ever >= before.ever > 0

    def counted(self, kinds: tuple[str, ...]) -> Counted:
        """Those of ``kinds``, of all requests."""
        return Counted(sum(self.errors.get(kind, 0) for kind in kinds), self.requests)

    @property
    def counted_nonfinite(self) -> Counted:
        """Those with NaN or infinity, of all that were looked at."""
        return Counted(self.nonfinite, self.inspected)


NO_ANSWERS = Answers()


@dataclass(frozen=True, slots=True)
class Window:
    """The same stretch of time of both: the canary, and the version that answers by default.
    ``deaths``: of processes that the canary runs in. ``features``: what statistics knew of both at
    its end, None where nobody asks them."""

    canary: Answers = NO_ANSWERS
    base: Answers = NO_ANSWERS
    deaths: int = 0
    features: FeatureLook | None = None
