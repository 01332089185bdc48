"""Images, signals and whatever else has a batch on axis 0 and places behind."""

from __future__ import annotations

from collections.abc import Sequence

from serving.loading.batching.call import MICROSOFT, Call, normal, rule
from serving.loading.batching.rules.normalization import OWN_SCALE, on_axis_0
from serving.loading.batching.rules.shaping import shape_of
from serving.loading.batching.symbols import Dim, divide
from serving.loading.batching.values import Kind, Shape, Value, rows, same

WINDOWS = "it takes the rows for something else than a batch"


def only_first(call: Call, others: Sequence[Value]) -> Value | None:
    """What is wrong where rows come in by another input than the first."""
    return call.mixed(OWN_SCALE) if any(value.has_rows for value in others) else None


def sized(call: Call, value: Value, shape: Shape) -> Value:
    """Each entry of axis 0 by itself, in another shape."""
    made = on_axis_0(call, value)
    if made.spoilt:
        return made
    return rows(shape, 0, value.block) if value.has_rows else same(shape)


@rule("Conv", "ConvInteger")
@rule("FusedConv", domain=MICROSOFT)
def conv(call: Call) -> Value:
    """(X, W, ...): FusedConv's fourth input is added to what comes out."""
    value, weights = call.input(0), call.input(1)
    fused = call.node.operator == "FusedConv"
    added = call.input(3) if fused else same()
    if not any(one.has_rows for one in call.there()):
        return same(_conv_shape(call, value, weights))
    spoilt = only_first(call, [weights, call.input(2), *([] if fused else [call.input(3)])])
    if spoilt is not None:
        return spoilt
    made = sized(call, value, _conv_shape(call, value, weights) or ())
    if added.has_rows and (added.axis != 0 or added.block != value.block or not value.has_rows):
        return call.mixed(WINDOWS)
    if call.has(3) and fused and not added.has_rows:
        return call.lost("it adds a constant to every row")
    return made


@rule("QLinearConv")
def quantized_conv(call: Call) -> Value:
    """(X, scale, zero point, W, scale, zero point, Y scale, Y zero point, bias)."""
    value = call.input(0)
    spoilt = only_first(call, call.there()[1:])
    return spoilt or sized(call, value, _conv_shape(call, value, call.input(3)) or ())


@rule("ConvTranspose")
def transposed_conv(call: Call) -> Value:
    value, weights = call.input(0), call.input(1)
    channels: Dim = call.symbols.fresh()
    if weights.shape is not None and len(weights.shape) > 1:
        channels = weights.shape[1] * max(call.number("group", 1), 1)
    spoilt = only_first(call, call.there()[1:])
    return spoilt or sized(call, value, _with_channels(call, value, channels))


@rule("DeformConv")
def deformed_conv(call: Call) -> Value:
    """(X, W, offset, bias, mask): offsets and masks go along with the batch."""
    value = call.input(0)
    spoilt = only_first(call, [call.input(1), call.input(3)])
    if spoilt is not None:
        return spoilt
    for place in (2, 4):
        other = call.input(place)
        if call.has(place) and not (
            other.has_rows and other.axis == 0 and other.block == value.block
        ):
            return call.lost("a constant moves every row's places")
    return sized(call, value, _conv_shape(call, value, call.input(1)) or ())


def _conv_shape(call: Call, value: Value, weights: Value) -> Shape | None:
    channels = weights.shape[0] if weights.shape else call.symbols.fresh()
    return _with_channels(call, value, channels)


def _with_channels(call: Call, value: Value, channels: Dim) -> Shape:
    if value.shape is None or len(value.shape) < 2:
        return (call.symbols.fresh(), channels)
    return (value.shape[0], channels, *_windows(call, value.shape[2:]))


def _windows(call: Call, sizes: Shape) -> list[Dim]:
    """How many windows fit, where the node says it in numbers; else some size."""
    kernel = call.integers("kernel_shape") or _kernel(call)
    plain = call.text("auto_pad", "NOTSET") in ("NOTSET", "VALID") and not call.number("ceil_mode")
    if kernel is None or len(kernel) != len(sizes) or not plain or _is_transposed(call):
        return [call.symbols.fresh() for _ in sizes]
    count = len(sizes)
    strides = call.integers("strides") or [1] * count
    dilations = call.integers("dilations") or [1] * count
    pads = (call.text("auto_pad") != "VALID" and call.integers("pads")) or [0] * (2 * count)
    if not len(strides) == len(dilations) == count or len(pads) != 2 * count:
        return [call.symbols.fresh() for _ in sizes]
    made: list[Dim] = []
    for at, size in enumerate(sizes):
        free = size + (pads[at] + pads[at + count] - dilations[at] * (kernel[at] - 1) - 1)
        made.append(_steps(call, free, strides[at]))
    return made


def _steps(call: Call, free: Dim, stride: int) -> Dim:
    if stride == 1:
        return free + 1
    if isinstance(free, int):
        return free // max(stride, 1) + 1
    return call.symbols.of(("windows", free, stride))


def _is_transposed(call: Call) -> bool:
    return call.node.operator in ("ConvTranspose", "MaxUnpool")


def _kernel(call: Call) -> list[int] | None:
    place = 3 if call.node.operator == "QLinearConv" else 1
    weights = call.input(place)
    sizes = weights.shape[2:] if call.has(place) and weights.shape is not None else ()
    whole = [size for size in sizes if isinstance(size, int)]
    return whole if whole and len(whole) == len(sizes) else None


@rule("AveragePool", "MaxPool", "LpPool")
def pool(call: Call) -> list[Value]:
    """Each sample and channel by itself. Where a maximum was found is counted over the whole
    tensor, batch included."""
    value = call.input(0)
    if value.shape is None:
        return [same(), same()]
    channels = value.shape[1] if len(value.shape) > 1 else 1
    made = sized(call, value, _with_channels(call, value, channels))
    places = call.mixed("it counts places over the whole batch (output Indices)")
    return [made, places if value.has_rows else same(made.shape)]


@rule("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(call: Call) -> Value:
    value = call.input(0)
    if value.shape is None:
        return same()
    return sized(call, value, (*value.shape[:2], *([1] * (len(value.shape) - 2))))


@rule("MaxUnpool")
def max_unpool(call: Call) -> Value:
    return call.mixed("it counts places over the whole batch (input Indices)")


@rule("DepthToSpace", "SpaceToDepth")
def blocks(call: Call) -> Value:
    value, size = call.input(0), call.number("blocksize", 1)
    if value.shape is None or len(value.shape) != 4:
        return call.lost("it does not have four dimensions")
    batch, depth, height, width = value.shape
    if call.node.operator == "SpaceToDepth":
        parts = (divide(height, size), divide(width, size))
        shape = (batch, depth * size * size, *_or_some(call, parts))
    else:
        shape = (batch, *_or_some(call, (divide(depth, size * size),)), height * size, width * size)
    return sized(call, value, shape)


def _or_some(call: Call, sizes: Sequence[Dim | None]) -> list[Dim]:
    return [call.symbols.fresh() if size is None else size for size in sizes]


@rule("Resize", "Upsample", counts=(3,))
def resize(call: Call) -> Value:
    """By sizes, or by scales; along the rows nothing may change."""
    value = call.input(0)
    if any(one.has_rows for one in call.there()[1:]):
        return call.mixed("rows decide the size of what comes out")
    if value.shape is None:
        return same()
    if call.text("coordinate_transformation_mode") == "tf_crop_and_resize":
        return call.lost("it crops by a region of interest")
    if call.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        return call.lost("one size decides the others (keep_aspect_ratio_policy)")
    sizes = _resized(call, value.shape)
    if isinstance(sizes, Value):
        return sizes
    if not value.has_rows:
        return same(tuple(sizes))
    if sizes[value.axis] != value.shape[value.axis]:
        return call.mixed("it resizes along the rows")
    if not _is_outer(call, value.axis, len(sizes)):
        return call.mixed("it weighs each row with its neighbours, if only by 0: 0 * inf is NaN")
    return Value(Kind.ROWS, tuple(sizes), value.axis, value.block)


def _is_outer(call: Call, axis: int, rank: int) -> bool:
    """Whether an axis is out of the interpolation: kernels leave out the first where two or
    three others come behind a second."""
    return call.text("mode", "nearest") == "nearest" or (axis == 0 and rank >= 4)


def _resized(call: Call, shape: Shape) -> list[Dim] | Value:
    old = call.node.operator == "Upsample" or call.opset < 11
    axes = [normal(a, len(shape)) for a in call.integers("axes") or range(len(shape))]
    if not old and call.has(3) and call.input(3).shape != (0,):
        wanted = shape_of(call, 3)
        if isinstance(wanted, Value):
            return wanted
        new: list[Dim] = list(wanted)
    else:
        scales = _scales(call, 1 if old else 2)
        if scales is None:
            return call.lost("its scales are not known")
        new = [
            _scaled(call, shape[a], s) for a, s in zip(axes, scales, strict=False) if a is not None
        ]
    if len(new) != len(axes) or None in axes:
        return call.lost("its sizes do not fit")
    sizes = list(shape)
    for axis, size in zip(axes, new, strict=True):
        if axis is not None:
            sizes[axis] = size
    return sizes


def _scales(call: Call, place: int) -> list[float] | None:
    if call.has(place):
        data = call.input(place).data
        floats = [one for one in data or () if isinstance(one, float)]
        return floats if data is not None and len(floats) == len(data) else None
    given = call.tensor("scales")
    return list(given.floats) if given is not None and given.floats is not None else None


def _scaled(call: Call, size: Dim, scale: float) -> Dim:
    if scale == int(scale):
        return size * int(scale)
    return call.symbols.of(("scaled", size, scale))


@rule("GridSample")
@rule("GridSample", domain=MICROSOFT)
def grid_sample(call: Call) -> Value:
    """X and grid go along: both have the batch on axis 0."""
    value, grid = call.input(0), call.input(1)
    if not (value.has_rows and grid.has_rows):
        return call.lost("a constant serves every row")
    if value.axis != 0 or grid.axis != 0 or value.block != grid.block:
        return call.mixed(WINDOWS)
    places = (grid.shape or ())[1:-1]
    return rows((1, (value.shape or (0, 0))[1], *places), 0, value.block)


@rule("AffineGrid", counts=(1,))
def affine_grid(call: Call) -> Value:
    theta, sizes = call.input(0), call.input(1).numbers()
    if call.input(1).has_rows:
        return call.mixed("rows decide the size of what comes out")
    if sizes is None or not theta.has_rows:
        return call.lost("the shape it makes is not known")
    if theta.axis != 0 or (theta.shape or (0,))[0] != sizes[0]:
        return call.mixed(WINDOWS)
    return rows((1, *sizes[2:], len(sizes) - 2), 0, theta.block)


@rule("Col2Im")
def col2im(call: Call) -> Value:
    value, image = call.input(0), call.input(1).numbers()
    spoilt = only_first(call, call.there()[1:])
    if spoilt is not None:
        return spoilt
    places = image
    if places is None:
        size = call.input(1).shape
        if not size or not isinstance(size[0], int):
            return call.lost("it does not show how many dimensions it makes")
        places = [call.symbols.fresh() for _ in range(size[0])]
    return sized(call, value, (1, call.symbols.fresh(), *places))


@rule("RoiAlign", "MaxRoiPool")
def regions(call: Call) -> Value:
    """Regions name the image that they lie in by its place in the batch."""
    value = call.input(0)
    if value.has_rows:
        return call.mixed("regions point at images of the batch by number")
    return call.lost("there is no rule for regions of one constant image")


@rule("DFT", "STFT")
def fourier(call: Call) -> Value:
    """STFT: [batch, time, 1] -> [batch, frames, frequencies, 2]. DFT: along one axis."""
    value = call.input(0)
    spoilt = only_first(call, call.there()[1:])
    if spoilt is not None or value.shape is None:
        return spoilt or same()
    if call.node.operator == "STFT":
        return sized(call, value, (1, call.symbols.fresh(), call.symbols.fresh(), 2))
    axes = (
        call.input(2).ints() if call.has(2) else [call.number("axis", 1 if call.opset < 20 else -2)]
    )
    axis = normal(axes[0], len(value.shape)) if axes else None
    if axis is None or (value.has_rows and value.axis in (axis, len(value.shape) - 1)):
        return call.mixed("it takes the rows for time, or for frequencies")
    shape = [*value.shape[:-1], call.symbols.fresh()]
    shape[axis] = call.symbols.fresh()
    return (
        Value(Kind.ROWS, tuple(shape), value.axis, value.block)
        if value.has_rows
        else same(tuple(shape))
    )


@rule("ImageScaler", "Crop")
def old_images(call: Call) -> Value:
    value = call.input(0)
    if value.shape is None or call.node.operator == "ImageScaler":
        return on_axis_0(call, value)
    return sized(call, value, (*value.shape[:2], *(call.symbols.fresh() for _ in value.shape[2:])))
