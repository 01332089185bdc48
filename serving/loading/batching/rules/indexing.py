"""Operators that pick elements by their place."""

from __future__ import annotations

from serving.loading.batching.call import COUNTED, Call, normal, rule
from serving.loading.batching.symbols import Dim
from serving.loading.batching.values import Kind, Shape, Value, fits, from_objects, same

POINTING = "rows point at rows"


@rule("Gather", counts=(0, 1), places=(0, 1))
def gather(call: Call) -> Value:
    data, indices = call.input(0), call.input(1)
    if data.shape is None:
        return same() if not indices.has_rows else call.lost("its input's rank is not known")
    axis = normal(call.number("axis"), len(data.shape))
    if axis is None:
        return call.lost("its axis does not fit")
    if data.kind is Kind.COUNT or indices.kind is Kind.COUNT:
        return _gather_known(call, data, indices, axis)
    if not data.has_rows and not indices.has_rows:
        return _gather_known(call, data, indices, axis)
    if indices.shape is None:
        return call.lost("its indices' rank is not known")
    shape = (*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :])
    if not data.has_rows:
        if indices.kind is not Kind.ROWS:
            return call.mixed("it picks by a row's place among the others")
        return indices.other_rows(shape, axis + indices.axis)
    if indices.has_rows:
        return _gather_rows_by_rows(call, data, indices, axis)
    return _gather_same(call, data, indices, axis, shape)


def _gather_rows_by_rows(call: Call, data: Value, indices: Value, axis: int) -> Value:
    whole = indices.kind is Kind.PLACE and data.block == 1 and len(indices.shape or ()) == 1
    if whole and data.axis == axis:
        return data
    return call.mixed(POINTING)


def _gather_same(call: Call, data: Value, indices: Value, axis: int, shape: Shape) -> Value:
    if data.kind is Kind.PLACE_FIRST and axis == len(data.shape or ()) - 1:
        return call.lost("it takes indices apart")
    if axis == data.axis:
        return call.mixed("it picks rows out of the batch by constant indices")
    moved = len(indices.shape or ()) - 1 if axis < data.axis else 0
    return data.rows_like(shape, data.axis + moved)


def _gather_known(call: Call, data: Value, indices: Value, axis: int) -> Value:
    """Sizes picked by constant places."""
    contents, places = data.objects(), indices.objects()
    if contents is not None and places is not None and indices.kind is Kind.SAME:
        numbers = places.ravel().tolist()
        size = contents.shape[axis]
        inside = all(isinstance(one, int) and -size <= one < size for one in numbers)
        if inside and fits(contents.size // max(size, 1) * places.size, [data, indices]):
            return from_objects(contents.take(places.astype(int), axis=axis))
    if data.kind is Kind.COUNT or indices.kind is Kind.COUNT:
        return call.mixed(COUNTED)
    if data.shape is None or indices.shape is None:
        return same()
    return same((*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :]))


@rule("GatherElements")
def gather_elements(call: Call) -> Value:
    """Output and indices have one shape; along the other axes each index takes its own place."""
    data, indices = call.input(0), call.input(1)
    if indices.shape is None or data.shape is None:
        return call.lost("its input's rank is not known")
    axis = normal(call.number("axis"), len(data.shape))
    if not indices.has_rows:
        return call.mixed("it picks rows out of the batch by constant indices")
    if not data.has_rows:
        if indices.axis != axis:
            return call.mixed("it picks by a row's place among the others")
        return indices.other_rows(indices.shape, indices.axis)
    if data.axis != indices.axis or data.block != indices.block or axis == data.axis:
        return call.mixed(POINTING)
    return indices.other_rows(indices.shape, indices.axis)


@rule("GatherND", places=(1,))
@rule("GatherND", domain="com.microsoft", places=(1,))
def gather_nd(call: Call) -> Value:
    data, indices, batch = call.input(0), call.input(1), call.number("batch_dims")
    if data.shape is None or indices.shape is None or not indices.shape:
        return call.lost("its input's rank is not known")
    depth = indices.shape[-1]
    if not isinstance(depth, int):
        return call.lost("how deep its indices go is not known")
    rest = data.shape[batch + depth :]
    shape = (*indices.shape[:-1], *rest)
    if indices.has_rows:
        return _gather_nd_rows(call, data, indices, batch, shape)
    if data.axis < batch + depth:
        return call.mixed("it picks rows out of the batch by constant indices")
    moved = len(indices.shape) - 1 + data.axis - batch - depth
    return data.rows_like(shape, moved)


def _gather_nd_rows(call: Call, data: Value, indices: Value, batch: int, shape: Shape) -> Value:
    assert indices.shape is not None
    if indices.axis == len(indices.shape) - 1:
        return call.mixed("it picks by the rows themselves")
    if not data.has_rows:
        if indices.kind is not Kind.ROWS or indices.axis < batch:
            return call.mixed("it picks by a row's place among the others")
        return indices.other_rows(shape, indices.axis)
    if data.axis < batch:
        paired = data.axis == indices.axis and data.block == indices.block
        if not paired or indices.kind is not Kind.ROWS:
            return call.mixed(POINTING)
        return data.rows_like(shape, data.axis)
    first = indices.kind is Kind.PLACE_FIRST
    alone = indices.kind is Kind.PLACE and indices.shape[-1] == 1
    if (first or alone) and batch == 0 and data.axis == 0 and data.block == 1:
        return Value(Kind.ROWS, shape, indices.axis, indices.block)
    return call.mixed(POINTING)


@rule("ScatterElements", "Scatter")
def scatter_elements(call: Call) -> Value:
    values = [call.input(place) for place in range(3)]
    data = values[0]
    if any(value.shape is None for value in values) or data.shape is None:
        return call.lost("its input's rank is not known")
    axis = normal(call.number("axis"), len(data.shape))
    if not data.has_rows:
        return call.mixed("it writes rows into one place for all")
    if axis == data.axis:
        return call.mixed(POINTING)
    for value in values[1:]:
        if not value.has_rows or value.axis != data.axis or value.block != data.block:
            return call.mixed("it writes to rows by constant places")
    return data.other_rows(data.shape, data.axis)


@rule("ScatterND", places=(1,))
def scatter_nd(call: Call) -> Value:
    """Only where the first index is the row's own number do rows write to themselves."""
    data, indices, updates = (call.input(place) for place in range(3))
    if data.shape is None or indices.shape is None or updates.shape is None:
        return call.lost("its input's rank is not known")
    depth = indices.shape[-1] if indices.shape else 0
    if not data.has_rows or not isinstance(depth, int):
        return call.mixed("it writes rows into one place for all")
    if not indices.has_rows:
        return _scatter_same(call, data, updates, data.axis - depth + len(indices.shape) - 1, depth)
    own = indices.kind in (Kind.PLACE_FIRST, Kind.PLACE) and indices.axis == 0
    if not own or data.axis != 0 or data.block != 1 or (indices.kind is Kind.PLACE and depth != 1):
        return call.mixed(POINTING)
    if not updates.has_rows or updates.axis != 0 or updates.block != indices.block:
        return call.mixed("it writes to rows by constant places")
    return data.other_rows(data.shape, data.axis)


def _scatter_same(call: Call, data: Value, updates: Value, place: int, depth: int) -> Value:
    """Constant indices into the dimensions before the rows': each row writes for itself."""
    if data.axis < depth:
        return call.mixed("it writes to rows by constant places")
    if not updates.has_rows or updates.axis != place or updates.block != data.block:
        return call.lost("what it writes does not go along with the rows")
    assert data.shape is not None
    return data.other_rows(data.shape, data.axis)


@rule("ReverseSequence")
def reverse_sequence(call: Call) -> Value:
    value, lengths = call.input(0), call.input(1)
    batch, time = call.number("batch_axis", 1), call.number("time_axis", 0)
    if not value.has_rows:
        return call.lost("rows decide how far one constant is reversed")
    if value.axis == time:
        return call.mixed("it turns the rows' order round")
    if value.axis != batch:
        return value if not lengths.has_rows else call.mixed(POINTING)
    if not lengths.has_rows or lengths.block != value.block:
        return call.mixed("a constant has lengths for the rows")
    return value


@rule("OneHot")
def one_hot(call: Call) -> Value:
    indices, depth = call.input(0), call.input(1)
    if depth.has_rows or call.input(2).has_rows:
        return call.mixed("rows decide a dimension, or what marks a place")
    if indices.shape is None:
        return same()
    size = depth.numbers()
    rank = len(indices.shape) + 1
    axis = normal(call.number("axis", -1), rank)
    if axis is None:
        return call.lost("its axis does not fit")
    wide: Dim = size[0] if size else call.symbols.fresh()
    shape = (*indices.shape[:axis], wide, *indices.shape[axis:])
    if not indices.has_rows:
        return same(shape)
    return indices.other_rows(shape, indices.axis + (axis <= indices.axis))


@rule("TensorScatter")
def tensor_scatter(call: Call) -> Value:
    """A cache updated in place along one axis, each row at its own position; batch is axis 0."""
    cache, update, position = (call.input(place) for place in range(3))
    axis = normal(call.number("axis", -2), len(cache.shape or ()))
    if not cache.has_rows or cache.axis != 0 or axis == 0:
        return call.mixed("rows write into one cache")
    for value in (update, position) if call.has(2) else (update,):
        if not value.has_rows or value.axis != 0 or value.block != cache.block:
            return call.mixed("it writes to rows by constant places")
    return cache.other_rows(cache.shape or (), 0)
