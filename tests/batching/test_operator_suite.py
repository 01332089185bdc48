"""The rules on ONNX's own operator suite: no rule is surprised, and what they claim holds."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from onnx.backend.test.case import node
from onnx.backend.test.loader import load_model_tests

from serving.execution.onnx_nodes import read_nodes
from serving.loading.batching.call import Scope
from serving.loading.batching.interpreter import Interpreter
from serving.loading.batching.symbols import Poly
from serving.loading.batching.values import Value, rows, same

Array = np.ndarray[Any, Any]


@cache
def _all() -> Sequence[Any]:
    return sorted(load_model_tests(kind="node"), key=lambda one: str(one.name))


@cache
def _tenth() -> Sequence[Any]:
    """Of the files that make the cases; those of pools take seconds, and so only run with all."""
    files = sorted(one.name for one in pkgutil.iter_modules(node.__path__))
    for name in [name for name in files if "pool" not in name][::10]:
        importlib.import_module(f"{node.__name__}.{name}")
    # What the files have put down so far; the loader would import the others too.
    return list(node._NodeTestCases)


def _interpreted(case: Any, values: Sequence[Value]) -> tuple[Interpreter, list[Value | None]]:
    model = read_nodes(case.model.SerializeToString())
    interpreter, scope = Interpreter(model, 64), Scope()
    scope.values.update(zip(model.graph.inputs, values, strict=True))
    interpreter.run(model.graph, scope)
    return interpreter, [scope.find(name) for name in model.graph.outputs]


def _same(array: Any, *, with_data: bool) -> Value:
    if not isinstance(array, np.ndarray):
        return same()
    followed = with_data and array.dtype in (np.bool_, np.int32, np.int64)
    return same(array.shape, array.ravel().tolist() if followed else None)


def _ways(inputs: Sequence[Any]) -> Iterator[list[Value]]:
    """All the same for all; then rows on each axis of each input."""
    plain = [_same(array, with_data=True) for array in inputs]
    yield plain
    for place, array in enumerate(inputs):
        for axis in range(getattr(array, "ndim", 0)):
            yield [*plain[:place], rows(array.shape, axis), *plain[place + 1 :]]


def _check(case: Any) -> None:
    inputs, outputs = case.data_sets[0]
    for values in _ways(inputs):
        interpreter, _ = _interpreted(case, values)
        assert interpreter.surprises == [], case.name
    for with_data in (False, True):
        _, found = _interpreted(case, [_same(one, with_data=with_data) for one in inputs])
        for value, array in zip(found, outputs, strict=False):
            if isinstance(array, np.ndarray) and value is not None:
                assert _holds(value, array), (case.name, value, array)


def _holds(value: Value, array: Array) -> bool:
    """Whether the sizes and the integers that it claims are those that come out."""
    if value.shape is not None and not _agree(value.shape, array.shape):
        return False
    return (
        value.data is None or array.dtype.kind == "f" or _agree(value.data, array.ravel().tolist())
    )


def _agree(claimed: Sequence[Any], real: Sequence[Any]) -> bool:
    return len(claimed) == len(real) and all(
        isinstance(one, Poly) or one == other for one, other in zip(claimed, real, strict=True)
    )


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_rule_is_surprised_and_claims_hold_on_a_tenth() -> None:
    cases = _tenth()
    assert len(cases) > 50
    for case in cases:
        _check(case)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_rule_is_surprised_and_claims_hold_on_all() -> None:
    for case in _all():
        _check(case)
