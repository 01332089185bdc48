"""Running requests on a version, and holding its answers against the answering version's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from serving.execution.faults import classify
from serving.execution.run_limit import RunStoppedError
from serving.gates.recorded import Answered
from serving.gates.verdict import Check
from serving.loading.batching.answers import answers_of
from serving.loading.inputs.generated import Array, Feeds, Run
from serving.strict import as_text

# Of one kind of trouble, requests that are told of.
_MOST_TOLD = 1
# Timed runs of each version, and what they may take together (seconds).
RUNS = 200
_MOST_S = 5.0
# Times over the factor in turn that prove it: the machine has other work.
TRIES = 3
# Times below this are the clock's and the scheduler's, not the model's (seconds).
_LEAST_S = 50e-6

Kind = Literal["recorded", "own", "generated"]
# What came of a request: outputs by name, or why it failed.
Ran = Mapping[str, Answered] | str


@dataclass(frozen=True, slots=True)
class Request:
    """``what`` names it in words; ``answers``: as they were recorded."""

    kind: Kind
    what: str
    feeds: Feeds
    answers: tuple[Answered, ...] = ()

    @property
    def is_finite(self) -> bool:
        return all(_finite(array) for array in self.feeds.values())


def run_all(run: Run, names: Sequence[str], requests: Iterable[Request]) -> list[Ran]:
    return [_ran(run, names, request.feeds) for request in requests]


def _ran(run: Run, names: Sequence[str], feeds: Feeds) -> Ran:
    try:
        found = answers_of(run, names, feeds)
    except RunStoppedError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this version's
        return classify(error).message
    pairs = zip(names, found, strict=True)
    return {name: Answered(name, str(a.dtype), a.shape, _finite(a)) for name, a in pairs}


def _finite(array: Array) -> bool:
    return not np.issubdtype(array.dtype, np.floating) or bool(np.isfinite(array).all())


def compared(
    requests: Sequence[Request], base: Sequence[Ran] | None, found: Sequence[Ran]
) -> list[Check]:
    """That each runs, and is answered with the shapes and datatypes of the answering version
    (``base``, else as it was recorded), and with numbers where that one does."""
    fails: list[str] = []
    shapes: list[str] = []
    odd: list[str] = []
    for at, (request, ran) in enumerate(zip(requests, found, strict=True)):
        expected = _expected(request, base[at] if base is not None else None)
        if expected is None and request.kind != "own":
            continue  # it proves nothing: nobody has answered it
        if isinstance(ran, str):
            fails.append(f"{request.what} failed: {ran}")
            continue
        shapes += [f"{request.what}: {words}" for words in _differs(expected or {}, ran)]
        odd += [f"{request.what}: {words}" for words in _not_finite(request, expected, ran)]
    return [
        _check("runs", fails),
        _check("shapes and datatypes", shapes),
        _check("finite", odd),
    ]


def _expected(request: Request, base: Ran | None) -> Mapping[str, Answered] | None:
    """None: nothing is."""
    if isinstance(base, str):
        return None  # it failed there, too
    if base is not None:
        return base
    return {one.name: one for one in request.answers} if request.answers else None


def _check(name: str, wrong: Sequence[str]) -> Check:
    more = len(wrong) - _MOST_TOLD
    told = [*wrong[:_MOST_TOLD], *([f"and {more} more"] if more > 0 else [])]
    return Check("safe_to_serve", name, not wrong, as_text("; ".join(told)))


def _differs(expected: Mapping[str, Answered], found: Mapping[str, Answered]) -> Iterable[str]:
    for name, one in expected.items():
        other = found.get(name)
        if other is None:
            yield f"output '{name}' is missing"
        elif other.dtype != one.dtype:
            yield f"output '{name}' has datatype {other.dtype}, not {one.dtype}"
        elif other.shape != one.shape:
            yield f"output '{name}' has shape {list(other.shape)}, not {list(one.shape)}"


def _not_finite(
    request: Request, expected: Mapping[str, Answered] | None, found: Mapping[str, Answered]
) -> Iterable[str]:
    for name, one in found.items():
        if one.finite:
            continue
        known = (expected or {}).get(name)
        if known.finite if known is not None else request.is_finite:
            yield f"NaN or infinity in output '{name}'"


@dataclass(frozen=True, slots=True)
class Times:
    """The 99th percentile, by the clock and of CPU time (seconds)."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Clocks:
    """Seconds since some moment, and of CPU time of this process."""

    wall: Callable[[], float] = time.perf_counter
    cpu: Callable[[], float] = time.process_time

    def time(self, run: Callable[[Feeds], object], feeds: Feeds) -> Times:
        """What one run takes."""
        wall, cpu = self.wall(), self.cpu()
        run(feeds)
        return Times(self.wall() - wall, self.cpu() - cpu)


def timed(
    base: Callable[[Feeds], object],
    found: Callable[[Feeds], object],
    requests: Sequence[Feeds],
    factor: float,
    clocks: Clocks | None = None,
) -> Check:
    """By turns, so that whatever else the machine does meets both. Over the factor is who is so
    each time, by the clock or in CPU time: of these two the second knows nothing of who else
    wants the CPUs. ``clocks`` are for tests: else the machine's."""
    clocks = clocks or Clocks()
    end = clocks.wall() + _MOST_S
    over = [True, True]
    for _ in range(TRIES):
        of_base, of_found = _measured(base, found, requests, end, clocks)
        over[0] &= of_found.wall > factor * max(of_base.wall, _LEAST_S)
        over[1] &= of_found.cpu > factor * max(of_base.cpu, _LEAST_S)
        if not any(over):
            break
    by_cpu = over[1] and not over[0]
    value, against = (of_found.cpu, of_base.cpu) if by_cpu else (of_found.wall, of_base.wall)
    clock = " of CPU time" if by_cpu else ""
    ratio = value / max(against, 1e-9)
    words = f"{ratio:.2g} times{clock}, at most {factor:g}"
    return Check("safe_to_serve", "p99_s", not any(over), words, value=value, base=against)


def _measured(
    base: Callable[[Feeds], object],
    found: Callable[[Feeds], object],
    requests: Sequence[Feeds],
    end: float,
    clocks: Clocks,
) -> tuple[Times, Times]:
    runs: tuple[list[Times], list[Times]] = ([], [])
    rounds = max(1, -(-RUNS // len(requests)))
    for at in range(rounds):
        for feeds in requests:
            order = ((0, base), (1, found))
            for place, run in order if at % 2 == 0 else order[::-1]:
                runs[place].append(clocks.time(run, feeds))
        if clocks.wall() > end:
            break
    return _p99(runs[0]), _p99(runs[1])


def _p99(times: Sequence[Times]) -> Times:
    walls, cpus = [one.wall for one in times], [one.cpu for one in times]
    return Times(float(np.percentile(walls, 99)), float(np.percentile(cpus, 99)))
