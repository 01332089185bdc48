"""RNN, GRU and LSTM: X is [time, batch, input], or [batch, time, input] with layout 1."""

from __future__ import annotations

from serving.loading.batching.call import Call, rule
from serving.loading.batching.symbols import Dim
from serving.loading.batching.values import Value, rows

# Places of weights, of initial states, and of LSTM's peepholes.
_WEIGHTS, _STATES, _PEEPHOLES = (1, 2, 3), (5, 6), 7


@rule("LSTM", "GRU", "RNN")
def recurrent(call: Call) -> list[Value]:
    value, layout = call.input(0), call.number("layout")
    batch = 0 if layout else 1
    if any(call.input(place).has_rows for place in (*_WEIGHTS, _PEEPHOLES)):
        return [call.mixed("rows bring the weights")]
    if not value.has_rows or value.shape is None or len(value.shape) != 3:
        return [call.lost("rows come in by its states only")]
    if value.axis != batch:
        return [call.mixed("it takes the rows for steps in time")]
    spoilt = _states(call, value, batch)
    return [spoilt] if spoilt is not None else _outputs(call, value, layout)


def _states(call: Call, value: Value, batch: int) -> Value | None:
    """What is wrong with the lengths of sequences, or the states in the beginning."""
    for place in (4, *_STATES):
        if not call.has(place):
            continue
        state, axis = call.input(place), 0 if place == 4 else batch
        if not state.has_rows:
            return call.never("a state, or a length, is made for one number of rows")
        if state.axis != axis or state.block != value.block:
            return call.mixed("its states belong to other rows")
    return None


def _outputs(call: Call, value: Value, layout: int) -> list[Value]:
    assert value.shape is not None
    both: Dim = 2 if call.text("direction") == "bidirectional" else 1
    time = value.shape[1 if layout else 0]
    hidden: Dim = call.number("hidden_size") or call.symbols.fresh()
    if layout:
        ends = rows((1, both, hidden), 0, value.block)
        return [rows((1, time, both, hidden), 0, value.block), ends, ends]
    ends = rows((both, 1, hidden), 1, value.block)
    return [rows((time, both, 1, hidden), 2, value.block), ends, ends]
