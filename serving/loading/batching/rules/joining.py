"""Concat: along the rows, or beside them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serving.loading.batching.call import ALL, COUNTED, Call, normal, rule
from serving.loading.batching.symbols import Dim
from serving.loading.batching.values import (
    Element,
    Kind,
    Objects,
    Value,
    fits,
    from_objects,
    known,
    same,
)

# Lists of sizes are short; only in those are unknown elements given names.
_SHORT = 64


@rule("Concat", counts=ALL, places=ALL)
def concat(call: Call) -> Value:
    values = call.there()
    ranks = {value.rank for value in values}
    if None in ranks or len(ranks) != 1:
        return call.lost("its inputs' ranks are not known")
    axis = normal(call.number("axis", 1 if call.opset < 4 else 0), values[0].rank or 0)
    if axis is None:
        return call.lost("its axis does not fit")
    return _concat(call, values, axis)


def _concat(call: Call, values: Sequence[Value], axis: int) -> Value:
    if not any(value.has_rows for value in values):
        return _concat_known(call, values, axis)
    values = [v for v in values if v.has_rows or v.shape is None or v.shape[axis] != 0] or values
    first = next(value for value in values if value.has_rows)
    if axis == first.axis:
        return first if len(values) == 1 else call.mixed("it puts something behind the rows")
    for value in values:
        if value.kind is Kind.COUNT:
            return call.mixed(COUNTED)
        if not value.has_rows:
            return call.never("it joins rows with something made for one number of rows")
        if value.axis != first.axis:
            return call.mixed("it joins rows with rows on another axis")
        if value.block != first.block:
            return call.lost("its inputs have different numbers of elements a row")
    sizes = [(value.shape or ())[axis] for value in values]
    whole: Dim = 0
    for size in sizes:
        whole = whole + size
    shape = (*(first.shape or ())[:axis], whole, *(first.shape or ())[axis + 1 :])
    kind = _kind(values, axis == len(shape) - 1)
    if kind is None:
        return call.mixed("a row's number becomes data")
    return Value(kind, shape, first.axis, first.block)


def _kind(values: Sequence[Value], last_axis: bool) -> Kind | None:
    """Row numbers only go on as the first of several indices along the last axis."""
    kinds = [value.kind for value in values]
    if all(kind is Kind.ROWS for kind in kinds):
        return Kind.ROWS
    if len(kinds) == 1:
        return kinds[0]
    single = values[0].shape is not None and values[0].shape[-1] == 1
    first = kinds[0] is Kind.PLACE_FIRST or (kinds[0] is Kind.PLACE and single)
    rest = all(kind is Kind.ROWS for kind in kinds[1:])
    return Kind.PLACE_FIRST if first and rest and last_axis else None


def _concat_known(call: Call, values: Sequence[Value], axis: int) -> Value:
    whole = _named(call, values)
    if whole is not None and fits(sum(one.size for one in whole), values):
        return from_objects(np.concatenate(whole, axis=axis))
    if any(value.kind is Kind.COUNT for value in values):
        return call.mixed(COUNTED)
    shape = list(values[0].shape or ())
    shape[axis] = 0
    for value in values:
        shape[axis] = shape[axis] + (value.shape or ())[axis]
    return same(tuple(shape))


def _named(call: Call, values: Sequence[Value]) -> list[Objects] | None:
    """All elements; those of short lists of integers that are not known get names."""
    there = [one for value in values for one in value.data or ()]
    if any(isinstance(one, float | str) for one in there):
        if any(value.data is None for value in values):
            return None
    elif not there:
        return None
    arrays = []
    for value in values:
        array = value.objects() if value.data is not None else _unknown(call, value)
        if array is None:
            return None
        arrays.append(array)
    return arrays


def _unknown(call: Call, value: Value) -> Objects | None:
    if value.rank != 1 or value.shape is None or value.kind is not Kind.SAME:
        return None
    size = value.shape[0]
    if not isinstance(size, int) or size > _SHORT:
        return None
    names: list[Element] = [call.symbols.fresh(signed=True) for _ in range(size)]
    return known((size,), names).objects()


@rule("QLinearConcat", domain="com.microsoft")
def quantized_concat(call: Call) -> Value:
    """(Y scale, Y zero point), then triples of tensor, scale, zero point."""
    inputs = [value for value in call.inputs if value is not None]
    values, scales = inputs[2::3], inputs[:2] + inputs[3::3] + inputs[4::3]
    if any(value.has_rows for value in scales):
        return call.mixed("its scale comes from the rows")
    if any(value.shape is None for value in values) or not values:
        return call.lost("its inputs' ranks are not known")
    axis = normal(call.number("axis"), values[0].rank or 0)
    return call.lost("its axis does not fit") if axis is None else _concat(call, values, axis)
