"""Shapes, and tensors made of sizes."""

from __future__ import annotations

from tests.batching.pairs import COUNT, COUNTS, Pair, beside, case

ELSEWHERE = "it only puts rows on another axis; what follows joins them"

PAIRS = [
    Pair("Shape", case("s = Shape(x) y = Reshape(x, s)"), "it only says how many there are"),
    Pair(
        "Size",
        case(
            "c = Size(x) d = Div(c, f) l = Concat<axis=0>(d, f) y = Reshape(x, l)",
            "int64[1] f = {4}",
        ),
        "it only says how many there are",
    ),
    Pair(
        "Reshape",
        case(
            "a = Reshape(x, h) y = Reshape(a, w)", "int64[3] h = {0, 2, -1}, int64[2] w = {-1, 4}"
        ),
        beside("r = Reshape(x, w)", "int64[2] w = {1, 4}"),
    ),
    Pair(
        "Flatten",
        case("y = Flatten(x)", inputs="float[n,2,3] x"),
        case("t = Transpose(x) y = Flatten<axis=2>(t)"),
    ),
    Pair(
        "Squeeze",
        case("y = Squeeze(x, a)", "int64[1] a = {-1}", inputs="float[n,4,1] x"),
        beside("r = Squeeze(x, a)", "int64[1] a = {0}"),
    ),
    Pair(
        "Unsqueeze",
        case("y = Unsqueeze(x, a)", "int64[1] a = {-1}", output="float[n,4,1] y"),
        ELSEWHERE,
    ),
    Pair(
        "Transpose",
        case("t = Transpose(x) r = Relu(t) y = Transpose(r)"),
        ELSEWHERE,
    ),
    Pair(
        "Expand",
        case(
            COUNTS + "w = Concat<axis=0>(ns, f) e = Expand(o, w) y = Add(x, e)",
            "int64[1] f = {4}, float o = {1}",
        ),
        beside("e = Expand(x, w) r = ReduceMax<axes=[0]>(e)", "int64[2] w = {3, 4}"),
    ),
    Pair(
        "Tile",
        case("y = Tile(x, t)", "int64[2] t = {1, 2}"),
        case("y = Tile(x, t)", "int64[2] t = {2, 1}"),
    ),
    Pair(
        "Split",
        case("a, b = Split<axis=1>(x) y = Add(a, b)"),
        case("y, b = Split<axis=0>(x, p)", "int64[2] p = {1, 0}"),
    ),
    Pair("Constant", case("c = Constant<value_float=2.0>() y = Mul(x, c)"), "it has no inputs"),
    Pair(
        "ConstantOfShape",
        case("s = Shape(x) c = ConstantOfShape<value = float[1] {1}>(s) y = Add(x, c)"),
        beside(
            COUNTS
            + "m = Add(ns, o) w = Concat<axis=0>(m, o) c = ConstantOfShape<value = float[1] {1}>(w)"
            " r = ReduceSum(c)",
            "int64[1] o = {1}",
        ),
    ),
    Pair(
        "Range",
        case(COUNT + "o = Constant<value_int=1>() p = Range(z0, n, o) y = Gather(x, p)"),
        beside(
            COUNT + "o = Constant<value_int=1>() p = Range(o, n, o) c = Cast<to=1>(p)"
            " r = ReduceSum<keepdims=0>(c)",
        ),
    ),
    Pair("EyeLike", "what it makes depends on a row's place alone", case("y = EyeLike(x)")),
    Pair(
        "Trilu",
        case("y = Trilu(x)", inputs="float[n,3,3] x", output="float[n,3,3] y"),
        case("y = Trilu(x)"),
    ),
    Pair(
        "HannWindow",
        case("w = HannWindow(f) y = Mul(x, w)", "int64 f = {4}"),
        beside(COUNT + "w = HannWindow(n) r = ReduceSum(w)"),
    ),
    Pair(
        "MelWeightMatrix",
        case(
            "w = MelWeightMatrix(b, l, r, e, h) y = MatMul(x, w)",
            "int64 b = {4}, int64 l = {16}, int64 r = {8192}, float e = {0}, float h = {4096}",
            inputs="float[n,9] x",
        ),
        "as HannWindow",
    ),
    Pair(
        "Concat",
        case("y = Concat<axis=1>(x, x)"),
        case("y = Concat<axis=0>(x, x)"),
    ),
]
