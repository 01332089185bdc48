"""Arithmetic and comparisons: on rows element by element, on sizes by calculating them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from serving.loading.batching.call import ALL, COUNTED, Call, broadcast, rule
from serving.loading.batching.symbols import (
    Dim,
    Poly,
    divide,
    has_rows,
    is_below,
    is_negative,
    is_positive,
    never_zero,
)
from serving.loading.batching.values import (
    STEP,
    Element,
    Kind,
    Value,
    fits,
    from_objects,
    same,
)

# Numbers beyond this are not sizes; int32 would wrap.
LARGEST = 1 << 31
# What stands before sizes that are not known: it leaves those as much again in int64.
_LARGEST_PRODUCT = 1 << 47
# Whole numbers below are exact in float32, and so are their sums.
_EXACT = float(1 << 24)

# What calculating with a term of a polynomial takes, where a plain number takes 1.
_POLYNOMIAL = 8

Combine = Callable[[Call, Any, Any], Element | None]


@rule("Add", "Sub", "Mul", "Div", "Sum", "Mod", "Min", "Max", counts=ALL, places=ALL)
@rule("And", "Or", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", counts=ALL)
def arithmetic(call: Call) -> Value:
    values = call.there()
    if any(value.kind in (Kind.PLACE, Kind.PLACE_FIRST) for value in values):
        return _with_places(call, values)
    if all(value.kind in (Kind.SAME, Kind.COUNT) for value in values):
        return _calculated(call, values)
    if any(value.kind is Kind.COUNT for value in values):
        return call.mixed(COUNTED)
    return broadcast(call, values)


def _with_places(call: Call, values: Sequence[Value]) -> Value:
    """A row's number times a size is where the row begins once rows are flattened."""
    if call.node.operator == "Mul" and sum(not value.has_rows for value in values) == 1:
        return call.lost("it reckons where a row begins in a flattened axis")
    return call.mixed("the answer depends on a row's place among the others")


def _calculated(call: Call, values: Sequence[Value]) -> Value:
    made = calculate(call, values, _COMBINE[call.node.operator])
    if made is not None:
        return made
    if any(value.kind is Kind.COUNT for value in values):
        return call.mixed(COUNTED)
    return broadcast(call, values)


def calculate(call: Call, values: Sequence[Value], combine: Combine) -> Value | None:
    """The elements, one by one; None where one of them can't be told."""
    arrays = [value.objects() for value in values]
    if not arrays or any(array is None for array in arrays):
        return None
    try:
        whole = np.broadcast_arrays(*[array for array in arrays if array is not None])
    except ValueError:
        return None
    if not fits(whole[0].size, values):
        return None
    made = np.empty(whole[0].size, object)
    for at, elements in enumerate(zip(*[array.flat for array in whole], strict=True)):
        found = _reduced(call, elements, combine)
        if found is None:
            return None
        made[at] = found
    return from_objects(made.reshape(whole[0].shape))


def _reduced(call: Call, elements: Sequence[Any], combine: Combine) -> Element | None:
    def step(left: Any, right: Any) -> Any:
        if left is None or right is None:
            return None
        call.interpreter.spend(STEP * _effort(left) * _effort(right))
        return _exact(call, combine(call, left, right))

    return reduce(step, elements)  # type: ignore[no-any-return]  # what ``combine`` made


def _effort(element: Any) -> int:
    """How many times the work of plain numbers it takes."""
    return _POLYNOMIAL * len(element.terms) if isinstance(element, Poly) else 1


def _exact(call: Call, found: Element | None) -> Element | None:
    """None where the operator may have rounded, or wrapped, for any number of rows."""
    if isinstance(found, float):
        return found if abs(found) < _EXACT and found == int(found) else None
    if isinstance(found, Poly):
        most = LARGEST if call.interpreter.narrowed else _LARGEST_PRODUCT
        return found if is_below(found, most, call.interpreter.most_rows) else None
    if isinstance(found, int) and abs(found) >= LARGEST:
        return None
    return found


def _numbers(left: Any, right: Any) -> bool:
    """Whether both are sizes, or both floats: they are not mixed in ONNX."""
    return all(isinstance(one, int | Poly) for one in (left, right)) or all(
        isinstance(one, float) for one in (left, right)
    )


def add(call: Call, left: Any, right: Any) -> Element | None:
    del call
    return left + right if _numbers(left, right) else None


def _subtract(call: Call, left: Any, right: Any) -> Element | None:
    del call
    return left - right if _numbers(left, right) else None


def multiply(call: Call, left: Any, right: Any) -> Element | None:
    del call
    return left * right if _numbers(left, right) else None


def _divide(call: Call, left: Any, right: Any) -> Element | None:
    """Integers are cut towards zero."""
    if isinstance(left, float) and isinstance(right, float):
        return left / right if right else None
    if not _numbers(left, right) or right == 0:
        return None
    exact = divide(left, right)
    if exact is not None:
        return exact
    if isinstance(left, int) and isinstance(right, int):
        quotient = abs(left) // abs(right)
        return quotient if (left < 0) == (right < 0) else -quotient
    return _opaque(call, "quotient", left, right)


def _modulo(call: Call, left: Any, right: Any) -> Element | None:
    if isinstance(left, int) and isinstance(right, int):
        return left % right if right and not call.number("fmod") else None
    kind = "rest, cut" if call.number("fmod") else "rest"
    return _opaque(call, kind, left, right) if _numbers(left, right) else None


def _opaque(call: Call, kind: str, left: Dim, right: Dim) -> Element | None:
    """A number that can't be told, but is the same everywhere."""
    if has_rows(left) or has_rows(right) or isinstance(left, float):
        return None
    signed = not (is_positive(left + 1) and is_positive(right + 1))
    return call.symbols.of((kind, left, right), signed=signed)


def _least(call: Call, left: Any, right: Any) -> Element | None:
    return _chosen(call, left, right, "least", least=True)


def _most(call: Call, left: Any, right: Any) -> Element | None:
    return _chosen(call, left, right, "most", least=False)


def _chosen(call: Call, left: Any, right: Any, kind: str, least: bool) -> Element | None:
    if isinstance(left, float) and isinstance(right, float):
        return min(left, right) if least else max(left, right)
    if not _numbers(left, right):
        return None
    difference = left - right
    if difference == 0 or is_positive(difference) or is_negative(difference):
        smaller = left if difference == 0 or is_negative(difference) else right
        larger = right if smaller is left else left
        return smaller if least else larger  # type: ignore[no-any-return]  # numbers
    return _opaque(call, kind, left, right)


def _equal(call: Call, left: Any, right: Any) -> Element | None:
    if isinstance(left, float | str) or isinstance(right, float | str):
        return left == right if type(left) is type(right) else None
    difference = left - right
    if difference == 0:
        return True
    return False if never_zero(difference) else _opaque(call, "equal", left, right)


def _greater(call: Call, left: Any, right: Any) -> Element | None:
    if isinstance(left, float) and isinstance(right, float):
        return left > right
    if not _numbers(left, right):
        return None
    difference = left - right
    if is_positive(difference):
        return True
    if difference == 0 or is_negative(difference):
        return False
    if is_positive(1 - difference):  # at most 0
        return False
    return _opaque(call, "greater", left, right)


def _less(call: Call, left: Any, right: Any) -> Element | None:
    return _greater(call, right, left)


def _inverted(found: Element | None) -> Element | None:
    return not found if isinstance(found, bool) else None


def _both(call: Call, left: Any, right: Any) -> Element | None:
    del call
    known = all(isinstance(one, bool | int) for one in (left, right))
    return bool(left and right) if known else None


def _either(call: Call, left: Any, right: Any) -> Element | None:
    del call
    known = all(isinstance(one, bool | int) for one in (left, right))
    return bool(left or right) if known else None


_COMBINE: dict[str, Combine] = {
    "Add": add,
    "Sum": add,
    "Sub": _subtract,
    "Mul": multiply,
    "Div": _divide,
    "Mod": _modulo,
    "Min": _least,
    "Max": _most,
    "And": _both,
    "Or": _either,
    "Equal": _equal,
    "Greater": _greater,
    "Less": _less,
    "GreaterOrEqual": lambda call, left, right: _inverted(_less(call, left, right)),
    "LessOrEqual": lambda call, left, right: _inverted(_greater(call, left, right)),
}


@rule("Neg", counts=ALL)
def negate(call: Call) -> Value:
    value = call.input(0)
    if value.has_rows:
        return broadcast(call, [value])
    array = value.objects()
    if array is not None and all(isinstance(one, int | Poly | float) for one in array.ravel()):
        call.interpreter.spend(STEP * sum(map(_effort, array.flat)))
        return from_objects(-array)
    return call.mixed(COUNTED) if value.kind is Kind.COUNT else same(value.shape)
