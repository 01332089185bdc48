"""A test of batching by real requests, for a version on which generated input told nothing.

Only what the graph leaves open is tested so, and only where that is asked for. Such a version
runs each request alone. The first few requests are kept with their answers and, a moment
later, run together: where each gets the answer it got alone, the version is batched from then
on. What is kept is small, and let go as soon as there is a verdict.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.cancellation import Cancellation
from serving.errors import ErrorCode
from serving.events import log
from serving.execution.faults import classify
from serving.loading.batching.answers import as_array, distance
from serving.loading.batching.verdict import BatchingVerdict, Evidence
from serving.loading.inputs.generated import Array, Feeds
from serving.model_config.schema import Tolerance
from serving.signature import Signature

if TYPE_CHECKING:
    from serving.execution.recovery import AnyRunner
    from serving.execution.session import Output, Run

# Requests alike in all but their content that make a proof.
ENOUGH = 4
# Kept at once, all shapes together; and looked at before it is left at that.
MOST_KEPT = 8
MOST_SEEN = 64
MOST_BYTES = 1024 * 1024
# Between the last request that was needed and the runs that prove: traffic goes first.
_DELAY_S = 0.2


@dataclass(frozen=True, slots=True)
class _Kept:
    feeds: Feeds
    answers: list[Array]
    rows: int
    size: int

    @property
    def kind(self) -> tuple[Any, ...]:
        """Only requests of one kind fit into one batch."""
        return tuple((name, a.dtype.str, a.shape[1:]) for name, a in sorted(self.feeds.items()))

    def equals(self, other: _Kept) -> bool:
        return self.feeds.keys() == other.feeds.keys() and all(
            np.array_equal(array, other.feeds[name]) for name, array in self.feeds.items()
        )


class LiveProof:
    """Stands before a runner, with its surface, and looks at what runs until it has a verdict.

    ``decide`` makes the verdict of a test; ``on_evidence`` gets both once, in a thread of its
    own. ``verdict`` is what holds now; its ``max_rows`` never changes, for clients go by it.
    """

    def __init__(
        self,
        runner: AnyRunner,
        signature: Signature,
        tolerance: Tolerance,
        first: BatchingVerdict,
        decide: Callable[[Evidence], BatchingVerdict],
        on_evidence: Callable[[Evidence, BatchingVerdict], None],
        delay_s: float = _DELAY_S,
    ) -> None:
        self._runner = runner
        self._inner = runner.run
        self.run: Run = self._run
        # What runs packed has far more texts than are kept here.
        self.packing = runner.packing
        self._names = [tensor.name for tensor in signature.outputs]
        self._tolerance, self._verdict_of, self._on_evidence = tolerance, decide, on_evidence
        self._delay_s = delay_s
        self._lock = threading.Lock()
        self._kept: list[_Kept] = []
        self._seen = 0
        self._watching = True
        self._closed = threading.Event()
        words = f"{first.words}; real requests may test it"
        self.verdict = BatchingVerdict(False, words, first.max_rows)

    def run_alone(
        self, names: Sequence[str], feeds: Mapping[str, Array], requests: int = 0
    ) -> Sequence[Output]:
        return self._runner.run_alone(names, feeds, requests)

    def stop(self, thread: int, alone: bool = True) -> None:
        self._runner.stop(thread, alone)

    def wait_ready(self, timeout: float | None = None, ending: Cancellation | None = None) -> bool:
        return self._runner.wait_ready(timeout, ending)

    def _run(
        self, names: Sequence[str], feeds: Mapping[str, Array], requests: int = 0
    ) -> Sequence[Output]:
        outputs = self._inner(names, feeds, requests)
        if self._watching and self._lock.acquire(blocking=False):
            try:
                self._note(names, feeds, outputs)
            except Exception:  # noqa: BLE001 - the answer is there, whatever becomes of a proof
                self._watching = False
                log.exception("live_proof_failed")
            finally:
                self._lock.release()
        return outputs

    def close(self) -> None:
        """No more runs of its own; the version is leaving."""
        self._watching = False
        self._closed.set()

    def _note(
        self, names: Sequence[str], feeds: Mapping[str, Array], outputs: Sequence[Any]
    ) -> None:
        self._seen += 1
        one = self._keepable(names, feeds, outputs)
        disproof = self._other_rows(one) if one is not None else ""
        if disproof:
            self._end_watch(lambda: self._decide(Evidence(disproved=disproof)))
            return
        if one is not None and not any(one.equals(other) for other in self._kept):
            self._keep(one)
            alike = [other for other in self._kept if other.kind == one.kind]
            if len(alike) >= ENOUGH:
                self._end_watch(lambda: self._judge(alike))
                return
        if self._seen >= MOST_SEEN:
            words = f"no {ENOUGH} of the first {MOST_SEEN} requests were alike in shape"
            self._end_watch(lambda: self._decide(Evidence(unknown=words)))

    def _other_rows(self, one: _Kept) -> str:
        """How a request's answers have not the rows that it has; '' where they have."""
        for name, answer in zip(self._names, one.answers, strict=True):
            if not answer.ndim or answer.shape[0] != one.rows:
                return f"output '{name}' has shape {list(answer.shape)} for {one.rows} rows"
        return ""

    def _end_watch(self, then: Callable[[], None]) -> None:
        """Stop looking at requests, and go on with ``then`` in a thread of its own: the request
        that brought the last evidence does not wait for it."""
        self._watching = False
        self._kept = []
        threading.Thread(target=then, name="live-proof", daemon=True).start()

    def _keepable(
        self, names: Sequence[str], feeds: Mapping[str, Array], outputs: Sequence[Any]
    ) -> _Kept | None:
        """The request, if it may be rows and is small. The core's arrays are copied."""
        counts = {array.shape[0] if array.ndim else -1 for array in feeds.values()}
        if list(names) != self._names or len(counts) != 1:
            return None
        rows = counts.pop()
        answers = [as_array(output) for output in outputs]
        size = sum(array.nbytes for array in (*feeds.values(), *answers))
        if rows < 1 or size > MOST_BYTES // ENOUGH:
            return None
        copies = {name: array.copy() for name, array in feeds.items()}
        return _Kept(copies, [answer.copy() for answer in answers], rows, size)

    def _keep(self, one: _Kept) -> None:
        self._kept.append(one)
        while len(self._kept) > MOST_KEPT or sum(k.size for k in self._kept) > MOST_BYTES:
            del self._kept[0]

    def _judge(self, alike: Sequence[_Kept]) -> None:
        if self._closed.wait(self._delay_s):
            return
        try:
            evidence = self._tested(alike)
        except Exception:  # noqa: BLE001 - the version serves on, unbatched
            log.exception("live_proof_failed")
            return
        if not self._closed.is_set():
            self._decide(evidence)

    def _tested(self, alike: Sequence[_Kept]) -> Evidence:
        if not _differ(alike, self._tolerance):
            return Evidence(unknown="all requests looked at get the same answer")
        for group in (alike, alike[::-1], alike[:2], alike[1:]):
            words = self._together(group)
            if words:
                return Evidence(disproved=words)
        return Evidence()

    def _together(self, group: Sequence[_Kept]) -> str:
        feeds = {name: np.concatenate([k.feeds[name] for k in group]) for name in group[0].feeds}
        try:
            answers = [as_array(output) for output in self._inner(self._names, feeds)]
        except Exception as error:  # noqa: BLE001 - a model may fail in any way
            return f"requests run alone, but not {len(group)} together: {_why(error)}"
        total = sum(kept.rows for kept in group)
        for name, answer in zip(self._names, answers, strict=True):
            if not answer.ndim or answer.shape[0] != total:
                return f"output '{name}' has shape {list(answer.shape)} for {total} rows of input"
        start = 0
        for kept in group:
            end = start + kept.rows
            for name, alone, answer in zip(self._names, kept.answers, answers, strict=True):
                gap = distance(alone, answer[start:end], self._tolerance)
                if gap is not None:
                    return f"real requests' answers change in a batch (output '{name}', {gap})"
            start = end
        return ""

    def _decide(self, evidence: Evidence) -> None:
        self._watching = False
        found = self._verdict_of(evidence)
        # Clients go by the number of rows that the version was loaded with.
        self.verdict = replace(found, max_rows=self.verdict.max_rows)
        self._on_evidence(evidence, found)


def _differ(alike: Sequence[_Kept], tolerance: Tolerance) -> bool:
    """Whether answers differ in more than their shapes, so that a mix-up would show."""
    first = alike[0]
    return any(
        a.shape == b.shape and distance(a, b, tolerance) is not None
        for other in alike[1:]
        for a, b in zip(first.answers, other.answers, strict=True)
    )


def _why(error: Exception) -> str:
    fault = classify(error)
    return fault.message if fault.code is not ErrorCode.INTERNAL else "the model refused this input"
