"""Products of matrices, reductions and normalisations."""

from __future__ import annotations

from tests.batching.pairs import Pair, beside, case

_W = "float[4,2] w = {1, 2, 3, 4, 5, 6, 7, 8}"
_BYTES = "uint8[4,2] w = {1, 2, 3, 4, 5, 6, 7, 8}"
_SCALES = "float s = {0.5}, float l = {9}, uint8 z = {3}"
_TO_ONE = "t = Transpose(x) "
_REDUCED = (
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean"),
    *("ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"),
)
# [n, 3] as one image, or one sequence, of which the rows are the channels.
_CHANNELS = "u = Unsqueeze(x, z0) "
_BACK = " y = Squeeze(q, z0)"

PRODUCTS = [
    Pair(
        "MatMul", case("y = MatMul(x, w)", _W), case(_TO_ONE + "g = MatMul(t, x) y = MatMul(x, g)")
    ),
    Pair(
        "MatMulInteger",
        case("y = MatMulInteger(x, w)", _BYTES, inputs="uint8[n,4] x", output="int32[n,k] y"),
        case(
            _TO_ONE + "g = MatMulInteger(t, x) r = ReduceSum(g) c = Cast<to=6>(x) y = Add(c, r)",
            inputs="uint8[n,4] x",
            output="int32[n,k] y",
        ),
    ),
    Pair(
        "QLinearMatMul",
        case(
            "y = QLinearMatMul(x, s, z, w, s, z, l, z)",
            f"{_BYTES}, {_SCALES}",
            inputs="uint8[n,4] x",
            output="uint8[n,k] y",
        ),
        case(
            _TO_ONE + "g = QLinearMatMul(t, s, z, x, s, z, s, z)"
            " y = QLinearMatMul(x, s, z, g, s, z, s, z)",
            "float s = {1}, uint8 z = {0}",
            inputs="uint8[n,4] x",
            output="uint8[n,k] y",
        ),
    ),
    Pair(
        "Gemm",
        case(
            "y = Gemm<transB=1>(x, w, c)",
            "float[2,4] w = {1, 2, 3, 4, 5, 6, 7, 8}, float[2] c = {1, 2}",
        ),
        case("g = Gemm<transA=1>(x, x) y = MatMul(x, g)"),
    ),
    Pair(
        "Einsum",
        case('y = Einsum<equation="ij,jk->ik">(x, w)', _W),
        case('g = Einsum<equation="ij,ik->jk">(x, x) y = MatMul(x, g)'),
    ),
    Pair(
        "Einsum",
        case(
            'y = Einsum<equation="...ij, ...kj">(x, w)',
            "float[1,2,4] w = {1, 2, 3, 4, 5, 6, 7, 8}",
            inputs="float[n,3,4] x",
            output="float[n,k,l] y",
        ),
        case('g = Einsum<equation="i..., ij">(x, x) y = MatMul(x, g)'),
    ),
    Pair(
        "Det",
        case("y = Det(x)", inputs="float[n,3,3] x", output="float[n] y"),
        beside("r = Det(x)", inputs="float[n,1] x"),
    ),
]

REDUCTIONS = [
    *(
        Pair(
            name,
            case(f"y = {name}<axes=[1]>(x)", opset=11),
            beside(f"r = {name}<axes=[0]>(x)", opset=11),
        )
        for name in _REDUCED
    ),
    *(
        Pair(
            name,
            case(f"y = {name}<axis=1>(x)", output="int64[n,k] y"),
            beside(f"i = {name}(x) r = Cast<to=1>(i)"),
        )
        for name in ("ArgMax", "ArgMin")
    ),
    *(
        Pair(name, case(f"y = {name}(x)"), case(f"y = {name}<axis=0>(x)"))
        for name in ("Softmax", "LogSoftmax", "Hardmax")
    ),
    *(
        Pair(f"{name}", case(f"y = {name}(x)", opset=11), case(f"y = {name}<axis=0>(x)", opset=11))
        for name in ("Softmax", "LogSoftmax", "Hardmax")
    ),
    Pair(
        "CumSum",
        case("y = CumSum(x, a)", "int64 a = {1}"),
        case("y = CumSum(x, a)", "int64 a = {0}"),
    ),
    Pair("CumProd", "onnxruntime's CPU provider has no kernel for it", "as CumSum"),
    Pair("LpNormalization", case("y = LpNormalization(x)"), case("y = LpNormalization<axis=0>(x)")),
    Pair(
        "MeanVarianceNormalization",
        case("y = MeanVarianceNormalization<axes=[1]>(x)"),
        case(
            "y = MeanVarianceNormalization(x)",
            inputs="float[n,2,3,3] x",
            output="float[n,2,3,3] y",
        ),
    ),
]

_NORM = "float[2] w = {1, 2}, float[2] b = {0, 1}"
_ONE = "int64[1] z0 = {0}, float[1] w = {2}, float[1] b = {1}"
_SIGNAL = {"inputs": "float[n,2,3] x", "output": "float[n,2,3] y"}

NORMALISATIONS = [
    Pair(
        "BatchNormalization",
        case("y = BatchNormalization(x, w, b, b, w)", _NORM, **_SIGNAL),
        case(_CHANNELS + "q = BatchNormalization(u, w, b, b, w)" + _BACK, _ONE),
    ),
    Pair(
        "InstanceNormalization",
        case("y = InstanceNormalization(x, w, b)", _NORM, **_SIGNAL),
        case(_CHANNELS + "q = InstanceNormalization(u, w, b)" + _BACK, _ONE),
    ),
    Pair(
        "GroupNormalization",
        case("y = GroupNormalization<num_groups=1>(x, w, b)", _NORM, opset=21, **_SIGNAL),
        case(_CHANNELS + "q = GroupNormalization<num_groups=1>(u, w, b)" + _BACK, _ONE, opset=21),
    ),
    Pair(
        "LRN",
        case("y = LRN<size=3>(x)", inputs="float[n,2,3,3] x", output="float[n,2,3,3] y"),
        case(
            _CHANNELS + "q = LRN<size=3>(u)" + _BACK,
            "int64[1] z0 = {0}",
            inputs="float[n,3,3] x",
            output="float[n,3,3] y",
        ),
    ),
    Pair(
        "LayerNormalization",
        case("y = LayerNormalization(x, w)", "float[4] w = {1, 2, 3, 4}"),
        case("y = LayerNormalization<axis=0>(x, x)"),
    ),
    Pair(
        "RMSNormalization",
        case("y = RMSNormalization(x, w)", "float[4] w = {1, 2, 3, 4}", opset=23),
        case("y = RMSNormalization<axis=0>(x, x)", opset=23),
    ),
    Pair(
        "SimplifiedLayerNormalization",
        case("y = SimplifiedLayerNormalization(x, w)", "float[4] w = {1, 2, 3, 4}"),
        case("y = SimplifiedLayerNormalization<axis=0>(x, x)"),
    ),
]

PAIRS = [*PRODUCTS, *REDUCTIONS, *NORMALISATIONS]
