"""Whether what a model makes can be as large as a request's values say, by its graph.

Most models compute sizes from shapes, and what they make is bounded by the request's own size.
One that fills, repeats or goes on by what stands in a tensor makes terabytes of a request of
eight bytes; it is to run where its growth can be stopped. Growth with a power of a shape (what
attention does, or ``x`` times its transpose) is no such case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from serving.execution.isolation import loop_growth
from serving.execution.isolation.growth_rules import (
    BOUNDED,
    FIXED,
    FREE,
    GENERATORS,
    KNOWN_DOMAINS,
    LOWER,
    SHAPED,
    SIZES,
    UPPER,
    meet,
    output_bits,
)
from serving.execution.onnx_constants import BOOL, FLOAT, INT64, Constant
from serving.execution.onnx_nodes import Graph, Model, Node

# Nodes looked at in all; of a loop's body each time that it is looked at.
_MAX_NODES = 400_000
_MAX_DEPTH = 32
# Until what a loop carries has settled.
_MOST_ROUNDS = 4
# A loop told to turn so often ends by its condition.
_HUGE = 2**31
_MOST_WORDS = 200
_OVERRIDABLE_SINCE = 4


@dataclass(frozen=True, slots=True)
class _Value:
    bits: int
    constant: Constant | None = None


_FREE, _FIXED, _BOUNDED = _Value(FREE), _Value(FIXED), _Value(BOUNDED)


class _GrowsError(Exception):
    """Found, in words."""


class _TooMuchError(Exception):
    """The graph is too large, or too entangled, to be looked through."""


@dataclass(slots=True)
class _Scope:
    """Values by name, those around it behind its own."""

    around: _Scope | None = None
    own: dict[str, _Value] = field(default_factory=dict)

    def of(self, name: str) -> _Value:
        if not name:
            return _FIXED
        scope: _Scope | None = self
        while scope is not None:
            if name in scope.own:
                return scope.own[name]
            scope = scope.around
        return _FREE


def growth(model: Model) -> str:
    """Where what a run makes follows its inputs' values, in words; "" where it does nowhere."""
    try:
        _Search(model).model()
    except _GrowsError as found:
        return str(found)
    except _TooMuchError:
        return "its graph is too large to be looked through"
    return ""


class _Search:
    def __init__(self, model: Model) -> None:
        self._model = model
        self._left = _MAX_NODES
        # (function, what goes in) -> what comes out.
        self._calls: dict[tuple[tuple[str, str], tuple[int, ...]], list[int]] = {}

    def model(self) -> None:
        """Raises _GrowsError, _TooMuchError."""
        graph = self._model.graph
        constant = graph.constants if self._model.ir_version < _OVERRIDABLE_SINCE else {}
        given = {
            name: _BOUNDED if graph.types.get(name) == BOOL else _FREE
            for name in graph.inputs
            if name not in constant
        }
        self._walk(graph, given, None, 1)

    def _walk(
        self, graph: Graph, given: Mapping[str, _Value], around: _Scope | None, depth: int
    ) -> list[_Value]:
        """What comes out of a graph. ``given``: its inputs, which go before constants."""
        if depth > _MAX_DEPTH:
            raise _TooMuchError
        scope = _Scope(around)
        for name, constant in graph.constants.items():
            scope.own[name] = _Value(FIXED, constant)
        scope.own.update(given)
        for node in graph.nodes:
            self._left -= 1
            if self._left < 0:
                raise _TooMuchError
            outputs = self._node(node, scope, depth)
            scope.own.update(zip(node.outputs, outputs, strict=False))
        return [scope.of(name) for name in graph.outputs]

    def _inside(
        self, graph: Graph, values: Sequence[_Value], around: _Scope | None, depth: int
    ) -> list[_Value]:
        """The same of a graph within a node; ``values`` in the order of its inputs."""
        given = dict.fromkeys(graph.inputs, _FREE)
        given.update(zip(graph.inputs, values, strict=False))
        return self._walk(graph, given, around, depth + 1)

    def _node(self, node: Node, scope: _Scope, depth: int) -> list[_Value]:
        inputs = [scope.of(name) for name in node.inputs]
        key = (node.domain, node.operator)
        if key in self._model.functions:
            return self._call(key, inputs, depth)
        if node.domain in KNOWN_DOMAINS:
            self._check(node, inputs)
        if node.graphs:
            return self._around(node, inputs, scope, depth)
        if node.operator == "Constant":
            return [_Value(FIXED, _constant(node))]
        bits = output_bits(node, [value.bits for value in inputs])
        kept = _kept(node, inputs)
        return [_Value(one, kept) for one in bits]

    def _call(self, key: tuple[str, str], inputs: Sequence[_Value], depth: int) -> list[_Value]:
        bits = tuple(value.bits for value in inputs)
        if (key, bits) not in self._calls:
            values = [_Value(one) for one in bits]
            made = self._inside(self._model.functions[key], values, None, depth)
            self._calls[key, bits] = [value.bits for value in made]
        return [_Value(one) for one in self._calls[key, bits]]

    def _check(self, node: Node, inputs: Sequence[_Value]) -> None:
        if node.operator == "Range":
            wrong = not _is_bounded_range(inputs)
        else:
            places = SIZES.get(node.operator, ())
            wrong = any(not inputs[at].bits & UPPER for at in places if at < len(inputs))
        if wrong:
            raise _grows(node)

    def _around(
        self, node: Node, inputs: Sequence[_Value], scope: _Scope, depth: int
    ) -> list[_Value]:
        """Of a node with graphs inside."""
        if node.operator == "Loop" and "body" in node.graphs:
            return self._loop(node, inputs, scope, depth)
        if node.operator == "Scan" and "body" in node.graphs:
            return self._scan(node, inputs, scope, depth)
        free = [_FREE] * len(node.outputs)
        if node.operator in GENERATORS:
            return free
        # SequenceMap's gets what goes into the node, If's get nothing.
        made = [self._inside(graph, inputs, scope, depth) for graph in node.graphs.values()]
        if node.operator not in ("If", "SequenceMap"):
            return free
        taint = meet([value.bits for value in inputs]) | BOUNDED
        return [
            _Value(meet([value.bits for value in one]) & taint) for one in zip(*made, strict=False)
        ]

    def _loop(
        self, node: Node, inputs: Sequence[_Value], scope: _Scope, depth: int
    ) -> list[_Value]:
        body = node.graphs["body"]
        turns, condition, *carried = [*inputs, _FIXED, _FIXED][: max(2, len(inputs))]
        counted = bool(node.inputs[:1] and node.inputs[0]) and _is_count(turns)
        index = _Value(BOUNDED | turns.bits & SHAPED)
        made, (condition, *carried) = self._settled(
            body, [index], [condition, *carried], scope, depth
        )
        # Without a number of turns that ends it, a condition that only shapes decide does.
        told = not turns.bits & UPPER or not condition.bits & SHAPED
        if not counted and told:
            if loop_growth.lengthens(body, len(carried)):
                raise _grows(node)
            # It turns as often as the values say, so whatever changes may become anything.
            kept = loop_growth.passed_on(body, len(carried))
            carried = [one if same else _FREE for one, same in zip(carried, kept, strict=True)]
            made = self._inside(body, [_FREE, condition, *carried], scope, depth)
            carried = [_both(*pair) for pair in zip(carried, made[1:], strict=False)]
        return [*carried, *made[1 + len(carried) :]]

    def _scan(
        self, node: Node, inputs: Sequence[_Value], scope: _Scope, depth: int
    ) -> list[_Value]:
        """It turns as often as a shape says."""
        body = node.graphs["body"]
        given = list(inputs[len(inputs) - len(body.inputs) :])  # without the oldest's lengths
        states = max(0, len(given) - node.numbers.get("num_scan_inputs", 1))
        made, carried = self._settled(body, [], given[:states], scope, depth, given[states:])
        return [*carried, *made[states:]]

    def _settled(
        self,
        body: Graph,
        before: list[_Value],
        carried: list[_Value],
        scope: _Scope,
        depth: int,
        after: Sequence[_Value] = (),
    ) -> tuple[list[_Value], list[_Value]]:
        """What a body makes, and what it carries from turn to turn, once another turn changes
        nothing. ``before`` and ``after``: its other inputs."""
        carried = [_Value(value.bits) for value in carried]
        for _ in range(_MOST_ROUNDS):
            made = self._inside(body, [*before, *carried, *after], scope, depth)
            again = [_both(*pair) for pair in zip(carried, made, strict=False)]
            again += carried[len(again) :]
            if again == carried:
                return made, carried
            carried = again
        carried = [_FREE] * len(carried)
        return self._inside(body, [*before, *carried, *after], scope, depth), carried


def _grows(node: Node) -> _GrowsError:
    place = node.name or next(iter(node.outputs), "")
    return _GrowsError(f"node '{place[:_MOST_WORDS]}' ({node.operator[:_MOST_WORDS]})")


def _both(one: _Value, other: _Value) -> _Value:
    return _Value(one.bits & other.bits)


def _is_count(turns: _Value) -> bool:
    constant = turns.constant
    huge = constant is not None and any(one >= _HUGE for one in constant.values or ())
    return bool(turns.bits & UPPER) and not huge


def _is_bounded_range(inputs: Sequence[_Value]) -> bool:
    """However many steps lie between start and limit."""
    if len(inputs) != 3:
        return True  # it won't run
    start, limit, step = inputs
    found = step.constant
    numbers = () if found is None else (found.values or found.floats or ())
    if len(numbers) == 1 and numbers[0]:
        low, high = (start, limit) if numbers[0] > 0 else (limit, start)
        return bool(low.bits & LOWER and high.bits & UPPER)
    return bool(step.bits & SHAPED) and start.bits & limit.bits & BOUNDED == BOUNDED


def _kept(node: Node, inputs: Sequence[_Value]) -> Constant | None:
    """These only move a constant about."""
    same = node.operator in ("Identity", "Cast", "Unsqueeze", "Squeeze", "Reshape")
    return inputs[0].constant if same and inputs else None


def _constant(node: Node) -> Constant | None:
    for name in ("value", "value_ints", "value_floats"):
        if name in node.tensors:
            return node.tensors[name]
    if "value_int" in node.numbers:
        return Constant(INT64, (node.numbers["value_int"],))
    if "value_float" in node.floats:
        return Constant(FLOAT, None, (), (node.floats["value_float"],))
    return None
