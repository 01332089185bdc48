"""Operators that pick, or write to, elements by their place."""

from __future__ import annotations

from tests.batching.pairs import COUNT, COUNTS, Pair, beside, case

_ROW_NUMBERS = COUNT + "o = Constant<value_int=1>() p = Range(z0, n, o) a = Unsqueeze(p, z1) "
_WITH_INDICES = "float[n,4] x, int64[n,2] i"

PAIRS = [
    Pair(
        "Gather",
        case("y = Gather(w, x)", "float[2,2] w = {1, 2, 3, 4}", inputs="int64[n] x"),
        beside("r = Gather(x, i)", "int64[1] i = {0}"),
    ),
    Pair(
        "GatherElements",
        case("y = GatherElements<axis=1>(x, i)", inputs=_WITH_INDICES),
        case("y = GatherElements<axis=0>(x, i)", inputs=_WITH_INDICES, top=1),
    ),
    Pair(
        "GatherND",
        case(
            "y = GatherND<batch_dims=1>(x, i)",
            inputs="float[n,4] x, int64[n,1] i",
            output="float[n] y",
        ),
        case("y = GatherND(x, i)", inputs="float[n,4] x, int64[n,1] i", top=1),
    ),
    *(
        Pair(
            name,
            case(
                f"y = {name}<axis=1>(x, i, u)", inputs=f"{_WITH_INDICES}, float[n,2] u", opset=opset
            ),
            case(
                f"y = {name}<axis=0>(x, i, u)",
                inputs=f"{_WITH_INDICES}, float[n,2] u",
                top=1,
                opset=opset,
            ),
        )
        for name, opset in (("ScatterElements", 16), ("Scatter", 10))
    ),
    Pair(
        "ScatterND",
        case(
            _ROW_NUMBERS + "y = ScatterND(x, a, u)",
            "int64[1] z1 = {1}",
            inputs="float[n,4] x, float[n,4] u",
        ),
        case("y = ScatterND(x, i, u)", "int64[1,1] i = {0}, float[1,4] u = {1, 2, 3, 4}"),
    ),
    Pair(
        "Slice",
        case("y = Slice(x, a, b, a)", "int64[1] a = {1}, int64[1] b = {3}"),
        beside("r = Slice(x, a, b, a)", "int64[1] a = {0}, int64[1] b = {1}"),
    ),
    Pair(
        "Slice",
        case(
            "s = Shape(x) l = Gather(s, a) p = Slice(i, z, l, a) e = Gather(w, p) y = Add(x, e)",
            "int64[1,3] i = {2, 1, 0}, int64[1] z = {0}, int64[1] a = {1}, float[3] w = {1, 2, 3}",
            inputs="float[n,s] x",
            sizes={"s": 2},
        ),
        case(
            "s = Shape(x) l = Gather(s, z) p = Slice(i, z, l, a) y = Add(x, p)",
            "float[1,3] i = {2, 1, 0}, int64[1] z = {0}, int64[1] a = {1}",
            inputs="float[n,1] x",
        ),
    ),
    Pair(
        "Pad",
        case("y = Pad(x, p)", "int64[4] p = {0, 1, 0, 2}"),
        case("y = Pad(x, p)", "int64[4] p = {1, 0, 0, 0}"),
    ),
    Pair(
        "CenterCropPad",
        case("y = CenterCropPad<axes=[1]>(x, l)", "int64[1] l = {2}", opset=18),
        beside("r = CenterCropPad<axes=[0]>(x, l)", "int64[1] l = {1}", opset=18),
    ),
    Pair(
        "ReverseSequence",
        case(
            "y = ReverseSequence<batch_axis=0, time_axis=1>(x, l)",
            inputs="float[n,4] x, int64[n] l",
            top=5,
        ),
        case(
            COUNTS + "l = Expand(ns, f) y = ReverseSequence<batch_axis=1, time_axis=0>(x, l)",
            "int64[1] f = {4}",
        ),
    ),
    Pair(
        "OneHot",
        case("y = OneHot(x, d, v)", "int64 d = {3}, float[2] v = {0, 1}", inputs="int64[n] x"),
        case(COUNT + "y = OneHot(x, n, v)", "float[2] v = {0, 1}", inputs="int64[n] x"),
    ),
    Pair(
        "TensorScatter",
        case(
            "y = TensorScatter(x, u, p)",
            inputs="float[n,4,2] x, float[n,1,2] u, int64[n] p",
            output="float[n,4,2] y",
            opset=24,
        ),
        case(
            "r = TensorScatter(c, x) y = Add(x, r)",
            "float[1,1,4] c = {1, 2, 3, 4}",
            inputs="float[n,1,4] x",
            output="float[n,1,4] y",
            opset=24,
        ),
    ),
    Pair(
        "TopK",
        case("y, i = TopK<axis=-1>(x, k)", "int64[1] k = {2}"),
        beside("r, i = TopK<axis=0>(x, k)", "int64[1] k = {1}"),
    ),
    Pair(
        "Compress",
        case("y = Compress<axis=1>(x, c)", "bool[4] c = {1, 0, 0, 1}"),
        beside("r = Compress<axis=0>(x, c)", "bool[1] c = {1}"),
    ),
    Pair(
        "NonZero",
        case(
            COUNTS
            + "c = ConstantOfShape<value = float[1] {1}>(ns) p = NonZero(c) i = Reshape(p, m)"
            " y = Gather(x, i)",
            "int64[1] m = {-1}",
        ),
        case("i = NonZero(x) y = Transpose(i)", inputs="float[n] x", output="int64[m,1] y"),
    ),
    Pair(
        "Unique",
        "how many come out depends on the data",
        case("y = Unique(x)", inputs="float[n] x", output="float[m] y"),
    ),
    Pair("NonMaxSuppression", "how many come out depends on the data", "as Unique"),
]
