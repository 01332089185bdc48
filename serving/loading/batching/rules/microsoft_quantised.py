"""onnxruntime's operators on 8-bit tensors, with scales that are known beforehand or not."""

from __future__ import annotations

from serving.loading.batching.call import MICROSOFT, Call, broadcast, normal, rule
from serving.loading.batching.rules.normalization import on_axis_0
from serving.loading.batching.rules.reduction import along, reduced
from serving.loading.batching.symbols import Dim
from serving.loading.batching.values import Shape, Value, rows, same

OWN_SCALES = "its scale comes from the rows"


def all_single(call: Call, *places: int) -> Value | None:
    """What is wrong with scales or zero points that must be one for the whole tensor."""
    for place in places:
        value = call.input(place)
        if value.has_rows:
            return call.mixed(OWN_SCALES)
        if call.has(place) and (value.shape is None or any(size != 1 for size in value.shape)):
            return call.lost("it does not show that it has one scale for all rows")
    return None


# The places of the tensors among the inputs; the others are scales and zero points.
_TENSORS = {
    "QLinearAdd": (0, 3),
    "QLinearMul": (0, 3),
    "MulInteger": (0, 2),
    "QLinearWhere": (0, 1, 4),
    "QLinearSigmoid": (0,),
    "QLinearLeakyRelu": (0,),
}


@rule(*_TENSORS, domain=MICROSOFT)
def elementwise(call: Call) -> Value:
    places = _TENSORS[call.node.operator]
    spoilt = all_single(call, *(at for at in range(len(call.inputs)) if at not in places))
    return spoilt or broadcast(call, [call.input(place) for place in places])


@rule("QLinearSoftmax", domain=MICROSOFT)
def softmax(call: Call) -> Value:
    """As Softmax of the opset that it states: before 13 over everything from its axis on."""
    value = call.input(0)
    spoilt = all_single(call, 1, 2, 3, 4)
    if spoilt is not None or value.shape is None:
        return spoilt or same()
    rank = len(value.shape)
    first = normal(call.number("axis", -1), rank)
    if first is None or not call.has_attribute("opset"):
        return call.lost("along which axes it goes is not said")
    return along(call, value, range(first, rank) if call.number("opset") < 13 else [first])


@rule("QLinearReduceMean", domain=MICROSOFT)
def mean(call: Call) -> Value:
    value = call.input(0)
    spoilt = all_single(call, 1, 2, 3, 4)
    if spoilt is not None or value.shape is None:
        return spoilt or same()
    axes = call.integers("axes") or range(len(value.shape))
    return reduced(call, value, axes, keep=bool(call.number("keepdims", 1)))


@rule("QLinearAveragePool", "QLinearGlobalAveragePool", domain=MICROSOFT)
def pool(call: Call) -> Value:
    return all_single(call, 1, 2, 3, 4) or images(call, call.input(0), None)


@rule("QLinearConv", domain=MICROSOFT)
def quantized_conv(call: Call) -> Value:
    """(X, scale, zero point, W, scale, zero point, Y scale, Y zero point, bias)."""
    if any(value.has_rows for value in call.there()[1:]):
        return call.mixed(OWN_SCALES)
    weights = call.input(3)
    return images(call, call.input(0), weights.shape[0] if weights.shape else None)


def images(call: Call, value: Value, channels: Dim | None) -> Value:
    """Each image by itself, in other sizes; ``channels``: None where they stay as many."""
    made = on_axis_0(call, value)
    if made.spoilt or value.shape is None:
        return made
    if len(value.shape) < 3:
        return call.lost("its images have too few dimensions")
    shape = _sizes(call, value.shape, channels)
    return rows(shape, 0, value.block) if value.has_rows else same(shape)


def _sizes(call: Call, shape: Shape, channels: Dim | None) -> Shape:
    last = bool(call.number("channels_last")) or call.node.operator.startswith("Nhwc")
    at = len(shape) - 1 if last else 1
    sizes: list[Dim] = [call.symbols.fresh() for _ in shape]
    sizes[at] = shape[at] if channels is None else channels
    return (shape[0], *sizes[1:])


@rule("NhwcMaxPool", domain=MICROSOFT)
def max_pool(call: Call) -> Value:
    return images(call, call.input(0), None)


@rule("NhwcConv", "NhwcFusedConv", "ConvTransposeWithDynamicPads", domain=MICROSOFT)
def conv(call: Call) -> Value:
    """(X, W, bias or pads, bias or what is added): only NhwcFusedConv's fourth is of the rows."""
    value, weights = call.input(0), call.input(1)
    added = call.input(3) if call.node.operator == "NhwcFusedConv" else same()
    others = [one for one in call.there()[1:] if one is not added]
    if any(one.has_rows for one in others):
        return call.mixed(OWN_SCALES)
    if added.has_rows and (added.axis != 0 or not value.has_rows or added.block != value.block):
        return call.mixed("it takes the rows for something else than a batch")
    if call.has(3) and call.node.operator == "NhwcFusedConv" and not added.has_rows:
        return call.lost("it adds a constant to every row")
    channels = weights.shape[0] if weights.shape else call.symbols.fresh()
    if call.node.operator.startswith("ConvTranspose"):
        channels = call.symbols.fresh()
    return images(call, value, channels)


@rule("DynamicQuantizeLSTM", domain=MICROSOFT)
def dynamic_lstm(call: Call) -> list[Value]:
    return [call.mixed("it takes one scale from all values of the batch: use static quantisation")]
