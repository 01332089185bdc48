"""Operators that make tensors out of sizes, constants or nothing."""

from __future__ import annotations

from serving.loading.batching.call import (
    ALL,
    FOLLOWED,
    Call,
    broadcast,
    constant_of,
    rule,
)
from serving.loading.batching.rules.shaping import shape_of
from serving.loading.batching.symbols import (
    Dim,
    N,
    divide,
    has_rows,
    is_positive,
    product,
)
from serving.loading.batching.values import (
    MOST_ELEMENTS,
    Kind,
    Value,
    rows,
    same,
)


@rule("Constant")
def constant(call: Call) -> Value:
    for name in ("value", "value_ints", "value_floats"):
        tensor = call.tensor(name)
        if tensor is not None:
            return constant_of(tensor)
    if call.has_attribute("value_int"):
        return same((), [call.number("value_int")])
    if call.has_attribute("value_float"):
        return same((), [call.real("value_float")])
    return same(() if call.has_attribute("value_string") else None)


@rule("ConstantOfShape", counts=ALL)
def constant_of_shape(call: Call) -> Value:
    sizes = shape_of(call, 0)
    if isinstance(sizes, Value):
        return sizes
    fill = _fill(call)
    counted = [at for at, size in enumerate(sizes) if has_rows(size)]
    if not counted:
        count = product(sizes)
        few = isinstance(count, int) and count <= MOST_ELEMENTS and _is_followed(call, fill)
        data = (fill,) * count if few and isinstance(count, int) else None
        return Value(Kind.SAME, tuple(sizes), data=data, fill=fill)  # type: ignore[arg-type]  # not None
    block = divide(sizes[counted[0]], N)
    if len(counted) > 1:
        return call.lost("more than one dimension follows the number of rows")
    if block is None:
        return call.mixed("a dimension follows the number of rows")
    made = rows(sizes, counted[0], block)
    return Value(made.kind, made.shape, made.axis, made.block, fill=fill)


def _is_followed(call: Call, fill: float | None) -> bool:
    tensor = call.tensor("value")
    return fill is not None and (tensor is None or tensor.elem_type in FOLLOWED)


def _fill(call: Call) -> int | float | None:
    """What every element becomes: float 0 where nothing is said."""
    tensor = call.tensor("value")
    if tensor is None:
        return 0.0
    listed = tensor.values if tensor.values is not None else tensor.floats
    return listed[0] if listed else None


@rule("Range", counts=ALL)
@rule("Range", domain="com.microsoft", counts=ALL)
def range_(call: Call) -> Value:
    """From 0 to the number of rows in steps of 1: each row's number."""
    values = call.there()
    if any(value.has_rows for value in values):
        return call.mixed("rows decide how long it is")
    start, limit = call.input(0), call.input(1)
    step = call.input(2).data if call.has(2) else (1,)
    if Kind.COUNT not in (value.kind for value in values):
        return _range_known(call)
    ends = (start.data, limit.data, step)
    if ends == ((0,), (N,), (1,)):
        return Value(Kind.PLACE, (N,), 0, 1)
    return call.mixed("it counts as many as rows run")


def _range_known(call: Call) -> Value:
    ends = [call.input(place).ints() for place in range(3)]
    if len(call.inputs) == 3 and all(end is not None and len(end) == 1 for end in ends):
        start, limit, step = (end[0] for end in ends if end is not None)
        if step and abs(limit - start) // abs(step) < MOST_ELEMENTS:
            data = list(range(start, limit, step))
            return same((len(data),), data)
    given = tuple(call.input(place).data for place in range(3))
    size: Dim = call.symbols.of(("range", *given)) if None not in given else call.symbols.fresh()
    if given[0] == (0,) and given[2] == (1,):
        end: Dim = (call.input(1).numbers() or [-1])[0]
        size = end if is_positive(end + 1) else size
    return same((size,))


@rule("EyeLike", "Trilu")
@rule("Trilu", domain="com.microsoft")
def by_place(call: Call) -> Value:
    """What an element becomes depends on its place in the last two dimensions (in the two
    dimensions of EyeLike)."""
    value = call.input(0)
    if any(one.has_rows for one in call.there()[1:]):
        return call.mixed("rows decide which diagonal it takes")
    if not value.has_rows:
        return same(value.shape)
    if value.from_right <= 2 or call.node.operator == "EyeLike":
        return call.mixed("what an element becomes depends on the row's place")
    return broadcast(call, [value])


@rule("HannWindow", "HammingWindow", "BlackmanWindow")
def window(call: Call) -> Value:
    """As long as its input says, which is a scalar and so has no rows."""
    size = call.input(0).numbers()
    if call.input(0).has_rows or size is None:
        return call.lost("it does not show how long it is")
    return same((size[0],))


@rule("MelWeightMatrix")
def mel_weights(call: Call) -> Value:
    """[frequencies, bins], of five scalars."""
    return same((call.symbols.fresh(), call.symbols.fresh()))
