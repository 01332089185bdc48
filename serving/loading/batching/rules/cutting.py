"""Slice, Pad and CenterCropPad: along the rows only where they change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serving.loading.batching.call import COUNTED, Call, normal, rule
from serving.loading.batching.rules.shaping import axes_of, shape_of
from serving.loading.batching.symbols import Dim, has_rows, is_positive, linear
from serving.loading.batching.values import Kind, Shape, Value, from_objects, same


@rule("Slice", counts=(0, 1, 2), places=(0,))
def slice_(call: Call) -> Value:
    value = call.input(0)
    if value.shape is None:
        return same()
    if any(call.input(place).has_rows for place in range(1, 5)):
        return call.mixed("rows decide where it cuts")
    cuts = _cuts(call, len(value.shape))
    if isinstance(cuts, Value):
        return cuts
    if value.data is not None:
        return _slice_known(call, value, cuts)
    if value.kind is Kind.PLACE_FIRST:
        return call.lost("it takes indices apart")
    return _sliced(call, value, value.shape, cuts)


def _sliced(call: Call, value: Value, shape: Shape, cuts: Sequence[_Cut]) -> Value:
    sizes = list(shape)
    for cut in cuts:
        along_rows = value.has_rows and cut.axis == value.axis
        size = sizes[cut.axis]
        made = cut.rows(call, size) if along_rows else cut.size(call, size)
        if isinstance(made, Value):
            return made
        sizes[cut.axis] = made
    if not value.has_rows:
        return Value(Kind.SAME, tuple(sizes), fill=value.fill)
    return value.rows_like(tuple(sizes), value.axis)


@dataclass(frozen=True, slots=True)
class _Cut:
    """One axis of a slice; None for an end that is the same everywhere, but not known."""

    axis: int
    start: Dim | None
    end: Dim | None
    step: Dim | None

    def rows(self, call: Call, size: Dim) -> Dim | Value:
        """Along the rows, of which there are ``size``: only a cut that takes all is right."""
        if self.start is None or self.end is None or self.step is None:
            return call.lost("it does not show whether it takes all rows")
        enough = _is_beyond(self.end, size, call.interpreter.most_rows)
        if self.start == 0 and self.step == 1 and enough:
            return size
        return call.mixed("it takes some of the rows only")

    def size(self, call: Call, size: Dim) -> Dim | Value:
        """How many elements it leaves of ``size``."""
        ends = (self.start, self.end, self.step)
        if any(end is not None and has_rows(end) for end in ends):
            return call.mixed("where it cuts depends on how many rows run")
        if all(isinstance(end, int) for end in (*ends, size)):
            return len(range(int(size))[slice(*_python(ends))])  # type: ignore[arg-type]  # integers
        if self.start == 0 and self.step == 1 and self.end is not None:
            if self.end == size or (isinstance(self.end, int) and self.end >= _ALL):
                return size
            if isinstance(self.end, int) and isinstance(size, int):
                return min(self.end, size)
        return call.symbols.of(("slice", size, *ends)) if None not in ends else call.symbols.fresh()


# "To the end", however it is written: 2**31 - 1, 2**63 - 1, or a little less.
_ALL = (1 << 31) - 1


def _is_beyond(end: Dim, size: Dim, most_rows: int) -> bool:
    """Whether ``end`` is at least ``size`` with as many rows as ever run."""
    beyond = end - size
    if beyond == 0 or is_positive(beyond):
        return True
    line = linear(size)
    if line is None:
        return isinstance(end, int) and end >= _ALL
    return isinstance(end, int) and line[0] + line[1] * most_rows <= end


def _python(ends: Sequence[Dim | None]) -> list[int | None]:
    """ONNX's bounds as Python's: a backward slice to before the first has no end there."""
    start, end, step = (int(end) for end in ends if isinstance(end, int))
    return [start, None if step < 0 and end <= -_ALL else end, step]


def _cuts(call: Call, rank: int) -> list[_Cut] | Value:
    starts, ends = _bounds(call, 1, "starts"), _bounds(call, 2, "ends")
    axes = axes_of(call, 3)
    if isinstance(axes, Value):
        return axes
    count = len(axes) if axes is not None else len(starts or ends or ())
    if not count:
        return call.lost("it does not show where it cuts")
    places = [normal(axis, rank) for axis in (axes if axes is not None else range(count))]
    steps: list[Dim | None] = [1] * count
    if call.has(4):
        steps = _unknown(call.input(4).numbers(), count)
    starts, ends = _unknown(starts, count), _unknown(ends, count)
    if None in places or not len(starts) == len(ends) == len(steps) == count:
        return call.lost("its axes do not fit")
    return [
        _Cut(axis, start, end, step)
        for axis, start, end, step in zip(places, starts, ends, steps, strict=True)
        if axis is not None
    ]


def _unknown(ends: Sequence[Dim | None] | None, count: int) -> list[Dim | None]:
    return [None] * count if ends is None else list(ends)


def _bounds(call: Call, place: int, attribute: str) -> list[Dim | None] | None:
    """From an input, since opset 10, or the attribute."""
    if not call.has(place):
        given = call.integers(attribute)
        return None if given is None else list(given)
    numbers = call.input(place).numbers()
    return None if numbers is None else list(numbers)


def _slice_known(call: Call, value: Value, cuts: Sequence[_Cut]) -> Value:
    array = value.objects()
    for cut in cuts:
        ends = (cut.start, cut.end, cut.step)
        if array is None or not all(isinstance(end, int) for end in ends):
            if value.kind is Kind.COUNT:
                return call.mixed(COUNTED)
            return _sliced(call, value, value.shape or (), cuts)
        where: list[slice] = [slice(None)] * array.ndim
        where[cut.axis] = slice(*_python(ends))
        array = array[tuple(where)]
    return same() if array is None else from_objects(array)


@rule("Pad", counts=(1,))
@rule("Pad", domain="com.microsoft", counts=(1,))
def pad(call: Call) -> Value:
    value = call.input(0)
    if value.shape is None:
        return same()
    pads = shape_of(call, 1) if call.has(1) else (call.integers("pads") or [])
    axes = axes_of(call, 3)
    if isinstance(pads, Value) or isinstance(axes, Value):
        return pads if isinstance(pads, Value) else axes  # type: ignore[return-value]  # one is
    places = [normal(a, len(value.shape)) for a in (axes or range(len(value.shape)))]
    if len(pads) != 2 * len(places) or call.input(2).has_rows:
        return call.lost("its pads do not fit")
    sizes = list(value.shape)
    for at, axis in enumerate(places):
        added = (pads[at], pads[at + len(places)])
        if axis is None or (value.has_rows and axis == value.axis and added != (0, 0)):
            return call.mixed("it pads the rows")
        sizes[axis] = sizes[axis] + added[0] + added[1]
    return value.other_rows(tuple(sizes), value.axis) if value.has_rows else same(tuple(sizes))


@rule("CenterCropPad", counts=(1,))
def center_crop_pad(call: Call) -> Value:
    value, wanted = call.input(0), shape_of(call, 1)
    if isinstance(wanted, Value):
        return wanted
    if value.shape is None:
        return same()
    axes = call.integers("axes") or list(range(len(value.shape)))
    sizes = list(value.shape)
    for axis, size in zip((normal(a, len(value.shape)) for a in axes), wanted, strict=False):
        if axis is None:
            return call.lost("its axes do not fit")
        if value.has_rows and axis == value.axis and size != sizes[axis]:
            return call.mixed("it takes some of the rows only, or adds to them")
        sizes[axis] = size
    return value.other_rows(tuple(sizes), value.axis) if value.has_rows else same(tuple(sizes))
