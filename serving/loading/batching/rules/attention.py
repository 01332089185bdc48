"""Attention and rotary embeddings of the default domain (opset 23 on)."""

from __future__ import annotations

from serving.loading.batching.call import Call, broadcast, rule
from serving.loading.batching.rules.normalization import OWN_SCALE, on_axis_0
from serving.loading.batching.values import Value, rows, same


def go_along(call: Call, first: Value, *places: int) -> Value | None:
    """What is wrong where these inputs, if given, do not have the rows of ``first`` on axis 0."""
    if not first.has_rows or first.axis != 0:
        return call.mixed("it takes the rows for something else than a batch")
    for place in places:
        value = call.input(place)
        if not call.has(place):
            continue
        if not value.has_rows:
            return call.lost("a constant serves every row")
        if value.axis != 0 or value.block != first.block:
            return call.mixed("it joins rows with rows on another axis")
    return None


@rule("Attention")
def attention(call: Call) -> list[Value]:
    """(Q, K, V, mask, past key, past value, lengths); rank 3 or 4, the batch on axis 0."""
    query, key, value = (call.input(place) for place in range(3))
    spoilt = go_along(call, query, 1, 2, 4, 5, 6) or _mask(call, query)
    if spoilt is not None:
        return [spoilt]
    if query.shape is None or value.shape is None or key.shape is None:
        return [call.lost("its input's rank is not known")]
    some = call.symbols.fresh
    wide = value.shape[-1] if len(query.shape) == 4 else some()
    made = rows((*query.shape[:-1], wide), 0, query.block)
    cache = rows((1, some(), some(), some()), 0, query.block)
    return [made, cache, cache, cache]


def _mask(call: Call, query: Value) -> Value | None:
    """Broadcast to [batch, heads, query, key]."""
    if not call.has(3):
        return None
    mask = call.input(3)
    scores = rows((1, *(call.symbols.fresh() for _ in range(3))), 0, query.block)
    made = broadcast(call, [scores, mask])
    return made if made.spoilt else None


@rule("LinearAttention")
def linear_attention(call: Call) -> list[Value]:
    """(query, key, value, state, decay, beta); rank 3, the state 4, the batch on axis 0."""
    query = call.input(0)
    spoilt = go_along(call, query, 1, 2, 3, 4, 5)
    if spoilt is not None or query.shape is None:
        return [spoilt or call.lost("its input's rank is not known")]
    some = call.symbols.fresh
    state = rows((1, some(), some(), some()), 0, query.block)
    return [rows((*query.shape[:-1], some()), 0, query.block), state]


@rule("CausalConvWithState")
def causal_conv(call: Call) -> list[Value]:
    """(X, weights, bias, state): [batch, channels, length], the state as X."""
    value = call.input(0)
    spoilt = go_along(call, value, 3)
    if spoilt is None and (call.input(1).has_rows or call.input(2).has_rows):
        spoilt = call.mixed(OWN_SCALE)
    if spoilt is not None or value.shape is None:
        return [spoilt or call.lost("its input's rank is not known")]
    state = rows((*value.shape[:-1], call.symbols.fresh()), 0, value.block)
    return [value.other_rows(value.shape, 0), state]


@rule("RotaryEmbedding")
def rotary(call: Call) -> Value:
    """(X, cos, sin, positions): caches per position, or with the batch on axis 0."""
    value = call.input(0)
    if any(one.has_rows for one in call.there()[1:]):
        if not call.has(3) and (call.input(1).has_rows or call.input(2).has_rows):
            spoilt = go_along(call, value, 1, 2)
        elif call.input(1).has_rows or call.input(2).has_rows:
            spoilt = call.mixed(OWN_SCALE)
        else:
            spoilt = go_along(call, value, 3)
        return spoilt or on_axis_0(call, value)
    if call.has(3) or not value.has_rows:
        return call.lost("constant positions serve every row")
    return _without_positions(call, value)


def _without_positions(call: Call, value: Value) -> Value:
    """Caches of [batch, sequence, half]: a constant one serves a batch of one."""
    cache = call.input(1)
    if cache.shape is None or cache.shape[0] != 1:
        return call.lost("a constant serves every row")
    return call.never("its caches are made for one row") if value.has_rows else same()
