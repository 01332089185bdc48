"""Whether requests decide what a model divides integers by, and what it divides.

The smallest integer divided by -1 ends the process (fact C1). Most models divide
integers only to compute with shapes, which are never negative, or by a constant; those are
safe. What can't be told counts as unsafe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from serving.execution.onnx_constants import FLOAT, INT32, INT64, Constant
from serving.execution.onnx_nodes import Graph, Model, Node

_UINT8, _BOOL = 2, 9
_UNSIGNED = frozenset({_UINT8, 4, 12, 13, _BOOL})
_INTEGERS = frozenset({INT32, INT64})
_SMALLEST = {-(2**31), -(2**63)}
# Nodes looked at in all, functions counted at each call.
_MAX_NODES = 200_000
_MAX_DEPTH = 32

# Operator -> element type of its output, where that is not its first input's.
_FIXED = {
    **dict.fromkeys(("Shape", "Size", "NonZero", "ArgMax", "ArgMin", "NonMaxSuppression"), INT64),
    **dict.fromkeys(("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"), _BOOL),
    **dict.fromkeys(("And", "Or", "Not", "Xor", "IsNaN", "IsInf", "RegexFullMatch"), _BOOL),
    **dict.fromkeys(("ConvInteger", "MatMulInteger"), INT32),
    **dict.fromkeys(("RandomNormal", "RandomUniform", "TfIdfVectorizer"), FLOAT),
    "DynamicQuantizeLinear": _UINT8,
}
# Operator -> the input whose type its output has.
_LIKE = {"CastLike": 1, "Where": 1, "DequantizeLinear": 1, "OneHot": 2}
# Operator -> place of an output of indices or counts.
_COUNTS = {"TopK": (1,), "Unique": (1, 2, 3), "MaxPool": (1,)}
# Of values that are not negative they make values that are not.
_KEEP_SIGN = frozenset(
    [
        "Add",
        "Mul",
        "Div",
        "Mod",
        "Max",
        "Min",
        "Gather",
        "GatherElements",
        "GatherND",
        "Slice",
        "Concat",
        "Squeeze",
        "Unsqueeze",
        "Reshape",
        "Flatten",
        "Identity",
        "Transpose",
        "Expand",
        "Tile",
        "Split",
        "Where",
        "ReduceProd",
        "ReduceSum",
        "ReduceMax",
        "ReduceMin",
        "Range",
        "Cast",
        "CumSum",
        "Pad",
    ]
)
_NOT_NEGATIVE = frozenset(("Shape", "Size", "NonZero", "ArgMax", "ArgMin"))
# Sequences, maps and texts lie in between: what comes out can't be told by what goes in.
_OPAQUE = frozenset(("SequenceAt", "OptionalGetElement", "StringSplit"))
_KNOWN_DOMAINS = frozenset(("", "com.microsoft"))


@dataclass(frozen=True, slots=True)
class _Value:
    """``elem_type`` 0 is unknown. ``positive``: certainly not negative."""

    elem_type: int = 0
    positive: bool = False
    constant: tuple[int, ...] | None = None


_UNKNOWN = _Value()
_Scope = dict[str, _Value]


class _TooMuchError(Exception):
    """The graph is too large, or too entangled, to be looked through."""


def graph_divides_integers(model: Model) -> bool:
    """Whether a run can divide the smallest integer by -1, as far as the graph tells."""
    try:
        return _Search(model).graph(model.graph, {}, 1)
    except _TooMuchError:
        return True


class _Search:
    def __init__(self, model: Model) -> None:
        self._functions = model.functions
        self._left = _MAX_NODES

    def graph(self, graph: Graph, outer: Mapping[str, _Value], depth: int) -> bool:
        """Whether a node of this graph, or one below it, is unsafe."""
        return self._walk(graph, dict(outer), depth)

    def _walk(self, graph: Graph, scope: _Scope, depth: int) -> bool:
        """Fills ``scope`` with the graph's values."""
        if depth > _MAX_DEPTH:
            raise _TooMuchError
        for name in graph.inputs:
            # A Loop's body, or a call of a function, may know more from outside.
            scope.setdefault(name, _UNKNOWN)
        for name, elem_type in graph.types.items():
            if name in graph.inputs:
                scope[name] = _typed(scope[name], elem_type)
        for name, constant in graph.constants.items():
            # An input of the same name may be sent by the client instead.
            overridable = name in graph.inputs
            scope[name] = _of(constant, known=not overridable)
        return any(self._node(node, graph, scope, depth) for node in graph.nodes)

    def _node(self, node: Node, graph: Graph, scope: _Scope, depth: int) -> bool:
        self._left -= 1
        if self._left < 0:
            raise _TooMuchError
        inputs = [scope.get(name, _UNKNOWN) for name in node.inputs]
        if node.operator == "Div" and node.domain in _KNOWN_DOMAINS and _is_unsafe(inputs):
            return True
        function = self._functions.get((node.domain, node.operator))
        if function is not None:
            inner: _Scope = dict(zip(function.inputs, inputs, strict=False))
            if self._walk(function, inner, depth + 1):
                return True
            outputs = [inner.get(name, _UNKNOWN) for name in function.outputs]
        else:
            if self._below(node, scope, depth):
                return True
            outputs = _outputs(node, inputs)
        for name, value in zip(node.outputs, outputs, strict=False):
            scope[name] = _typed(value, graph.types.get(name, 0))
        return False

    def _below(self, node: Node, scope: _Scope, depth: int) -> bool:
        """Graphs inside a node see what is around it; what they are fed is anything of the
        type that they state."""
        for graph in node.graphs.values():
            inner = {name: value for name, value in scope.items() if name not in graph.inputs}
            if self._walk(graph, inner, depth + 1):
                return True
        return False


def _is_unsafe(inputs: list[_Value]) -> bool:
    if len(inputs) != 2:
        return False
    dividend, divisor = inputs
    known = dividend.elem_type or divisor.elem_type
    if known and known not in _INTEGERS:
        return False
    if dividend.positive or divisor.positive:
        return False
    if dividend.constant is not None and not _SMALLEST & set(dividend.constant):
        return False
    return divisor.constant is None or -1 in divisor.constant


def _typed(value: _Value, elem_type: int) -> _Value:
    """With the type that the graph states, where it states one."""
    if not elem_type or elem_type == value.elem_type:
        return value
    return _Value(elem_type, value.positive or elem_type in _UNSIGNED, value.constant)


def _of(constant: Constant, known: bool = True) -> _Value:
    values = constant.values if known else None
    positive = values is not None and all(value >= 0 for value in values)
    return _Value(constant.elem_type, positive or constant.elem_type in _UNSIGNED, values)


def _outputs(node: Node, inputs: list[_Value]) -> list[_Value]:
    counts = _COUNTS.get(node.operator, ())
    first = _output(node, inputs)
    return [
        _Value(INT64, positive=True) if place in counts else first
        for place in range(len(node.outputs))
    ]


def _output(node: Node, inputs: list[_Value]) -> _Value:
    operator = node.operator
    if node.domain not in _KNOWN_DOMAINS or operator in _OPAQUE or node.graphs:
        return _UNKNOWN
    if operator == "Constant":
        return _constant(node)
    elem_type = _elem_type(node, inputs)
    positive = operator in _NOT_NEGATIVE or elem_type in _UNSIGNED
    if operator in _KEEP_SIGN:
        # The condition of Where is no part of what comes out.
        parts = inputs[1:] if operator == "Where" else inputs
        parts = [value for value, name in zip(parts, node.inputs, strict=False) if name]
        positive = positive or (bool(parts) and all(value.positive for value in parts))
    # These only move a constant about.
    kept = operator in ("Identity", "Unsqueeze", "Squeeze", "Reshape") and bool(inputs)
    return _Value(elem_type, positive, inputs[0].constant if kept else None)


def _constant(node: Node) -> _Value:
    for name in ("value", "value_ints"):
        if name in node.tensors:
            return _of(node.tensors[name])
    if "value_int" in node.numbers:
        return _of(Constant(INT64, (node.numbers["value_int"],)))
    return _Value(FLOAT)


def _elem_type(node: Node, inputs: list[_Value]) -> int:
    operator = node.operator
    if operator == "Cast":
        return node.numbers.get("to", 0)
    if operator in _FIXED:
        return _FIXED[operator]
    if operator == "ConstantOfShape":
        value = node.tensors.get("value")
        return value.elem_type if value else FLOAT
    if "dtype" in node.numbers:
        return node.numbers["dtype"]
    place = _LIKE.get(operator, 0)
    return inputs[place].elem_type if place < len(inputs) else 0
