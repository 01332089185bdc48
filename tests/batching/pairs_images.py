"""Images and signals."""

from __future__ import annotations

from tests.batching.pairs import Pair, beside, case

_NUMBER = "it takes images of the batch by number"
# [n, 4] as one signal of n channels; [n] as one signal of n steps.
_CHANNELS = "u = Unsqueeze(x, z0) "
_STEPS = "u = Unsqueeze(x, z0) "
_BACK = " y = Squeeze(q, z0)"
_TO_ONE = " r = ReduceMax<keepdims=0>(q)"
_Z = "int64[1] z0 = {0}"
_ZZ = "int64[2] z0 = {0, 1}"
_SIGNAL = {"inputs": "float[n,1,4] x", "output": "float[n,k,l] y"}
_IMAGE = {"inputs": "float[n,1,3,3] x", "output": "float[n,k,l,m] y"}
_BYTES = {"inputs": "uint8[n,1,4] x", "output": "uint8[n,k,l] y"}
_Q = "float s = {1}, uint8 z = {0}"

CONVOLUTIONS = [
    Pair(
        "Conv",
        case("y = Conv<strides=[2], pads=[1,1]>(x, w)", "float[2,1,2] w = {1, 2, 3, 4}", **_SIGNAL),
        beside(_CHANNELS + "q = Conv(u, w)" + _TO_ONE, f"{_Z}, float[1,1,2] w = {{1, 2}}"),
    ),
    Pair(
        "ConvInteger",
        case(
            "y = ConvInteger(x, w)",
            "uint8[2,1,2,2] w = {1, 2, 3, 4, 5, 6, 7, 8}",
            inputs="uint8[n,1,3,3] x",
            output="int32[n,k,l,m] y",
        ),
        "as Conv",
    ),
    Pair(
        "QLinearConv",
        case(
            "y = QLinearConv(x, s, z, w, s, z, s, z)",
            f"uint8[2,1,2] w = {{1, 2, 3, 4}}, {_Q}",
            **_BYTES,
        ),
        case(
            _CHANNELS + "q = QLinearConv(u, s, z, w, s, z, s, z)" + _TO_ONE + " y = Max(x, r)",
            f"{_Z}, uint8[1,1,2] w = {{1, 2}}, {_Q}",
            inputs="uint8[n,4] x",
            output="uint8[n,k] y",
        ),
    ),
    Pair(
        "ConvTranspose",
        case("y = ConvTranspose<strides=[2]>(x, w)", "float[1,2,2] w = {1, 2, 3, 4}", **_SIGNAL),
        beside(_CHANNELS + "q = ConvTranspose(u, w)" + _TO_ONE, f"{_Z}, float[1,1,2] w = {{1, 2}}"),
    ),
    Pair(
        "DeformConv",
        case(
            "y = DeformConv(x, w, o)",
            "float[1,1,2,2] w = {1, 2, 3, 4}",
            inputs="float[n,1,3,3] x, float[n,8,2,2] o",
            output="float[n,k,l,m] y",
            opset=19,
        ),
        case(
            "c = ConstantOfShape(h) y = DeformConv(x, w, c)",
            "float[1,1,2,2] w = {1, 2, 3, 4}, int64[4] h = {1, 8, 2, 2}",
            opset=19,
            **_IMAGE,
        ),
    ),
]

POOLS = [
    *(
        Pair(
            name,
            case(f"y = {name}<kernel_shape=[2], strides=[2]>(x)", **_SIGNAL),
            case(
                _STEPS + f"q = {name}<kernel_shape=[2], pads=[0,1]>(u)" + _BACK,
                _ZZ,
                inputs="float[n] x",
                output="float[n] y",
            ),
        )
        for name in ("AveragePool", "MaxPool", "LpPool")
    ),
    *(
        Pair(
            name,
            case(f"y = {name}(x)", **_SIGNAL),
            case(
                _STEPS + f"g = {name}(u) r = Squeeze(g, z0) y = Add(x, r)",
                _ZZ,
                inputs="float[n] x",
                output="float[n] y",
            ),
        )
        for name in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
    ),
    Pair(
        "MaxUnpool",
        "it counts places over the whole batch",
        case(
            "y = MaxUnpool<kernel_shape=[2], strides=[2]>(x, i)",
            inputs="float[n,1,2] x, int64[n,1,2] i",
            output="float[n,k,l] y",
        ),
    ),
    Pair(
        "RoiAlign",
        _NUMBER,
        beside(
            "r = RoiAlign<output_height=1, output_width=1>(x, b, i)",
            "float[1,4] b = {0, 0, 2, 2}, int64[1] i = {0}",
            **_IMAGE,
        ),
    ),
    Pair(
        "MaxRoiPool",
        _NUMBER,
        beside(
            "r = MaxRoiPool<pooled_shape=[1,1]>(x, b)", "float[1,5] b = {0, 0, 0, 2, 2}", **_IMAGE
        ),
    ),
]

_FLIPPED = {"inputs": "float[n,2,2] x", "output": "float[n,k] y"}
_GRID = "float[n,1,3,3] x, float[n,2,2,2] g"

PLACES = [
    Pair(
        "DepthToSpace",
        case(
            "y = DepthToSpace<blocksize=2>(x)", inputs="float[n,4,2,2] x", output="float[n,k,l,m] y"
        ),
        "as SpaceToDepth",
    ),
    Pair(
        "SpaceToDepth",
        case(
            "y = SpaceToDepth<blocksize=2>(x)", inputs="float[n,1,2,2] x", output="float[n,k,l,m] y"
        ),
        case(
            _CHANNELS + "q = SpaceToDepth<blocksize=2>(u) y = Reshape(q, w)",
            f"{_Z}, int64[2] w = {{-1, 4}}",
            **_FLIPPED,
        ),
    ),
    Pair(
        "Resize",
        case('y = Resize<mode="linear">(x,, f)', "float[4] f = {1, 1, 2, 1.5}", **_IMAGE),
        case("y = Resize(x,, f)", "float[2] f = {2, 1}"),
    ),
    Pair(
        "Upsample",
        case("y = Upsample(x, f)", "float[4] f = {1, 1, 2, 2}", opset=9, **_IMAGE),
        case("y = Upsample(x, f)", "float[2] f = {2, 1}", opset=9),
    ),
    Pair(
        "GridSample",
        case("y = GridSample(x, g)", inputs=_GRID, output="float[n,k,l,m] y"),
        beside("q = GridSample(x, g)" + _TO_ONE, "float[1,1,1,2] g = {0.5, 0.5}", **_IMAGE),
    ),
    Pair(
        "AffineGrid",
        case(
            "s = Shape(x) n = Gather(s, z) l = Concat<axis=0>(n, h) y = AffineGrid(x, l)",
            "int64[1] z = {0}, int64[3] h = {1, 2, 2}",
            inputs="float[n,2,3] x",
            output="float[n,k,l,m] y",
            opset=20,
        ),
        case(
            "r = AffineGrid(x, l) c = ReduceMax<keepdims=0>(r) y = Add(x, c)",
            "int64[4] l = {1, 1, 2, 2}",
            inputs="float[n,2,3] x",
            output="float[n,2,3] y",
            opset=20,
        ),
    ),
    Pair(
        "Col2Im",
        case(
            "y = Col2Im(x, i, b)",
            "int64[2] i = {3, 3}, int64[2] b = {2, 2}",
            inputs="float[n,4,4] x",
            output="float[n,k,l,m] y",
            opset=18,
        ),
        beside(
            "t = Transpose(x) u = Unsqueeze(t, z0) q = Col2Im(u, b, b) r = Reshape(q, w)",
            f"{_Z}, int64[2] b = {{2, 2}}, int64[1] w = {{-1}}",
            opset=18,
        ),
    ),
    Pair(
        "DFT",
        case("y = DFT(x)", inputs="float[n,4,1] x", output="float[n,k,l] y"),
        case(_STEPS + "q = DFT(u)" + _BACK, _Z, inputs="float[n,1] x", output="float[n,k] y"),
    ),
    Pair(
        "STFT",
        case(
            "y = STFT(x, h, w)",
            "int64 h = {2}, float[4] w = {1, 2, 2, 1}",
            inputs="float[n,8,1] x",
            output="float[n,k,l,m] y",
        ),
        "as DFT",
    ),
    Pair(
        "ImageScaler",
        case("y = ImageScaler<bias=[1.0], scale=2.0>(x)", opset=9, **_IMAGE),
        beside(
            "u = Unsqueeze<axes=[0]>(x) q = ImageScaler<bias=[1.0]>(u)" + _TO_ONE,
            opset=9,
            inputs="float[n,3,3] x",
            output="float[n,3,3] y",
        ),
    ),
    Pair(
        "Crop",
        case("y = Crop<border=[1,1,1,1]>(x)", opset=9, **_IMAGE),
        "as ImageScaler",
    ),
]

PAIRS = [*CONVOLUTIONS, *POOLS, *PLACES]
