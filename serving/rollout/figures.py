"""What two versions did in the same stretch of time, as the judge takes it. Pure."""

from __future__ import annotations

import operator
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field

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
class Answers:
    """What one version did: ``requests`` answered, those whose callers left not counted;
    ``errors``: by kind, where there were any; ``latencies``: of its requests."""

    requests: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    latencies: Latencies = NONE_OBSERVED

    def __add__(self, other: Answers) -> Answers:
        kinds = self.errors.keys() | other.errors.keys()
        errors = {kind: self.errors.get(kind, 0) + other.errors.get(kind, 0) for kind in kinds}
        latencies = self.latencies + other.latencies
        return Answers(self.requests + other.requests, errors, latencies)

    def __sub__(self, before: Answers) -> Answers:
        """What it did since; all of it where these are other counts than before."""
        if self.requests < before.requests and not self._goes_on(before):
            return self
        fewer = {kind: n - before.errors.get(kind, 0) for kind, n in self.errors.items()}
        errors = {kind: count for kind, count in fewer.items() if count > 0}
        requests = max(0, self.requests - before.requests)
        return Answers(requests, errors, self.latencies - before.latencies)

    def _goes_on(self, before: Answers) -> bool:
        """Whether these are the same counts for all that there are fewer requests: of one that was
        answered in another's place that is counted a moment before the answer itself."""
        return self.latencies.count >= before.latencies.count > 0

    def counted(self, kinds: tuple[str, ...]) -> Counted:
        """Those of ``kinds``, of all requests."""
        return Counted(sum(self.errors.get(kind, 0) for kind in kinds), self.requests)


NO_ANSWERS = Answers()


@dataclass(frozen=True, slots=True)
class Window:
    """The same stretch of time of both: the canary, and the version that answers by default.
    ``deaths``: of processes that the canary runs in."""

    canary: Answers = NO_ANSWERS
    base: Answers = NO_ANSWERS
    deaths: int = 0
