"""Operators that give the same elements another shape."""

from __future__ import annotations

from collections.abc import Sequence

from serving.loading.batching.call import (
    ALL,
    COUNTED,
    FILLED,
    Call,
    normal,
    rule,
)
from serving.loading.batching.symbols import (
    Dim,
    N,
    Poly,
    divide,
    has_rows,
    is_positive,
    product,
)
from serving.loading.batching.values import Kind, Shape, Value, known, same

UNKNOWN_SHAPE = "the shape it makes is not known"
DATA_SHAPE = "rows decide the shape of what comes out"


def shape_of(call: Call, place: int) -> list[Dim] | Value:
    """The sizes that an input states, or what is wrong with them."""
    value = call.input(place)
    if value.has_rows:
        return call.mixed(DATA_SHAPE)
    numbers = value.numbers()
    return call.lost(UNKNOWN_SHAPE) if numbers is None else numbers


def reshaped(call: Call, value: Value, sizes: Sequence[Dim]) -> Value:
    """The elements of ``value`` in row-major order, in dimensions ``sizes``.

    Rows stay rows where the elements before them, counted over the dimensions to the left, are
    as many as before, and the dimension they stand on is a multiple of N.
    """
    shape = tuple(sizes)
    if value.data is not None:
        return _known_reshaped(call, value, shape)
    if not value.has_rows:
        if any(has_rows(size) for size in shape):
            return call.lost("it spreads what is the same for all over the rows")
        return Value(value.kind, shape, fill=value.fill)
    assert value.shape is not None
    before = product(value.shape[: value.axis])
    for axis, size in enumerate(shape):
        block = divide(size, N)
        if block is not None and has_rows(size) and product(shape[:axis]) == before:
            return _rows_reshaped(call, value, shape, axis, block)
    if not any(has_rows(size) for size in shape):
        return call.never(f"its shape {_shown(shape)} is made for one number of rows")
    return call.lost(f"it takes rows apart: from {_shown(value.shape)} to {_shown(shape)}")


def _known_reshaped(call: Call, value: Value, shape: Shape) -> Value:
    count = len(value.data or ())
    whole = (count,) if len(shape) == 1 else shape
    if product(whole) == count and all(isinstance(size, int) for size in whole):
        return Value(value.kind, whole, data=value.data)
    return call.mixed(COUNTED) if value.kind is Kind.COUNT else same(shape)


def _rows_reshaped(call: Call, value: Value, shape: Shape, axis: int, block: Dim) -> Value:
    if value.kind is Kind.ROWS:
        return Value(Kind.ROWS, shape, axis, block, fill=value.fill)
    if block != value.block:
        return call.mixed("a row's number becomes data")
    assert value.shape is not None
    if value.kind is Kind.PLACE_FIRST and shape[-1] != value.shape[-1]:
        return call.lost("it takes indices apart")
    return value.rows_like(shape, axis)


def _shown(shape: Shape) -> str:
    return "[" + ", ".join(map(repr, shape)) + "]"


@rule("Shape", counts=ALL, places=ALL)
def shape(call: Call) -> Value:
    value = call.input(0)
    if value.shape is None:
        return same((call.symbols.fresh(),))
    rank = len(value.shape)
    start, end = call.number("start"), call.number("end", rank)
    part = value.shape[slice(_clamped(start, rank), _clamped(end, rank))]
    return known((len(part),), part)


def _clamped(at: int, rank: int) -> int:
    return min(max(at + rank if at < 0 else at, 0), rank)


@rule("Size", counts=ALL, places=ALL)
def size(call: Call) -> Value:
    value = call.input(0)
    return same(()) if value.shape is None else known((), [product(value.shape)])


@rule("Reshape", counts=ALL, places=(0,))
def reshape(call: Call) -> Value:
    value = call.input(0)
    if call.opset < 5:
        return call.lost("its shape is an attribute, as before opset 5")
    wanted = shape_of(call, 1)
    if isinstance(wanted, Value):
        return wanted
    if value.shape is None:
        return same()
    sizes = _filled(call, value.shape, wanted)
    if sizes is None:
        return call.lost("the dimension it leaves open (-1) can't be told")
    return reshaped(call, value, sizes)


def _filled(call: Call, shape: Shape, wanted: Sequence[Dim]) -> list[Dim] | None:
    """``wanted`` with what 0 (as in the input) and -1 (the rest) stand for."""
    sizes: list[Dim] = []
    for at, one in enumerate(wanted):
        size = _stated(call, shape[at] if at < len(shape) else 0, one)
        if size is None:
            return None
        sizes.append(size)
    if any(map(has_rows, shape)) and not any(map(has_rows, sizes)) and _may_be_open(wanted):
        return None
    return _with_rest(call, shape, sizes) if -1 in sizes else sizes


def _may_be_open(wanted: Sequence[Dim]) -> bool:
    return any(isinstance(one, Poly) and not is_positive(one + 1) for one in wanted)


def _stated(call: Call, size: Dim, one: Dim) -> Dim | None:
    """A number that is not known may be 0, or less than 0, and so stand for another size."""
    if isinstance(one, int):
        return size if one == 0 and not call.number("allowzero") else one
    if is_positive(one) or one == size:
        return one
    # 0 stands for itself there, or for a dimension that is not there and so refused.
    if is_positive(one + 1) and (size == 0 or call.number("allowzero")):
        return one
    if has_rows(one) or has_rows(size):
        return None
    return call.symbols.of(("stated", one, size))


def _with_rest(call: Call, shape: Shape, sizes: list[Dim]) -> list[Dim] | None:
    at = sizes.index(-1)
    whole, others = product(shape), product(s for i, s in enumerate(sizes) if i != at)
    rest = divide(whole, others)
    if rest is None and _has_once(whole) and _has_once(others):
        # Some size, but no row changes it.
        rest = call.symbols.fresh()
    return None if rest is None else [*sizes[:at], rest, *sizes[at + 1 :]]


def _has_once(size: Dim) -> bool:
    """Whether it is the number of rows times something that does not depend on it."""
    block = divide(size, N)
    return block is not None and has_rows(size) and not has_rows(block)


@rule("Flatten", places=(0,), padded=True)
def flatten(call: Call) -> Value:
    value = call.input(0)
    if value.shape is None:
        return same()
    if value.kind is Kind.PADDED:
        plain = len(value.shape) == 2 and call.number("axis", 1) == 1
        return value if plain else call.mixed(FILLED)
    axis = call.number("axis", 1)
    at = axis + len(value.shape) if axis < 0 else axis
    return reshaped(call, value, [product(value.shape[:at]), product(value.shape[at:])])


def axes_of(call: Call, place: int = 1) -> list[int] | Value | None:
    """Axes from an input (newer opsets) or the attribute; None where they are not given."""
    if call.has(place):
        numbers = call.input(place).ints()
        return call.lost("its axes are not known") if numbers is None else numbers
    return call.integers("axes")


@rule("Squeeze", counts=(0,), places=(0,))
def squeeze(call: Call) -> Value:
    value, axes = call.input(0), axes_of(call)
    if isinstance(axes, Value):
        return axes
    if value.shape is None:
        return same()
    rank = len(value.shape)
    if not axes:
        return _squeeze_ones(call, value, value.shape)
    gone = {normal(axis, rank) for axis in axes}
    if value.has_rows and value.axis in gone:
        return call.never("it takes the rows' own dimension away, which works for one row only")
    return reshaped(call, value, [s for at, s in enumerate(value.shape) if at not in gone])


def _squeeze_ones(call: Call, value: Value, shape: Shape) -> Value:
    """Without axes it takes every dimension of size 1 away: also that of a single row."""
    if not all(isinstance(size, int) for size in shape):
        return call.lost("it takes away whatever dimension has size 1 (no axes)")
    return reshaped(call, value, [size for size in shape if size != 1])


@rule("Unsqueeze", counts=(0,), places=(0,))
def unsqueeze(call: Call) -> Value:
    return _unsqueezed(call)


def _unsqueezed(call: Call) -> Value:
    value, axes = call.input(0), axes_of(call)
    if isinstance(axes, Value):
        return axes
    if axes is None:
        return call.lost("its axes are not known")
    if value.shape is None:
        return same()
    rank = len(value.shape) + len(axes)
    new = {normal(axis, rank) for axis in axes}
    rest = iter(value.shape)
    sizes: list[Dim] = [1 if at in new else next(rest, 1) for at in range(rank)]
    return reshaped(call, value, sizes)


@rule("ExpandDims", domain="com.microsoft", counts=(0,), places=(0,))
def expand_dims(call: Call) -> Value:
    """Unsqueeze with one axis, an input."""
    return _unsqueezed(call)


@rule("Transpose", counts=(0,), places=(0,))
def transpose(call: Call) -> Value:
    value = call.input(0)
    if value.shape is None:
        return same()
    order = call.integers("perm") or list(range(len(value.shape)))[::-1]
    if sorted(order) != list(range(len(value.shape))):
        return call.lost("its permutation does not fit")
    shape = tuple(value.shape[at] for at in order)
    if value.has_rows:
        if value.kind is Kind.PLACE_FIRST and order[-1] != len(order) - 1:
            return call.lost("it moves indices off the last axis")
        return value.rows_like(shape, order.index(value.axis))
    array = value.objects()
    if array is not None:
        return known(shape, array.transpose(order).ravel().tolist())
    return same(shape)


@rule("Split", counts=(0,), places=(0,))
def split(call: Call) -> Sequence[Value]:
    value, parts = call.input(0), len(call.node.outputs)
    if value.shape is None:
        return [same()] * parts
    axis = normal(call.number("axis"), len(value.shape))
    if axis is None:
        return [call.lost("its axis does not fit")]
    if value.has_rows and axis == value.axis:
        return [_whole(call, value, parts)]
    if value.kind is Kind.COUNT or value.data is not None:
        return _split_known(call, value, parts)
    sizes = _split_sizes(call, value.shape[axis], parts)
    if isinstance(sizes, Value):
        return [sizes]
    shapes = [(*value.shape[:axis], part, *value.shape[axis + 1 :]) for part in sizes]
    if value.kind is Kind.PLACE_FIRST:
        return [call.lost("it takes indices apart")]
    if value.has_rows:
        return [value.rows_like(shape, value.axis) for shape in shapes]
    return [same(shape) for shape in shapes]


def _whole(call: Call, value: Value, parts: int) -> Value:
    """Split along the rows: only one part that is as long as they are keeps them."""
    if parts > 1:
        return call.mixed("it parts the rows among its outputs")
    if call.has(1) or call.integers("split") is not None:
        return call.never("its part is made for one number of rows")
    return value


def _split_sizes(call: Call, size: Dim, parts: int) -> list[Dim] | Value:
    """As given (by an input from opset 13 on), or equal ones, of which the last may be less."""
    given = call.integers("split")
    if call.has(1):
        wanted = shape_of(call, 1)
        if isinstance(wanted, Value):
            if call.input(1).kind is Kind.SAME:
                return [call.symbols.fresh() for _ in range(parts)]
            return wanted
        return wanted if len(wanted) == parts else call.lost("its parts do not fit")
    if given is not None:
        return list(given)
    whole = divide(size, parts)
    if whole is not None:
        return [whole] * parts
    if isinstance(size, int):
        each = -(-size // parts)
        return [*[each] * (parts - 1), size - each * (parts - 1)]
    return [call.symbols.of(("split", size, parts, at == parts - 1)) for at in range(parts)]


def _split_known(call: Call, value: Value, parts: int) -> Sequence[Value]:
    size = len(value.data or ())
    sizes = _split_sizes(call, size, parts)
    if isinstance(sizes, Value):
        return [sizes]
    numbers = [one for one in sizes if isinstance(one, int)]
    if value.rank != 1 or value.data is None or sum(numbers) != size or len(numbers) != parts:
        counted = value.kind is Kind.COUNT
        return [call.mixed(COUNTED) if counted else same() for _ in range(parts)]
    ends = [sum(numbers[: at + 1]) for at in range(parts)]
    return [
        known((part,), value.data[end - part : end])
        for part, end in zip(numbers, ends, strict=True)
    ]
