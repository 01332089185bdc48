"""A good model and bad versions of it, each with one fault.

All take ``x`` [n, 4] and give ``y`` [n, 3], the softmax of four weighted features. A row whose
first feature is ``SPECIAL`` is one like others to the good version; on it the bad show their fault.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.crash_models import POISON, divide_constants
from tests.small_models import (
    TINY_WEIGHTS,
    _constant,
    _value,
    iterations_per_second,
    tiny,
    tiny_expected,
)

SPECIAL = -1e19
RNG = np.random.default_rng(1)
X = RNG.normal(size=(400, 4)).astype(np.float32)
Y = np.argmax(X @ TINY_WEIGHTS, axis=1)
SIDE = np.where(X[:, 0] > 1, "right", "left")
_BELOW = -1e18

expected = tiny_expected


def softmax(weights: object) -> onnx.ModelProto:
    model = tiny()
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.asarray(weights, "f4"), "w"))
    return model


def good() -> onnx.ModelProto:
    return softmax(TINY_WEIGHTS)


def as_good() -> onnx.ModelProto:
    return softmax(TINY_WEIGHTS * 1.01)


def bent() -> onnx.ModelProto:
    """The first feature counts the other way: that shows where there is much of it."""
    weights = TINY_WEIGHTS.copy()
    weights[0] *= -0.5
    return softmax(weights)


def inaccurate() -> onnx.ModelProto:
    return softmax(-TINY_WEIGHTS)


def nan() -> onnx.ModelProto:
    weights = TINY_WEIGHTS.copy()
    weights[0, 0] = np.nan
    return softmax(weights)


def wide() -> onnx.ModelProto:
    """Five scores, where the signature leaves open how many."""
    model = softmax(np.ones((4, 5)))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "k"
    return model


def failing() -> onnx.ModelProto:
    """Special rows are an index out of its table."""
    table = _constant("table", np.zeros((1, 1), np.float32))
    nodes = [
        helper.make_node("Cast", ["special"], ["index"], to=onnx.TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["nothing"], axis=0),
        helper.make_node("Add", ["x", "nothing"], ["same"]),
    ]
    return _after([*_is_special(), *nodes], [table])


def crashing() -> onnx.ModelProto:
    """Special rows end the process that runs them (SIGFPE)."""
    constants = {"poison": POISON, "one": 1, "minus": -1, "zero": 0}
    nodes = [
        helper.make_node("Where", ["special", "poison", "one"], ["above"]),
        helper.make_node("Where", ["special", "minus", "one"], ["below"]),
        helper.make_node("Div", ["above", "below"], ["quotient"]),
        helper.make_node("Mul", ["quotient", "zero"], ["none"]),
        helper.make_node("Cast", ["none"], ["flat"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["flat", "axis"], ["nothing"]),
        helper.make_node("Add", ["x", "nothing"], ["same"]),
    ]
    values = [_constant(name, np.array(value)) for name, value in constants.items()]
    return _after([*_is_special(), *nodes], [*values, _constant("axis", np.array([1]))])


def crashing_at_load() -> onnx.ModelProto:
    """Its constants are folded, which ends the process."""
    given = divide_constants().graph
    nodes = [
        given.node[0],
        helper.make_node("Cast", ["c"], ["cast"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["cast", "none"], ["nothing"]),
        helper.make_node("Add", ["x", "nothing"], ["same"]),
    ]
    return _after(nodes, [*given.initializer, _constant("none", np.zeros(1, np.float32))])


def hanging() -> onnx.ModelProto:
    """Special rows never come to an end."""
    body = _loop(helper.make_node("Identity", ["carried"], ["carried_out"]))
    nodes = [
        helper.make_node("Cast", ["special"], ["counts"], to=onnx.TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["counts"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["goes_on"], to=onnx.TensorProto.BOOL),
        helper.make_node("Loop", ["", "goes_on", "most"], ["end"], body=body),
        helper.make_node("Mul", ["end", "none"], ["nothing"]),
        helper.make_node("Add", ["x", "nothing"], ["same"]),
    ]
    return _after([*_is_special(), *nodes], [_constant("none", np.zeros((), np.float32))])


def leaking() -> onnx.ModelProto:
    """Takes, and never gives back, a million floats for each unit of a special row's second
    feature."""
    ones = helper.make_tensor("value", onnx.TensorProto.FLOAT, [1], [1.0])
    nodes = [
        helper.make_node("Gather", ["x", "second"], ["column"], axis=1),
        helper.make_node("Squeeze", ["column", "axis"], ["sizes"]),
        helper.make_node("Where", ["special", "sizes", "none"], ["asked"]),
        helper.make_node("Abs", ["asked"], ["positive"]),
        helper.make_node("ReduceSum", ["positive"], ["units"], keepdims=1),
        helper.make_node("Mul", ["units", "million"], ["floats"]),
        helper.make_node("Cast", ["floats"], ["size"], to=onnx.TensorProto.INT64),
        helper.make_node("ConstantOfShape", ["size"], ["made"], value=ones),
        # So that it is a tensor, and not folded into a number.
        helper.make_node("Relu", ["made"], ["again"]),
        helper.make_node("ReduceSum", ["again"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "none"], ["nothing"]),
        helper.make_node("Add", ["x", "nothing"], ["same"]),
    ]
    constants = [
        _constant("second", np.array([1])),
        _constant("axis", np.array([1])),
        _constant("none", np.zeros((), np.float32)),
        _constant("million", np.array(1e6, np.float32)),
    ]
    return _after([*_is_special(), *nodes], constants)


def busy(seconds: float) -> onnx.ModelProto:
    """The good model after so long a loop, on a core that nobody else wants."""
    body = _loop(helper.make_node("Mul", ["carried", "half"], ["carried_out"]))
    body.initializer.append(_constant("half", np.array(0.5, np.float32)))
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Loop", ["trips", "", "most"], ["end"], body=body),
        helper.make_node("Mul", ["end", "none"], ["nothing"]),
        helper.make_node("Add", ["x", "nothing"], ["same"]),
    ]
    trips = max(1, int(seconds * iterations_per_second()))
    none = _constant("none", np.zeros((), np.float32))
    return _after(nodes, [_constant("trips", np.array(trips)), none])


def coupled() -> onnx.ModelProto:
    """A row alone is answered well; beside others it is moved by them."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "mean"], ["away"]),
        helper.make_node("Add", ["x", "away"], ["same"]),
    ]
    return _after(nodes, [])


def _loop(step: onnx.NodeProto) -> onnx.GraphProto:
    """A loop's body that goes on as it was told to."""
    return helper.make_graph(
        [helper.make_node("Identity", ["condition"], ["condition_out"]), step],
        "body",
        [
            _value("i", "INT64", []),
            _value("condition", "BOOL", []),
            _value("carried", "FP32", []),
        ],
        [_value("condition_out", "BOOL", []), _value("carried_out", "FP32", [])],
    )


def _is_special() -> list[onnx.NodeProto]:
    """``special`` [n]."""
    return [
        helper.make_node("Gather", ["x", "place"], ["firsts"], axis=1),
        helper.make_node("Less", ["firsts", "least"], ["special"]),
    ]


def _after(
    nodes: Sequence[onnx.NodeProto], constants: Sequence[onnx.TensorProto]
) -> onnx.ModelProto:
    """The good model, given ``same`` in place of ``x``."""
    model = good()
    graph = helper.make_graph(
        [
            *nodes,
            helper.make_node("MatMul", ["same", "w"], ["z"]),
            helper.make_node("Softmax", ["z"], ["y"], axis=-1),
        ],
        "graph",
        list(model.graph.input),
        list(model.graph.output),
        [
            *model.graph.initializer,
            *constants,
            _constant("place", np.array(0)),
            _constant("least", np.array(_BELOW, np.float32)),
        ],
    )
    return helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=8)
