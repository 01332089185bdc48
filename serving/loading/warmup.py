"""The batch sizes to warm, warming them and measuring what they cost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from serving.errors import LoadError
from serving.execution.faults import short_of_memory
from serving.loading.batching.cost import cheaper_still
from serving.loading.inputs.generated import Feeds, Run, Source
from serving.loading.memory import Meter

# For each size: enough to see past a disturbance, short in all.
MEASURED_RUNS = 5
MEASURED_SECONDS = 0.15

# For a process's other threads to come to rest, and from one look at them to the next.
_REST_S = 1.0
_LOOK_S = 0.001


@dataclass(frozen=True, slots=True)
class Warmth:
    """``words``: for what failed or was left out. ``seconds``: rows -> the best time of a run.
    ``short``: memory ended it. ``one_thread``: see ``Crew``, of all these runs; False where
    nobody looked."""

    words: str
    seconds: Mapping[int, float]
    short: bool = False
    one_thread: bool = False


def warm_sizes(max_rows: int, preferred: Iterable[int] = ()) -> list[int]:
    """Numbers of rows to warm (fault 94): powers of two, the preferred ones, the largest."""
    sizes = {1 << power for power in range(max_rows.bit_length()) if 1 << power <= max_rows}
    return sorted(sizes | {n for n in preferred if 0 < n <= max_rows} | {max_rows})


def warm(
    run: Run,
    source: Source,
    outputs: Sequence[str],
    sizes: Iterable[int],
    limit_s: float,
    meter: Meter | None = None,
    *,
    alone: bool = False,
) -> Warmth:
    """Run each size, first unmeasured, then a few times against the clock; until ``limit_s``
    seconds are over, a row gets no cheaper, or the memory of ``meter`` would not do. ``alone``:
    nothing else goes on in this process, so that its threads tell who worked."""
    if not alone:
        return _measured(run, source, outputs, sizes, limit_s, meter)
    # Once around all sizes: each look costs what many runs of a small model do.
    with Crew() as crew:
        found = _measured(run, source, outputs, sizes, limit_s, meter)
    return replace(found, one_thread=crew.one_thread and not found.words)


def _measured(
    run: Run,
    source: Source,
    outputs: Sequence[str],
    sizes: Iterable[int],
    limit_s: float,
    meter: Meter | None,
) -> Warmth:
    """``warm``, but for who worked."""
    end = time.monotonic() + limit_s
    seconds: dict[int, float] = {}
    growth = _Growth(meter)
    for rows in sizes:
        if time.monotonic() > end:
            return Warmth(f"not warmed from {rows} rows on: the model is slow", seconds)
        if not growth.allows(rows):
            words = f"not warmed from {rows} rows on: they would take too much memory"
            return Warmth(words, seconds, short=True)
        if not cheaper_still(seconds):
            break
        try:
            feeds = source.make(rows, seed=rows)
            run(outputs, feeds)
            seconds[rows] = min(_timed(run, outputs, feeds, end))
        except LoadError:
            raise
        except Exception as error:  # noqa: BLE001 - generated input proves nothing
            words = f"generated input of {rows} rows did not run ({type(error).__name__})"
            return Warmth(words, seconds, short_of_memory(error))
        growth.note(rows)
    return Warmth("", seconds)


def run_each(
    run: Run, source: Source, outputs: Sequence[str], sizes: Iterable[int], limit_s: float
) -> str:
    """Run each size once, on rows of the largest; words for what was left out."""
    end = time.monotonic() + limit_s
    sizes = sorted(sizes)
    most: Feeds = {}
    for rows in sizes:
        if time.monotonic() > end:
            return f"not warmed from {rows} rows on: the model is slow"
        try:
            most = most or source.make(sizes[-1], seed=sizes[-1])
            run(outputs, _cut(most, rows) if rows < sizes[-1] else most)
        except LoadError:
            raise
        except Exception as error:  # noqa: BLE001 - generated input proves nothing
            return f"generated input of {rows} rows did not run ({type(error).__name__})"
    return ""


def _cut(feeds: Feeds, rows: int) -> Feeds:
    return {name: array[:rows] for name, array in feeds.items()}


class Crew:
    """Who works while its context is open: the thread that opens it alone, or others too. A thread
    that sleeps and is not woken is switched to by nobody; one that was woken and got no CPU yet is
    runnable. So the answer hangs on no timing, once the others sleep: it opens when they do, or in
    vain after ``_REST_S``. Where the system tells nothing, others may work."""

    def __init__(self) -> None:
        self.one_thread = True
        self._before: Mapping[str, bytes] | None = None

    def __enter__(self) -> Self:
        self._before = _at_rest()
        return self

    def __exit__(self, *_: object) -> None:
        self.one_thread &= self._before is not None and _others() == self._before


_TASKS = Path("/proc/self/task")


def _at_rest() -> Mapping[str, bytes] | None:
    """``_others`` as soon as none is at work; None where that takes too long. A session's threads
    have to begin before they sleep, and those of one that was given up to end: a busy machine takes
    its time over both."""
    found = _others()
    if found is not None or not _TASKS.is_dir():
        return found
    end = time.monotonic() + _REST_S
    while time.monotonic() < end:
        time.sleep(_LOOK_S)
        again = _others()
        if again is not None and again == found:
            return again
        found = again
    return None


def _others() -> Mapping[str, bytes] | None:
    """Of each other thread of this process how often it was switched to; None where one does not
    sleep, or nothing is known."""
    own, found = str(threading.get_native_id()), dict[str, bytes]()
    try:
        for task in _TASKS.iterdir():
            if task.name != own:
                status = (task / "status").read_bytes()  # file: the kernel's
                switched = status.partition(b"\nvoluntary_ctxt_switches")[2]
                if b"\nState:\tS" not in status or not switched:
                    return None
                found[task.name] = switched
    except OSError:
        return None
    return found


class _Growth:
    """Foresees what a run of more rows will add to the memory taken: in proportion."""

    def __init__(self, meter: Meter | None) -> None:
        self._meter = meter
        self._taken = meter.grown if meter else 0
        self._rows, self._added = 0, 0

    def note(self, rows: int) -> None:
        if self._meter is not None:
            taken = self._meter.grown
            self._rows, self._added, self._taken = rows, max(0, taken - self._taken), taken

    def allows(self, rows: int) -> bool:
        if self._meter is None or not self._rows:
            return True
        more = self._added * rows // self._rows
        return self._taken + more <= self._meter.budget


def _timed(run: Run, outputs: Sequence[str], feeds: Feeds, end: float) -> Iterator[float]:
    """Times of at least one run, of several where they are short."""
    first = time.monotonic()
    for _ in range(MEASURED_RUNS):
        before = time.perf_counter()
        run(outputs, feeds)
        yield time.perf_counter() - before
        if time.monotonic() > min(end, first + MEASURED_SECONDS):
            return
