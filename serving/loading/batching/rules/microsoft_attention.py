"""Attention as onnxruntime's transformer optimizer writes it; the batch is on axis 0."""

from __future__ import annotations

from serving.loading.batching.call import MICROSOFT, Call, broadcast, rule
from serving.loading.batching.rules.attention import go_along
from serving.loading.batching.rules.microsoft import no_rows
from serving.loading.batching.rules.normalization import on_axis_0
from serving.loading.batching.symbols import Dim, divide
from serving.loading.batching.values import Value, rows, same

SHARED = "its keys lie in a buffer that calls share"
LONGEST = "it takes the longest sequence of the batch"


def _sequences(call: Call, value: Value) -> Value | None:
    """What is wrong with [batch, sequence, ...] that comes in first."""
    spoilt = go_along(call, value)
    short = value.shape is None or len(value.shape) < 3
    return spoilt or (call.lost("its sequences have too few dimensions") if short else None)


def _mask(call: Call, query: Value, place: int) -> Value | None:
    """What is wrong with a mask: [batch], each row's length, or [batch, ...]. Lists of other
    lengths hold first one thing of every row, then another."""
    mask = call.input(place)
    if not call.has(place):
        return None
    if not mask.has_rows:
        return call.never("a mask is made for one number of rows")
    if mask.axis == 0 and mask.block != query.block:
        return call.mixed("its mask lists one thing of every row, then another")
    return go_along(call, query, place)


def _bias(call: Call, query: Value, place: int) -> Value | None:
    """[batch or 1, heads or 1, query, key]."""
    if not call.has(place):
        return None
    bias, some = call.input(place), call.symbols.fresh
    if bias.rank != 4:
        return call.lost("what it adds to the scores has not four dimensions")
    made = broadcast(call, [rows((1, some(), some(), some()), 0, query.block), bias])
    return made if made.spoilt else None


def _past(call: Call, query: Value, place: int) -> Value | None:
    """[2, batch, heads, sequence, head]: keys, then values."""
    past = call.input(place)
    if not call.has(place):
        return None
    if not past.has_rows:
        return call.never("its past is made for one number of rows")
    if past.axis != 1 or past.block != query.block:
        return call.mixed("its past belongs to other rows")
    return None


@rule("Attention", "QAttention", domain=MICROSOFT)
def attention(call: Call) -> list[Value]:
    """(X, weights, bias, mask, past, added to scores, length of the past), and for QAttention
    (X, weights, bias, scales, mask, zero points, past)."""
    quantized = call.node.operator == "QAttention"
    fixed, mask, past = ((1, 2, 3, 4, 6, 7), 5, 8) if quantized else ((1, 2, 6), 3, 4)
    query = call.input(0)
    spoilt = (
        no_rows(call, *fixed)
        or _sequences(call, query)
        or _mask(call, query, mask)
        or _past(call, query, past)
        or (None if quantized else _bias(call, query, 5))
    )
    if spoilt is not None or query.shape is None:
        return [spoilt or same()]
    if call.number("past_present_share_buffer"):
        return [call.lost(SHARED)]
    made = rows((*query.shape[:-1], _hidden(call)), 0, query.block)
    some = call.symbols.fresh
    return [made, rows((2, 1, call.number("num_heads"), some(), some()), 1, query.block)]


def _hidden(call: Call) -> Dim:
    """The values' size: as stated, or a third of the weights'."""
    sizes, weights = call.integers("qkv_hidden_sizes"), call.input(1)
    if sizes:
        return sizes[-1]
    third = divide(weights.shape[-1], 3) if weights.shape else None
    return call.symbols.fresh() if third is None else third


def _kept(call: Call) -> Value | None:
    """onnxruntime joins the past to what is new in the outputs for them only."""
    outputs = [name for name in call.node.outputs[1:3] if name]
    return None if len(outputs) == 2 else call.lost("its past goes on in no output")


@rule("MultiHeadAttention", domain=MICROSOFT)
def multi_head(call: Call) -> list[Value]:
    """(Q, K, V, bias, mask, added to scores, past key, past value, length of the past, beams)."""
    query, value = call.input(0), call.input(2)
    if call.has(8) or call.has(9):
        return [call.lost(SHARED)]
    spoilt = (
        no_rows(call, 3)
        or _sequences(call, query)
        or go_along(call, query, 1, 2, 6, 7)
        or _mask(call, query, 4)
        or _bias(call, query, 5)
        or (_kept(call) if call.has(6) else None)
    )
    if spoilt is not None or query.shape is None:
        return [spoilt or same()]
    some = call.symbols.fresh
    wide = value.shape[-1] if value.shape is not None and len(value.shape) == 3 else some()
    made = rows((1, query.shape[1], wide), 0, query.block)
    cache = rows((1, call.number("num_heads"), some(), some()), 0, query.block)
    return [made, cache, cache, cache]


@rule("GroupQueryAttention", domain=MICROSOFT)
def group_query(call: Call) -> list[Value]:
    """(Q, K, V, past key, past value, lengths, longest, cos, sin, positions, added to scores,
    ..., query lengths): the longest must be the same whoever is in the batch."""
    query, some = call.input(0), call.symbols.fresh
    if call.input(6).has_rows:
        return [call.mixed(LONGEST)]
    spoilt = (
        no_rows(call, 7, 8, *range(11, 16))
        or _sequences(call, query)
        or go_along(call, query, 1, 2, 3, 4, 5, 16)
        or _bias(call, query, 10)
        or _steps(call, query)
    )
    if spoilt is not None or query.shape is None:
        return [spoilt or same()]
    wide = query.shape[-1] if call.has(1) else some()
    made = rows((1, query.shape[1], wide), 0, query.block)
    cache = rows((1, call.number("kv_num_heads"), some(), some()), 0, query.block)
    return [made, cache, cache, cache]


def _steps(call: Call, query: Value) -> Value | None:
    """A prompt without a past, or one token more: between these onnxruntime takes single rows.

    A prompt's positions are read off the first row.
    """
    single = query.shape is not None and query.shape[1] == 1
    if call.number("sliding_window_cache"):
        return call.lost(SHARED)
    if call.has(3) and not single:
        return call.lost("with a past it takes several tokens of one row only")
    spoilt = _kept(call) if call.has(3) else None
    if spoilt is not None or not call.has(9):
        return spoilt
    if not (call.has(3) and single):
        return call.mixed("it takes the first row's positions for all")
    return go_along(call, query, 9)


@rule("LinearAttention", domain=MICROSOFT)
def linear_attention(call: Call) -> list[Value]:
    """(Q, K, V, past state, decay, update rate), the batch on axis 0 of all of them."""
    query, some = call.input(0), call.symbols.fresh
    spoilt = _sequences(call, query) or go_along(call, query, 1, 2, 3, 4, 5)
    if spoilt is not None or query.shape is None:
        return [spoilt or same()]
    if call.number("state_window"):
        return [call.lost("there is no rule for a window of states")]
    state = rows((1, call.number("kv_num_heads"), some(), some()), 0, query.block)
    return [rows((1, query.shape[1], some()), 0, query.block), state]


@rule("LinearAttentionGate", domain=MICROSOFT)
def linear_gate(call: Call) -> list[Value]:
    """(a, bias, scale, b): two tensors element by element, with vectors along the last axis."""
    fixed = [call.input(1), call.input(2)]
    made = broadcast(call, [call.input(0), *fixed])
    return [no_rows(call, 1, 2) or made, broadcast(call, [call.input(3)])]


@rule("CausalConvWithState", domain=MICROSOFT)
def causal_conv(call: Call) -> list[Value]:
    """(X, weights, bias, past state), the batch on axis 0."""
    value = call.input(0)
    spoilt = no_rows(call, 1, 2) or go_along(call, value, 3)
    if spoilt is not None or value.shape is None:
        return [spoilt or same()]
    if call.number("state_window") or call.number("state_update_capacity"):
        return [call.lost("there is no rule for a window of states")]
    shape: list[Dim] = [call.symbols.fresh() for _ in value.shape]
    return [on_axis_0(call, value), rows(shape, 0, value.block)]


@rule("RotaryEmbedding", "MRotaryEmbedding", domain=MICROSOFT)
def rotary(call: Call) -> Value:
    """(X, positions, cos, sin). Positions: one number for all, or [batch, sequence], and for
    MRotaryEmbedding three of those, [3, batch, sequence]."""
    value, positions = call.input(0), call.input(1)
    spoilt = no_rows(call, 2, 3)
    if spoilt is not None or not value.has_rows:
        return spoilt or call.lost("rows come in by their positions only")
    if call.number("is_packed_batching"):
        return call.lost("there is no rule for its packed form")
    if positions.shape in ((), (1,)) and not positions.has_rows:
        return on_axis_0(call, value)
    if not positions.has_rows:
        return call.never("its positions are made for one number of rows")
    axis, rank = (0, 2) if call.node.operator == "RotaryEmbedding" else (1, 3)
    if positions.rank != rank or positions.axis != axis or positions.block != value.block:
        return call.mixed("it joins rows with rows on another axis")
    return on_axis_0(call, value)


# Inputs of AttnLSTM with the batch on axis 0 (lengths, memory), and those on axis 1 (states).
_LENGTHS, _MEMORY, _STATES = (4, 12), 11, (5, 6)


@rule("AttnLSTM", domain=MICROSOFT)
def attention_lstm(call: Call) -> list[Value]:
    """X is [time, batch, input]; the memory that it attends to [batch, steps, depth]."""
    value = call.input(0)
    spoilt = no_rows(call, 1, 2, 3, 7, 8, 9, 10, 13)
    if spoilt is not None or value.shape is None:
        return [spoilt or same()]
    if not value.has_rows or value.axis != 1:
        return [call.mixed("it takes the rows for steps in time")]
    for place in (*_LENGTHS, _MEMORY, *_STATES):
        one = call.input(place)
        if call.has(place) and not one.has_rows:
            return [call.never("a state, a length or the memory is made for one number of rows")]
        if call.has(place) and (one.axis != (place in _STATES) or one.block != value.block):
            return [call.mixed("its states belong to other rows")]
    both: Dim = 2 if call.text("direction") == "bidirectional" else 1
    hidden: Dim = call.number("hidden_size") or call.symbols.fresh()
    ends = rows((both, 1, hidden), 1, value.block)
    return [rows((value.shape[0], both, 1, hidden), 2, value.block), ends, ends]
