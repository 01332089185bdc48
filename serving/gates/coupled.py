"""Whether rows of one request have to do with each other, where those of the answering version have
not.

A version whose rows are coupled is served without batches, so that no client's rows meet another's;
those of one request still meet, and a client that sends several would get other answers for each of
them than it was used to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from serving.execution.run_limit import RunStoppedError
from serving.gates.verdict import Check
from serving.loading.batching.answers import answers_of, distance, is_close
from serving.loading.inputs.generated import Array, Feeds, Run
from serving.model_config.schema import Tolerance

# Requests that are looked at, and rows of each.
_MOST_REQUESTS, _MOST_ROWS = 8, 4
# What a request is called, and its inputs.
Asked = tuple[str, Feeds]


def answered_apart(
    base: Run, names: Sequence[str], requests: Sequence[Asked], tolerance: Tolerance
) -> list[Asked]:
    """Of those of several rows the first few of which the answering version answers each row as it
    does alone. ``requests``: those that run on both versions."""
    some = [one for one in requests if rows_of(one[1]) > 1][:_MOST_REQUESTS]
    return [one for one in some if _apart(base, names, one[1], tolerance) == ""]


def check(
    found: Run, names: Sequence[str], requests: Sequence[Asked], tolerance: Tolerance
) -> Check:
    """``requests``: as ``answered_apart`` has them."""
    wrong: list[str] = []
    for what, feeds in requests:
        if words := _apart(found, names, feeds, tolerance):
            wrong.append(f"{what}: {words}")
    return Check("safe_to_serve", "rows", not wrong, next(iter(wrong), ""))


def rows_of(feeds: Feeds) -> int:
    """How many it has, where all inputs have as many; else 0."""
    counts = {array.shape[0] if array.ndim else 0 for array in feeds.values()}
    return counts.pop() if len(counts) == 1 else 0


def _apart(run: Run, names: Sequence[str], feeds: Feeds, tolerance: Tolerance) -> str | None:
    """How a row's answer beside others is not its answer alone, "" where it is; None: they are not
    answered row by row."""
    try:
        return next(_differences(run, names, feeds, tolerance), "")
    except RunStoppedError:
        raise
    except Exception:  # noqa: BLE001 - it runs as a whole; that it does not alone proves nothing
        return None


def _differences(
    run: Run, names: Sequence[str], feeds: Feeds, tolerance: Tolerance
) -> Iterator[str]:
    rows, whole = rows_of(feeds), _copies(run, names, feeds)
    if any(array.ndim == 0 or len(array) != rows for array in whole):
        raise ValueError("not answered row by row")
    for row in range(min(rows, _MOST_ROWS)):
        alone = _copies(run, names, {name: array[row : row + 1] for name, array in feeds.items()})
        for name, together, by_itself in zip(names, whole, alone, strict=True):
            beside = together[row : row + 1]
            apart = distance(beside, by_itself, tolerance)
            if apart is not None and not is_close(beside, by_itself):
                yield f"output '{name}' of row {row + 1} differs alone and beside others: {apart}"


def _copies(run: Run, names: Sequence[str], feeds: Feeds) -> list[Array]:
    """A session may use its memory again."""
    return [array.copy() for array in answers_of(run, names, feeds)]
