"""If, Loop and Scan: on what is the same for all rows, by a fixed point over what is carried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from serving.execution.onnx_nodes import Graph
from serving.loading.batching.call import ALL, COUNTED, FILLED, Call, normal, rule
from serving.loading.batching.symbols import Dim
from serving.loading.batching.values import Kind, Value, same

# What is carried settles within a few turns, or the rules can't tell.
_TURNS = 8

# From what is carried to what the body makes.
Turn = Callable[[Sequence[Value]], list[Value]]


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
    first = [same(()), same(condition.shape if call.has(1) else ())]
    since = call.symbols.count
    made = _fixed(call, lambda now: _body(call, graph, [*first, *now]), carried, 1)
    if isinstance(made, Value):
        return [made]
    ends, turns = made[: len(carried)], call.symbols.fresh()
    stacked = _stacked_all(call, made[len(carried) :], [], turns, since)
    return [*ends, *stacked] or [same()]


def _plain(call: Call, value: Value) -> Value:
    """What is carried changes from turn to turn: only its kind and shape go on."""
    if value.kind is Kind.COUNT:
        return call.mixed(COUNTED)
    if value.kind is Kind.PADDED:
        return call.mixed(FILLED)
    if value.kind in (Kind.PLACE, Kind.PLACE_FIRST):
        return call.mixed("the answer depends on a row's place among the others")
    return replace(value, data=None, fill=None)


def _fixed(call: Call, turn: Turn, carried: list[Value], skipped: int) -> list[Value] | Value:
    """What turns make once what is carried no longer changes: (carried..., rest...).

    ``skipped``: how many outputs of the body stand before what it carries.
    """
    free: set[Dim] = set()
    for _ in range(_TURNS):
        spoilt = next((value for value in carried if value.spoilt), None)
        if spoilt is not None:
            return spoilt
        results = turn(carried)
        if skipped and results and _decides(results[0]):
            return _decided(call, results[0])
        after = [_plain(call, value) for value in results[skipped : skipped + len(carried)]]
        widened = [_widened(call, a, b, free) for a, b in zip(carried, after, strict=True)]
        if widened == carried:
            return [*carried, *results[skipped + len(carried) :]]
        carried = widened
    return call.lost("what it carries from turn to turn does not settle")


def _decides(condition: Value) -> bool:
    return condition.kind is not Kind.SAME


def _decided(call: Call, condition: Value) -> Value:
    if condition.spoilt:
        return condition
    return call.mixed("rows decide how often it turns for all of them")


def _widened(call: Call, before: Value, after: Value, free: set[Dim]) -> Value:
    """Both what it was and what it becomes; sizes that change become one of ``free``, those
    that stand for any."""
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
    return replace(before, shape=tuple(_any(call, b, a, free) for b, a in pairs))


def _any(call: Call, before: Dim, after: Dim, free: set[Dim]) -> Dim:
    if before == after or before in free:
        return before
    size = call.symbols.fresh()
    free.add(size)
    return size


def _first_rows(call: Call, before: Value, after: Value) -> Value:
    """A constant at first and rows from then on would have to be as many as they."""
    del before, after
    return call.lost("it begins with a constant and goes on with rows")


def _stacked_all(
    call: Call, values: Sequence[Value], axes: Sequence[int], turns: Dim, since: int
) -> list[Value]:
    """A slice of each turn, of which there are ``turns``, put together along ``axes``.

    ``since``: a turn's own sizes, of symbols that came after, are not those of what is carried
    in the end.
    """
    others = call.symbols.others(since)
    places = axes or [0] * len(values)
    pairs = zip(values, places, strict=True)
    return [_stacked(call, value.with_sizes(others), at, turns) for value, at in pairs]


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
    slices = [_slice(call, v, axis) for v, axis in zip(sequences, axes, strict=True)]
    spoilt = next((value for value in slices if value.spoilt), None)
    if spoilt is not None:
        return [spoilt]
    since = call.symbols.count
    carried = [_plain(call, state) for state in states]
    made = _fixed(call, lambda now: _body(call, graph, [*now, *slices]), carried, 0)
    if isinstance(made, Value):
        return [made]
    ends, rest = made[: len(states)], made[len(states) :]
    axes, turns = call.integers("scan_output_axes") or [], _length(call, sequences[0], axes[0])
    return [*ends, *_stacked_all(call, rest, axes, turns, since)] or [same()]


def _length(call: Call, sequence: Value, axis: int) -> Dim:
    at = None if sequence.shape is None else normal(axis, len(sequence.shape))
    return call.symbols.fresh() if at is None else (sequence.shape or ())[at]


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
