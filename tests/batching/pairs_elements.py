"""Operators that work element by element, arithmetic, and quantisation."""

from __future__ import annotations

from tests.batching.pairs import COUNT, Pair, at_opset, beside, case

ALONE = "it works on each element by itself"
NO_KERNEL = "onnxruntime's CPU provider has no kernel for it"

_PLAIN = (
    *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Celu", "Cos", "Cosh"),
    *("Elu", "Erf", "Exp", "Floor", "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Reciprocal"),
    *("Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Softplus", "Softsign", "Sqrt"),
    *("Tanh", "ThresholdedRelu", "Identity", "Neg"),
)
_NEW = {"Gelu": 20, "Mish": 18}
_OLD = ("ParametricSoftplus", "ScaledTanh")
# Kernels round these otherwise by a row's place: shown on small numbers.
_ROUNDED = ("Sin", "Sinh", "Tan")
_SMALL = {"x": [[0.1, 0.2, 0.3, 0.4], [0, 1, 0.5, 0.25], [-1, -0.5, 0.75, 0], [0, 0, 0, 0]]}

UNARY = [
    *(Pair(name, case(f"y = {name}(x)"), ALONE) for name in _PLAIN),
    *(Pair(name, case(f"y = {name}(x)", opset=opset), ALONE) for name, opset in _NEW.items()),
    *(Pair(n, case(f"y = {n}<alpha=0.5, beta=2.0>(x)", opset=9), ALONE) for n in _OLD),
    *(Pair(name, case(f"y = {name}(x)", given=_SMALL), ALONE) for name in _ROUNDED),
    *(Pair(n, case(f"y = {n}(x)", output="bool[n,k] y"), ALONE) for n in ("IsInf", "IsNaN")),
    Pair("Not", case("y = Not(x)", inputs="bool[n,4] x", output="bool[n,k] y"), ALONE),
    Pair(
        "BitwiseNot",
        case("y = BitwiseNot(x)", inputs="int32[n,4] x", output="int32[n,k] y", opset=18),
        ALONE,
    ),
    Pair(
        "RegexFullMatch",
        case(
            'y = RegexFullMatch<pattern="b.*">(x)',
            inputs="string[n,2] x",
            output="bool[n,k] y",
            opset=20,
        ),
        ALONE,
    ),
    *(Pair(n, NO_KERNEL, ALONE) for n in ("Swish", "BitCast", "Affine", "Scale")),
    *(Pair(n, "onnxruntime puts it in itself", ALONE) for n in ("MemcpyFromHost", "MemcpyToHost")),
]

_SQUARE = "a = Constant<value_ints=[1]>() u = Unsqueeze(x, a) "


def _binary(name: str, kind: str = "float", out: str = "") -> Pair:
    """On [n, 4], and of [n, 1] against [n], which is [n, n]."""
    output = f"{out or kind}[n,k] y"
    return Pair(
        name,
        case(f"y = {name}(x, x)", inputs=f"{kind}[n,4] x", output=output),
        case(_SQUARE + f"y = {name}(u, x)", inputs=f"{kind}[n] x", output=output),
    )


_BITS = ("BitwiseAnd", "BitwiseOr", "BitwiseXor")
_COMPARED = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")

BINARY = [
    *(_binary(name) for name in ("Add", "Sub", "Mul", "Div", "Sum", "Min", "Max", "Pow", "Mean")),
    *(_binary(name, out="bool") for name in _COMPARED),
    *(_binary(name, "bool") for name in ("And", "Or", "Xor")),
    *(at_opset(18, _binary(name, "int32")) for name in _BITS),
    Pair(
        "Mod",
        case("y = Mod<fmod=1>(x, x)"),
        case(_SQUARE + "y = Mod<fmod=1>(u, x)", inputs="float[n] x"),
    ),
    Pair(
        "BitShift",
        case('y = BitShift<direction="LEFT">(x, x)', inputs="uint8[n,4] x", output="uint8[n,k] y"),
        case(
            _SQUARE + 'y = BitShift<direction="LEFT">(u, x)',
            inputs="uint8[n] x",
            output="uint8[n,k] y",
        ),
    ),
    at_opset(20, _binary("StringConcat", "string")),
    Pair(
        "PRelu",
        case("y = PRelu(x, w)", "float[4] w = {1, 2, 3, 4}"),
        "onnxruntime broadcasts both ways, more than the specification asks",
    ),
    Pair("SwiGLU", NO_KERNEL, NO_KERNEL),
    Pair(
        "Where",
        case("c = Less(x, w) y = Where(c, x, w)", "float[4] w = {1, 0, -1, 1}"),
        case(_SQUARE + "c = Less(x, x) y = Where(c, u, x)", inputs="float[n] x"),
    ),
]

OTHERS = [
    Pair(
        "Clip",
        case("y = Clip(x, w)", "float w = {0.5}"),
        case(COUNT + "y = Clip(x, n)", inputs="int64[n,4] x", output="int64[n,k] y"),
    ),
    Pair(
        "Cast",
        case("y = Cast<to=7>(x)", inputs="int32[n,4] x", output="int64[n,k] y"),
        beside(COUNT + "r = Cast<to=1>(n)"),
    ),
    Pair(
        "CastLike",
        case("y = CastLike(x, w)", "float w = {0}"),
        beside(COUNT + "r = CastLike(n, x)"),
    ),
    Pair(
        "Dropout",
        case("y = Dropout(x)"),
        case("y = Dropout(x, a, t)", "float a = {0.5}, bool t = {1}"),
    ),
    Pair(
        "QuantizeLinear",
        case("y = QuantizeLinear(x, w)", "float[4] w = {1, 2, 3, 4}", output="uint8[n,k] y"),
        case(
            "f = Reshape(x, m) a = Abs(f) w = Add(a, o) y = QuantizeLinear<axis=1>(x, w)",
            "int64[1] m = {-1}, float o = {1}",
            inputs="float[n,1] x",
            output="uint8[n,k] y",
        ),
    ),
    Pair(
        "DequantizeLinear",
        case("y = DequantizeLinear(x, w)", "float[4] w = {1, 2, 3, 4}", inputs="uint8[n,4] x"),
        "as QuantizeLinear",
    ),
    Pair(
        "DynamicQuantizeLinear",
        case(
            "q, s, z = DynamicQuantizeLinear(w) r = DequantizeLinear(q, s, z) y = Mul(x, r)",
            "float[4] w = {1, 2, 3, 4}",
        ),
        case("q, s, z = DynamicQuantizeLinear(x) y = DequantizeLinear(q, s, z)"),
    ),
]

PAIRS = [*UNARY, *BINARY, *OTHERS]
