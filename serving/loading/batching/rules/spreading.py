"""Expand and Tile: elements, or whole rows, repeated."""

from __future__ import annotations

from collections.abc import Sequence

from serving.loading.batching.call import ALL, COUNTED, Call, broadcast, one_size, rule
from serving.loading.batching.rules.shaping import shape_of
from serving.loading.batching.symbols import Dim, N, divide, has_rows, product
from serving.loading.batching.values import (
    Element,
    Kind,
    Shape,
    Value,
    fits,
    known,
    rows,
    same,
)


@rule("Expand", counts=ALL, places=(0,))
def expand(call: Call) -> Value:
    value, wanted = call.input(0), shape_of(call, 1)
    if isinstance(wanted, Value):
        return wanted
    if value.kind is Kind.COUNT:
        return _single_spread(call, value, wanted)
    if value.shape is None:
        return call.lost("it does not show how many dimensions an input has")
    counted = [at for at in range(1, len(wanted) + 1) if has_rows(wanted[-at])]
    if not counted:
        return _expanded(call, value, value.shape, wanted)
    if len(counted) > 1:
        return call.lost("more than one dimension follows the number of rows")
    return _expand_to_rows(call, value, value.shape, wanted, counted[0])


def _single_spread(call: Call, value: Value, wanted: Sequence[Dim]) -> Value:
    """A number of rows, repeated a known number of times."""
    if value.data is not None and len(value.data) == 1 and all(isinstance(s, int) for s in wanted):
        shape = (1,) * (len(value.shape or ()) - len(wanted)) + tuple(wanted)
        count = product(wanted)
        if isinstance(count, int) and fits(count, [value]):
            return known(shape, value.data * count)
    return call.mixed(COUNTED)


def _expanded(call: Call, value: Value, shape: Shape, wanted: Sequence[Dim]) -> Value:
    sized = same(tuple(wanted))
    if value.has_rows:
        made = broadcast(call, [value, sized])
        return made if made.spoilt or made.shape is None else value.rows_like(made.shape, made.axis)
    rank = max(len(shape), len(wanted))
    whole = tuple(
        one_size(call, [s[-at] for s in (shape, tuple(wanted)) if len(s) >= at])
        for at in range(rank, 0, -1)
    )
    return Value(Kind.SAME, whole, fill=_filling(value))


def _expand_to_rows(
    call: Call, value: Value, shape: Shape, wanted: Sequence[Dim], place: int
) -> Value:
    """``place``: the dimension that follows the number of rows, from the right."""
    block = divide(wanted[-place], N)
    if block is None:
        return call.mixed("a dimension follows the number of rows")
    if value.has_rows:
        if value.from_right != place or value.block != block:
            return call.mixed("it joins rows with rows on another axis")
    elif len(shape) >= place and shape[-place] != 1:
        return call.lost("it does not show that a constant has one element along the rows")
    rank = max(len(shape), len(wanted))
    whole = tuple(
        one_size(call, [s[-at] for s in (shape, tuple(wanted)) if len(s) >= at])
        for at in range(rank, 0, -1)
    )
    if value.has_rows:
        return value.rows_like(whole, rank - place)
    return _with_fill(rows(whole, rank - place, block), _filling(value))


def _filling(value: Value) -> Element | None:
    """What every element is, where they are all one."""
    if value.fill is not None:
        return value.fill
    return value.data[0] if value.data and len(set(map(repr, value.data))) == 1 else None


def _with_fill(value: Value, fill: Element | None) -> Value:
    return Value(value.kind, value.shape, value.axis, value.block, fill=fill)


@rule("Tile", counts=ALL)
def tile(call: Call) -> Value:
    value, repeats = call.input(0), shape_of(call, 1)
    if isinstance(repeats, Value):
        return repeats
    if value.kind is Kind.COUNT:
        return call.mixed(COUNTED)
    if value.shape is None or len(repeats) != len(value.shape):
        return call.lost("how often it repeats is not known")
    sizes = tuple(size * times for size, times in zip(value.shape, repeats, strict=True))
    counted = [at for at, times in enumerate(repeats) if has_rows(times)]
    if value.has_rows:
        if repeats[value.axis] != 1 or counted:
            return call.mixed("it repeats the rows")
        return value.rows_like(sizes, value.axis)
    if not counted:
        return Value(Kind.SAME, sizes, fill=value.fill)
    return _tiled_to_rows(call, value.shape, sizes, repeats, counted)


def _tiled_to_rows(
    call: Call, shape: Shape, sizes: Shape, repeats: Sequence[Dim], counted: list[int]
) -> Value:
    times = divide(repeats[counted[0]], N)
    if len(counted) > 1 or times is None:
        return call.mixed("a dimension follows the number of rows")
    return rows(sizes, counted[0], times * shape[counted[0]])
