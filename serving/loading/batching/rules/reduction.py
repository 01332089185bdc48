"""Operators that work along some axes, and on each place of the others by itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from serving.loading.batching.call import COUNTED, MICROSOFT, Call, normal, rule
from serving.loading.batching.rules.arithmetic import add, calculate, multiply
from serving.loading.batching.rules.shaping import axes_of
from serving.loading.batching.symbols import Dim
from serving.loading.batching.values import Kind, Shape, Value, known, same

_SUMS = ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean")
_MORE = ("ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare")


@rule(*_SUMS, *_MORE, counts=(0,))
def reduce_(call: Call) -> Value:
    value, axes = call.input(0), axes_of(call)
    if isinstance(axes, Value):
        return axes
    unreduced = not axes and bool(call.number("noop_with_empty_axes"))
    if value.kind is Kind.COUNT:
        return call.mixed(COUNTED) if unreduced else _reduce_known(call, value)
    if value.shape is None:
        return same()
    if unreduced:
        return _kept(value, value.shape)
    if not axes:
        axes = list(range(len(value.shape)))
    if not value.has_rows and value.data is not None and value.rank == 1:
        return _reduce_known(call, value)
    return reduced(call, value, axes, keep=bool(call.number("keepdims", 1)))


def _reduce_known(call: Call, value: Value) -> Value:
    combine = {"ReduceProd": multiply, "ReduceSum": add}.get(call.node.operator)
    if combine is not None and value.rank == 1 and value.data:
        parts = [known((), [one]) for one in value.data]
        made = calculate(call, parts, combine)
        if made is not None and made.data is not None:
            return known((1,) if call.number("keepdims", 1) else (), made.data)
    if value.kind is Kind.COUNT:
        return call.mixed(COUNTED)
    return same((1,) if call.number("keepdims", 1) else ())


def reduced(call: Call, value: Value, axes: Iterable[int], *, keep: bool) -> Value:
    """Without ``axes``, or with each of them 1 long where ``keep`` is set."""
    assert value.shape is not None
    gone = {normal(axis, len(value.shape)) for axis in axes}
    if value.has_rows and value.axis in gone:
        return call.mixed("it takes all rows together")
    shape: Shape = tuple(
        1 if at in gone else size for at, size in enumerate(value.shape) if keep or at not in gone
    )
    if not value.has_rows:
        return same(shape)
    before = 0 if keep else sum(at is not None and at < value.axis for at in gone)
    return Value(Kind.ROWS, shape, value.axis - before, value.block)


def _kept(value: Value, shape: Shape) -> Value:
    if not value.has_rows:
        return same(shape)
    return Value(Kind.ROWS, shape, value.axis, value.block)


@rule("ArgMax", "ArgMin")
def arg(call: Call) -> Value:
    value = call.input(0)
    if value.shape is None:
        return same()
    return reduced(call, value, [call.number("axis")], keep=bool(call.number("keepdims", 1)))


def along(call: Call, value: Value, axes: Sequence[int]) -> Value:
    """An operator that brings the places along ``axes`` together and keeps the shape."""
    if value.shape is None:
        return same()
    places = {normal(axis, len(value.shape)) for axis in axes}
    if value.has_rows and value.axis in places:
        return call.mixed("it takes all rows together")
    return _kept(value, value.shape)


@rule("Softmax", "LogSoftmax", "Hardmax")
def softmax(call: Call) -> Value:
    """Before opset 13 over everything from its axis (default 1) on, then over one (the last)."""
    value = call.input(0)
    if value.shape is None:
        return same()
    rank = len(value.shape)
    if call.opset >= 13:
        return along(call, value, [call.number("axis", -1)])
    first = normal(call.number("axis", 1), rank)
    return along(call, value, range(rank if first is None else first, rank))


@rule("CumSum", "CumProd")
def cumulative(call: Call) -> Value:
    axis = call.input(1).ints()
    if call.input(1).has_rows:
        return call.mixed("rows decide along which axis it goes")
    if axis is None:
        return call.lost("its axis is not known")
    return along(call, call.input(0), axis)


@rule("LpNormalization")
def lp_normalization(call: Call) -> Value:
    return along(call, call.input(0), [call.number("axis", -1)])


@rule("MeanVarianceNormalization")
def mean_variance(call: Call) -> Value:
    """Over axes 0, 2 and 3 where none are given."""
    return along(call, call.input(0), call.integers("axes") or [0, 2, 3])


@rule("TopK")
def top_k(call: Call) -> list[Value]:
    value, count = call.input(0), call.input(1)
    if count.has_rows:
        return [call.mixed("rows decide how many are taken")]
    if value.shape is None:
        return [same(), same()]
    axis = normal(call.number("axis", -1), len(value.shape))
    if axis is None:
        return [call.lost("its axis does not fit")]
    numbers = count.numbers() if call.has(1) else [call.number("k")]
    wide: Dim = numbers[0] if numbers else call.symbols.fresh()
    made = along(call, value, [axis])
    if made.shape is not None and not made.spoilt:
        shape = (*made.shape[:axis], wide, *made.shape[axis + 1 :])
        made = _kept(made, shape)
    return [made, made]


@rule("Compress")
def compress(call: Call) -> Value:
    """Without an axis it flattens first."""
    value, condition = call.input(0), call.input(1)
    if condition.has_rows:
        return call.never("how many rows come out depends on the data")
    if value.shape is None:
        return same()
    if not call.has_attribute("axis"):
        return call.mixed("it picks elements of all rows together")
    axis = normal(call.number("axis"), len(value.shape))
    if axis is None or axis == value.axis:
        return call.mixed("it picks rows out of the batch by constant places")
    return _kept(value, (*value.shape[:axis], call.symbols.fresh(), *value.shape[axis + 1 :]))


@rule("ReduceSumInteger", domain=MICROSOFT)
def reduce_integers(call: Call) -> Value:
    value, axes = call.input(0), call.integers("axes")
    if value.shape is None:
        return same()
    return reduced(
        call, value, axes or range(len(value.shape)), keep=bool(call.number("keepdims", 1))
    )
