"""Operators that work on each element by itself."""

from __future__ import annotations

import numpy as np

from serving.loading.batching.call import ALL, MICROSOFT, Call, broadcast, rule
from serving.loading.batching.rules.arithmetic import LARGEST
from serving.loading.batching.symbols import Poly, is_below
from serving.loading.batching.values import STEP, Kind, Value, fits, from_objects, same

_UNARY = (
    *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitCast", "BitwiseNot", "Ceil"),
    *("Celu", "Cos", "Cosh", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish"),
    *("IsInf", "IsNaN", "LeakyRelu", "Log", "Mish", "Not", "Reciprocal", "RegexFullMatch", "Relu"),
    *("Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt"),
    *("Swish", "Tan", "Tanh", "ThresholdedRelu"),
    # Of opsets that onnxruntime still knows.
    *("Affine", "ParametricSoftplus", "ScaledTanh", "Scale", "MemcpyFromHost", "MemcpyToHost"),
)


@rule(*_UNARY)
def unary(call: Call) -> Value:
    return _like(call.input(0))


def _like(value: Value) -> Value:
    if value.has_rows:
        return Value(Kind.ROWS, value.shape, value.axis, value.block)
    return same(value.shape)


@rule("Identity", counts=ALL, places=ALL, padded=True)
def identity(call: Call) -> Value:
    return call.input(0)


@rule(
    *("Pow", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Xor"),
    *("Mean", "StringConcat"),
)
def binary(call: Call) -> Value:
    """NumPy's broadcasting."""
    return broadcast(call, call.there())


@rule("PRelu")
def prelu(call: Call) -> Value:
    """The slope is broadcast to the input, never the other way."""
    if call.input(1).has_rows and not call.input(0).has_rows:
        return call.lost("rows bring slopes for something made for one number of rows")
    return broadcast(call, call.there())


@rule("SwiGLU")
def swiglu(call: Call) -> Value:
    """Two inputs of one shape: nothing is broadcast."""
    if not all(value.has_rows for value in call.there()):
        return call.never("an input is made for one number of rows")
    return broadcast(call, call.there())


@rule("Clip")
def clip(call: Call) -> Value:
    """Since opset 11 the bounds are inputs, scalars."""
    bounds = call.there()[1:]
    if any(bound.has_rows for bound in bounds):
        return call.mixed("its bounds come from the rows")
    return _like(call.input(0))


@rule("Cast", "CastLike", counts=(0,), places=(0,))
def cast(call: Call) -> Value:
    value = call.input(0)
    target = call.number("to") if call.node.operator == "Cast" else 0
    if value.kind in (Kind.PLACE, Kind.PLACE_FIRST):
        return value if target in _WIDE else call.mixed("a row's number becomes data")
    if value.kind is Kind.COUNT:
        return _counted_cast(call, value, target)
    if value.has_rows:
        return _like(value)
    array = value.objects()
    if array is None or target not in (*_WIDE, *_FLOATS, _BOOL):
        return same(value.shape)
    data = [_cast(call, one, target) for one in array.ravel().tolist()]
    told = [one for one in data if one is not None]
    return same(value.shape, told if len(told) == len(data) else None)


def _counted_cast(call: Call, value: Value, target: int) -> Value:
    if target not in _WIDE:
        return call.mixed("the number of rows becomes data")
    if target == _INT32 and not all(_fits(call, one) for one in value.data or ()):
        return call.mixed("the number of rows wraps in 32 bits")
    return value


def _fits(call: Call, one: object) -> bool:
    """Whether a size is the same in 32 bits. From here on sizes may be of 32 bits."""
    call.interpreter.narrowed = True
    return isinstance(one, int | Poly) and is_below(one, LARGEST, call.interpreter.most_rows)


_INT32 = 6
_WIDE, _FLOATS, _BOOL = (_INT32, 7), (1, 11), 9
# Whole numbers up to here are exact in float32.
_EXACT = 1 << 24


def _cast(call: Call, one: object, target: int) -> int | float | bool | Poly | None:
    if target == _BOOL:
        return bool(one) if isinstance(one, int) else None
    if isinstance(one, Poly):
        kept = target == 7 or (target == _INT32 and _fits(call, one))
        return one if kept else None
    if not isinstance(one, int | float) or not abs(one) < _EXACT or one != int(one):
        # INT64_MAX and its like end slices.
        return one if isinstance(one, int) and target == 7 else None
    return int(one) if target in _WIDE else float(one)


@rule("Dropout", pure=False)
def dropout(call: Call) -> list[Value]:
    """From opset 12 on it drops only where its third input says that it trains."""
    training = call.input(2)
    if any(value.has_rows for value in call.there()[1:]):
        return [call.mixed("rows decide whether it drops elements for all of them")]
    if call.has(2) and training.data != (False,):
        return [call.mixed("it drops elements at random (training_mode)")]
    value = call.input(0)
    return [_like(value), _like(value)]


@rule("QuantizeLinear", "DequantizeLinear")
@rule("QuantizeLinear", "DequantizeLinear", domain=MICROSOFT)
def quantize(call: Call) -> Value:
    """Scale and zero point: scalars, along one axis (default 1), or of blocks."""
    value, scale = call.input(0), call.input(1)
    if any(one.has_rows for one in call.there()[1:]):
        return call.mixed("its scale comes from the rows")
    if not value.has_rows:
        return same(value.shape)
    if scale.shape is None:
        return call.lost("it does not show how many scales there are")
    axis = call.number("axis", 1)
    rank = len(value.shape or ())
    at = axis + rank if axis < 0 else axis
    if len(scale.shape) <= 1:
        single = not scale.shape or scale.shape[0] == 1
        if not single and at == value.axis:
            return call.mixed("each row of the batch has a scale of its own")
        return _like(value)
    return call.never("it has scales for one number of rows")


@rule("Where", counts=ALL)
def where(call: Call) -> Value:
    values = call.there()
    if all(value.kind in (Kind.SAME, Kind.COUNT) for value in values):
        made = _where_known(call)
        if made is not None:
            return made
    if any(value.kind is Kind.COUNT for value in values):
        return call.mixed("it chooses by, or among, numbers of rows")
    return broadcast(call, values)


def _where_known(call: Call) -> Value | None:
    arrays = [call.input(place).objects() for place in range(3)]
    if any(array is None for array in arrays):
        return None
    try:
        condition, yes, no = np.broadcast_arrays(*[a for a in arrays if a is not None])
    except ValueError:
        return None
    if not fits(condition.size, call.there()):
        return None
    call.interpreter.spend(condition.size * STEP)
    chosen = np.empty(condition.size, object)
    for at, options in enumerate(zip(condition.flat, yes.flat, no.flat, strict=True)):
        choice, left, right = options
        if isinstance(choice, Poly) and left != right:
            return None
        chosen[at] = right if choice is False or choice == 0 else left
    return from_objects(chosen.reshape(condition.shape))
