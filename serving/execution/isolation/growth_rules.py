"""Whether values are bounded that operators make sizes of, and which operators do that.

What is known of a tensor's values is a set of bits. ``UPPER``, ``LOWER``: whatever a request
brings, they have an upper, a lower bound that follows from the request's own size. ``SHAPED``:
they are made of nothing but constants and shapes. A size with the bit ``UPPER`` can't be made
enormous by what stands in a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from serving.execution.onnx_constants import BOOL, FLOAT, INT64
from serving.execution.onnx_nodes import Node

UPPER, LOWER, SHAPED = 1, 2, 4
FREE = 0
BOUNDED = UPPER | LOWER
FIXED = BOUNDED | SHAPED

KNOWN_DOMAINS = frozenset(("", "com.microsoft", "ai.onnx.ml"))

# Operator -> the inputs whose values say how large its output is; Range has a rule of its own.
_EVERY_BUT_DATA = tuple(range(1, 8))
SIZES: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("ConstantOfShape", "HannWindow", "HammingWindow", "BlackmanWindow"), (0,)),
    **dict.fromkeys(("Expand", "OneHot", "CenterCropPad", "AffineGrid", "DFT", "Pad"), (1,)),
    **dict.fromkeys(("Tile", "Resize", "Upsample"), _EVERY_BUT_DATA),
    "Col2Im": (1, 2),
    "STFT": (1, 3),
    "MelWeightMatrix": (0, 1),
    "MaxUnpool": (2,),
    # An image is larger than its file; and a table of texts is as wide as its longest row.
    **dict.fromkeys(("ImageDecoder", "StringSplit", "Tokenizer"), (0,)),
    "CropAndResize": (3,),
    "GroupQueryAttention": (6,),
    "GreedySearch": (1,),
    "Sampling": (1,),
    **dict.fromkeys(("BeamSearch", "WhisperBeamSearch"), (1, 3, 4)),
}
# Their graphs are run by rules of their own.
GENERATORS = frozenset(("GreedySearch", "Sampling", "BeamSearch", "WhisperBeamSearch"))
# Run in a loop on their own result, they make it longer with each turn.
LENGTHENING = frozenset(
    (
        *("Concat", "ConcatFromSequence", "SequenceInsert", "StringConcat"),
        *("Tile", "Pad", "Expand", "Resize", "Upsample"),
    )
)

# Shapes, whatever the values are.
_SHAPES = frozenset(("Shape", "Size", "SequenceLength"))
# Numbers of elements, places, probabilities: small, whatever they are made of.
_SMALL = frozenset(
    (
        *("NonZero", "ArgMax", "ArgMin", "NonMaxSuppression", "Hardmax", "Sign", "TfIdfVectorizer"),
        *("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Not", "Xor"),
        *("IsNaN", "IsInf", "RegexFullMatch", "OptionalHasElement", "Bernoulli"),
        *("Sigmoid", "HardSigmoid", "Tanh", "Erf", "Sin", "Cos", "Asin", "Acos", "Atan"),
        *("Softmax", "Multinomial", "RandomNormalLike", "RandomUniformLike", "EyeLike"),
    )
)
# Operator -> the outputs that are such numbers, where not all of them are.
_SMALL_OUTPUTS = {"TopK": 1, "Unique": 1, "MaxPool": 1, "Dropout": 1, "StringSplit": 1}
# Of bounded values they make what no size of a request bounds.
_EXPLODING = frozenset(
    ("Exp", "Pow", "Reciprocal", "Tan", "Sinh", "Cosh", "Atanh", "BitShift", "Inverse")
)
# Operator -> the inputs whose values it hands on as they are.
_MOVING: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(
        (
            *("Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Expand"),
            *("Tile", "Gather", "GatherElements", "GatherND", "Slice", "Split", "Compress"),
            *("Trilu", "ReverseSequence", "DepthToSpace", "SpaceToDepth", "SplitToSequence"),
            *("SequenceAt", "SequenceErase", "ConcatFromSequence", "Optional", "TopK", "Unique"),
            *("OptionalGetElement", "ReduceMax", "ReduceMin", "MaxPool", "GlobalMaxPool"),
            *("Dropout", "ArrayFeatureExtractor", "CenterCropPad"),
        ),
        (0,),
    ),
    "Where": (1, 2),
    "Pad": (0, 2),
    "OneHot": (2,),
    "SequenceInsert": (0, 1),
    "Concat": (),
    "SequenceConstruct": (),
}
# Types that hold a value of any size that is bounded on one side.
_WIDE = frozenset((FLOAT, 11, INT64))


def meet(bits: Sequence[int]) -> int:
    """What is true of all of them."""
    found = FIXED
    for one in bits:
        found &= one
    return found


def output_bits(node: Node, inputs: Sequence[int]) -> list[int]:
    """Of each output of a node without graphs. ``inputs``: FIXED for those that are left out."""
    first = _first(node, inputs)
    small = _SMALL_OUTPUTS.get(node.operator, len(node.outputs))
    taint = meet(inputs) & SHAPED
    return [first if place < small else BOUNDED | taint for place in range(len(node.outputs))]


def _first(node: Node, inputs: Sequence[int]) -> int:
    operator, both = node.operator, meet(inputs)
    if both & SHAPED or (operator in _SHAPES and node.domain in KNOWN_DOMAINS):
        return FIXED
    if node.domain not in KNOWN_DOMAINS or operator in _EXPLODING:
        return FREE
    if operator in _SMALL:
        return BOUNDED
    if operator in _OWN:
        return _OWN[operator](node, inputs)
    if operator in _MOVING:
        # What is picked by a request's values hangs on them, whatever it is picked out of.
        places = _MOVING[operator] or range(len(inputs))
        return meet([inputs[at] for at in places if at < len(inputs)]) & ~SHAPED
    return both if both & BOUNDED == BOUNDED else FREE


def _cast(node: Node, inputs: Sequence[int]) -> int:
    bits, to = inputs[0], node.numbers.get("to", 0)
    if to == BOOL:
        return BOUNDED
    if bits & BOUNDED == BOUNDED:
        return bits
    # What does not fit wraps around; what is far below becomes the smallest integer.
    return bits & UPPER if to in _WIDE else FREE


def _least(node: Node, inputs: Sequence[int]) -> int:
    any_upper = any(bits & UPPER for bits in inputs)
    return meet(inputs) & ~UPPER | (UPPER if any_upper else 0)


def _greatest(node: Node, inputs: Sequence[int]) -> int:
    any_lower = any(bits & LOWER for bits in inputs)
    return meet(inputs) & ~LOWER | (LOWER if any_lower else 0)


def _clip(node: Node, inputs: Sequence[int]) -> int:
    bits = inputs[0]
    floor = inputs[1] if _is_given(node, 1) else FIXED if "min" in node.floats else None
    top = inputs[2] if _is_given(node, 2) else FIXED if "max" in node.floats else None
    bits = bits if floor is None else _greatest(node, (bits, floor))
    return bits if top is None else _least(node, (bits, top))


def _is_given(node: Node, place: int) -> bool:
    return place < len(node.inputs) and bool(node.inputs[place])


def _relu(node: Node, inputs: Sequence[int]) -> int:
    return inputs[0] & BOUNDED | LOWER


def _abs(node: Node, inputs: Sequence[int]) -> int:
    return BOUNDED if inputs[0] & BOUNDED == BOUNDED else LOWER


def _quotient(node: Node, inputs: Sequence[int]) -> int:
    """By a number that a request may make as small as it likes, it is as large as it likes."""
    whole = len(inputs) == 2 and inputs[1] & SHAPED and inputs[0] & BOUNDED == BOUNDED
    return BOUNDED if whole else FREE


def _scattered(node: Node, inputs: Sequence[int]) -> int:
    bits = meet((inputs[0], inputs[-1]))
    added = node.texts.get("reduction", "none") != "none"
    return bits if not added or bits & BOUNDED == BOUNDED else FREE


_OWN: Mapping[str, Callable[[Node, Sequence[int]], int]] = {
    "Cast": _cast,
    "CastLike": _cast,
    "Min": _least,
    "Max": _greatest,
    "Clip": _clip,
    "Relu": _relu,
    "Abs": _abs,
    "Div": _quotient,
    **dict.fromkeys(("ScatterND", "ScatterElements", "Scatter"), _scattered),
}
