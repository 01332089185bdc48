"""Normalisations: over what, and with whose scale."""

from __future__ import annotations

from serving.loading.batching.call import Call, broadcast, normal, rule
from serving.loading.batching.rules.reduction import along, reduced
from serving.loading.batching.values import Kind, Value, same

OWN_SCALE = "rows bring a scale or bias for all"


def on_axis_0(call: Call, value: Value) -> Value:
    """What an operator makes that treats each entry of axis 0 by itself and keeps the shape."""
    if not value.has_rows:
        return same(value.shape)
    if value.axis != 0:
        return call.mixed("it takes the rows for something else than a batch")
    return Value(Kind.ROWS, value.shape, value.axis, value.block)


@rule("BatchNormalization")
def batch_normalization(call: Call) -> list[Value]:
    """Before opset 14 five outputs mean that it trains, since then an attribute does."""
    value = call.input(0)
    trains = (
        call.number("training_mode") if call.opset >= 14 else sum(map(bool, call.node.outputs)) > 1
    )
    if trains:
        return [call.mixed("it trains: it takes mean and variance of the whole batch")]
    if any(one.has_rows for one in call.there()[1:]):
        return [call.mixed(OWN_SCALE)]
    if value.has_rows and value.axis == 1:
        return [call.mixed("it takes the rows for channels")]
    kept = Value(Kind.ROWS, value.shape, value.axis, value.block)
    return [kept if value.has_rows else same(value.shape)]


@rule("InstanceNormalization", "GroupNormalization", "LRN")
def per_sample(call: Call) -> Value:
    if any(one.has_rows for one in call.there()[1:]):
        return call.mixed(OWN_SCALE)
    return on_axis_0(call, call.input(0))


@rule("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")
def layer_normalization(call: Call) -> list[Value]:
    """Over everything from its axis on; mean and deviation come out 1 long there."""
    value = call.input(0)
    if value.shape is None:
        return [same()] * 3
    rank = len(value.shape)
    first = normal(call.number("axis", -1), rank)
    axes = range(rank if first is None else first, rank)
    if not value.has_rows:
        return [call.never("rows bring scales for something made for one number of rows")]
    made = along(call, value, list(axes))
    if made.spoilt:
        return [made]
    scaled = broadcast(call, [made, *call.there()[1:]])
    figure = reduced(call, value, axes, keep=True)
    return [scaled, figure, figure]
