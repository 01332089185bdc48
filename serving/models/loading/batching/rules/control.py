"""If, Loop and Scan: on what is the same for all rows, by a fixed point over what is carried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from serving.execution.onnx_nodes import Graph
from serving.models.loading.batching.call import ALL, COUNTED, Call, normal, rule
from serving.models.loading.batching.symbols import Dim, Poly
from serving.models.loading.batching.values import Kind, Value, same

# What is carried settles within a few turns, or the rules can't tell.
_TURNS = 8


@rule("If", counts=(0,), pure=False)
def if_(call: Call) -> Sequence[Value]:
    condition = call.input(0)
    branches = [call.body("then_branch"), call.body("else_branch")]
    if condition.has_rows:
        return [call.mixed("a condition on rows decides for all of them")]
    chosen = condition.data[0] if condition.data else None
    if isinstance(chosen, bool | int):
        branches = [branches[0 if chosen else 1]]
    elif condition.kind is Kind.COUNT:
        return [call.mixed(COUNTED)]
    results = [_body(call, branch, ()) for branch in branches]
    if len(results) == 1:
        return results[0] or [same()]
    return [_joined(call, one, other) for one, other in zip(*results, strict=False)] or [same()]


def _body(call: Call, graph: Graph | None, inputs: Sequence[Value]) -> list[Value]:
    if graph is None:
        return [call.lost("it has no graph")]
    return call.interpreter.body(graph, inputs, call.scope)


def _joined(call: Call, one: Value, other: Value) -> Value:
    """What is true of both."""
    for kind in (Kind.NEVER, Kind.MIXED, Kind.LOST):
        for value in (one, other):
            if value.kind is kind:
                return value
    if one == other:
        return one
    if Kind.COUNT in (one.kind, other.kind):
        return call.lost("it chooses between numbers of rows")
    if one.kind is Kind.SAME and other.kind is Kind.SAME:
        return same(_either(call, one, other))
    if one.kind != other.kind or one.axis != other.axis or one.block != other.block:
        return call.lost("its branches lay the rows out in different ways")
    shape = _either(call, one, other)
    if shape is None:
        return call.lost("its branches make different numbers of dimensions")
    return replace(one, shape=shape, data=None, fill=None)


def _either(call: Call, one: Value, other: Value) -> tuple[Dim, ...] | None:
    if one.shape is None or other.shape is None or len(one.shape) != len(other.shape):
        return None
    pairs = zip(one.shape, other.shape, strict=True)
    return tuple(left if left == right else call.symbols.fresh() for left, right in pairs)


@rule("Loop", counts=ALL, pure=False)
def loop(call: Call) -> Sequence[Value]:
    """(trips, condition, carried...); the body takes (turn, condition, carried...) and makes
    (condition, carried..., one slice for each stacked output)."""
    graph, trips, condition = call.body("body"), call.input(0), call.input(1)
    if trips.has_rows or condition.has_rows:
        return [call.mixed("rows decide how often it turns for all of them")]
    if Kind.COUNT in (trips.kind, condition.kind):
        return [call.mixed(COUNTED)]
    carried = [_plain(call, call.input(place)) for place in range(2, len(call.inputs))]
    turn, goes_on = same(()), same(condition.shape if call.has(1) else ())
    made = _fixed(call, graph, [turn, goes_on], carried, 1)
    if isinstance(made, Value):
        return [made]
    ends, rest = made[: len(carried)], made[len(carried) :]
    stacked = [_stacked(call, value, 0, _turns(call, trips)) for value in rest]
    return [*ends, *stacked] or [same()]


def _plain(call: Call, value: Value) -> Value:
    """What is carried changes from turn to turn: only its kind and shape go on."""
    if value.kind is Kind.COUNT:
        return call.mixed(COUNTED)
    if value.kind in (Kind.PLACE, Kind.PLACE_FIRST):
        return call.mixed("the answer depends on a row's place among the others")
    return replace(value, data=None, fill=None)


def _turns(call: Call, trips: Value) -> Dim:
    """As many as it is told, unless a condition ends it before."""
    del trips
    return call.symbols.fresh()


def _fixed(
    call: Call, graph: Graph | None, first: Sequence[Value], carried: list[Value], skipped: int
) -> list[Value] | Value:
    """What the body makes once what is carried no longer changes: (carried..., rest...)."""
    for value in carried:
        if value.spoilt:
            return value
    for _ in range(_TURNS):
        results = _body(call, graph, [*first, *carried])
        if skipped and results and _decides(results[0]):
            return _decided(call, results[0])
        after = [_plain(call, value) for value in results[skipped : skipped + len(carried)]]
        widened = [_widened(call, a, b) for a, b in zip(carried, after, strict=False)]
        for value in widened:
            if value.spoilt:
                return value
        if widened == carried:
            return [*carried, *results[skipped + len(carried) :]]
        carried[:] = widened
    return call.lost("what it carries from turn to turn does not settle")


def _decides(condition: Value) -> bool:
    return condition.kind is not Kind.SAME


def _decided(call: Call, condition: Value) -> Value:
    if condition.spoilt:
        return condition
    return call.mixed("rows decide how often it turns for all of them")


def _widened(call: Call, before: Value, after: Value) -> Value:
    """Both what it was and what it becomes; sizes that change become one that is not known."""
    if before == after or before.spoilt:
        return before
    if after.spoilt:
        return after
    if before.kind is not after.kind:
        return _first_rows(call, before, after)
    if before.axis != after.axis or before.block != after.block:
        return call.lost("rows change their place from turn to turn")
    if before.shape is None or after.shape is None or len(before.shape) != len(after.shape):
        if before.has_rows:
            return call.lost("the number of dimensions changes from turn to turn")
        return same()
    pairs = zip(before.shape, after.shape, strict=True)
    sizes = tuple(b if b == a or _is_some(b) else call.symbols.fresh() for b, a in pairs)
    return replace(before, shape=sizes)


def _is_some(size: Dim) -> bool:
    """Whether a size already stands for any: one symbol by itself, which is not N."""
    if not isinstance(size, Poly) or len(size.terms) != 1:
        return False
    monomial, factor = size.terms[0]
    return factor == 1 and len(monomial) == 1 and monomial[0] != 0


def _first_rows(call: Call, before: Value, after: Value) -> Value:
    """A constant at first and rows from then on would have to be as many as they."""
    del before, after
    return call.lost("it begins with a constant and goes on with rows")


def _stacked(call: Call, value: Value, axis: int, turns: Dim) -> Value:
    if value.spoilt:
        return value
    plain = _plain(call, value)
    if plain.spoilt or plain.shape is None:
        return plain
    at = normal(axis, len(plain.shape) + 1)
    if at is None:
        return call.lost("its axis does not fit")
    shape = (*plain.shape[:at], turns, *plain.shape[at:])
    if not plain.has_rows:
        return same(shape)
    return plain.rows_like(shape, plain.axis + (at <= plain.axis))


@rule("Scan", pure=False)
def scan(call: Call) -> Sequence[Value]:
    """(states..., sequences...), along an axis of the sequences that rows do not stand on."""
    graph, count = call.body("body"), call.number("num_scan_inputs")
    if call.opset < 9:
        return [call.lost("there is no rule for Scan before opset 9")]
    values = [call.input(place) for place in range(len(call.inputs))]
    states, sequences = values[: len(values) - count], values[len(values) - count :]
    axes = call.integers("scan_input_axes") or [0] * count
    slices = [_slice(call, v, axis) for v, axis in zip(sequences, axes, strict=False)]
    for value in slices:
        if value.spoilt:
            return [value]
    return _scanned(call, graph, [_plain(call, state) for state in states], slices)


def _slice(call: Call, value: Value, axis: int) -> Value:
    """One step of a sequence."""
    if value.shape is None:
        return same()
    at = normal(axis, len(value.shape))
    if at is None:
        return call.lost("its axis does not fit")
    if value.has_rows and at == value.axis:
        return call.mixed("it goes from row to row")
    shape = (*value.shape[:at], *value.shape[at + 1 :])
    if not value.has_rows:
        return same(shape)
    return Value(Kind.ROWS, shape, value.axis - (at < value.axis), value.block)


def _scanned(
    call: Call, graph: Graph | None, states: list[Value], slices: Sequence[Value]
) -> Sequence[Value]:
    def turn(carried: Sequence[Value]) -> list[Value]:
        return _body(call, graph, [*carried, *slices])

    for value in states:
        if value.spoilt:
            return [value]
    for _ in range(_TURNS):
        results = turn(states)
        after = [_plain(call, value) for value in results[: len(states)]]
        widened = [_widened(call, a, b) for a, b in zip(states, after, strict=False)]
        spoilt = next((value for value in widened if value.spoilt), None)
        if spoilt is not None:
            return [spoilt]
        if widened == states:
            return [*states, *_scan_outputs(call, results[len(states) :])] or [same()]
        states = widened
    return [call.lost("what it carries from turn to turn does not settle")]


def _scan_outputs(call: Call, results: Sequence[Value]) -> list[Value]:
    axes = call.integers("scan_output_axes") or [0] * len(results)
    turns = call.symbols.fresh()
    return [_stacked(call, v, axis, turns) for v, axis in zip(results, axes, strict=False)]
