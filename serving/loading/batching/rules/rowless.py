"""Operators that never keep rows apart, and those without a rule."""

from __future__ import annotations

from serving.loading.batching.call import FILLED, ML, Call, rule, without_rule
from serving.loading.batching.values import Element, Kind, Value, same

_RANDOM = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")


@rule(*_RANDOM, "Bernoulli", "Multinomial", pure=False, counts=(0,))
def random(call: Call) -> Value:
    return call.mixed("it draws at random, which no batch repeats")


@rule("DynamicQuantizeLinear")
def dynamic_quantize(call: Call) -> list[Value]:
    value = call.input(0)
    if not value.has_rows:
        return [same(value.shape), same(()), same(())]
    return [
        call.mixed(
            "it takes one scale from all values of the batch: use static quantisation,"
            " or a scale for each row"
        )
    ]


@rule("NonZero")
def non_zero(call: Call) -> Value:
    """[rank, found]. Of a constant as long as rows run it is each row's number."""
    value = call.input(0)
    if not value.has_rows:
        return same((len(value.shape), call.symbols.fresh()) if value.shape is not None else None)
    known = value.fill is not None and value.fill != 0 and value.kind is Kind.ROWS
    if known and value.shape is not None and len(value.shape) == 1 and value.block == 1:
        return Value(Kind.PLACE, (1, *value.shape), 1, 1)
    return call.never("how many rows come out depends on the data")


@rule("Unique", "NonMaxSuppression")
@rule("Unique", domain="com.microsoft")
def by_data(call: Call) -> Value:
    return call.never("how many rows come out depends on the data")


@rule("StringNormalizer")
def string_normalizer(call: Call) -> Value:
    """[n] or [1, n]. Stop words fall out, and with them their places."""
    value = call.input(0)
    if call.texts("stopwords"):
        return call.never("its stop words fall out: how many come out depends on the data")
    if not value.has_rows:
        return same(value.shape)
    if len(value.shape or ()) != 1:
        return call.never("it takes one row only")
    return Value(Kind.ROWS, value.shape, value.axis, value.block)


@rule("TfIdfVectorizer", padded=True)
def tf_idf(call: Call) -> Value:
    """[n, words] -> [n, terms]; a vector is one row. Words that are in no term count nothing,
    and neither does what a row is filled up with, if it is none of them."""
    value = call.input(0)
    padded = value.kind is Kind.PADDED
    if padded and not _ignores(call, value.fill):
        return call.mixed(FILLED)
    if not (value.has_rows or padded) or value.shape is None:
        return same()
    if len(value.shape) != 2 or value.axis != 0:
        return call.mixed("it takes a vector for one row")
    return Value(Kind.ROWS, (value.shape[0], call.symbols.fresh()), 0, value.block)


def _ignores(call: Call, fill: Element | None) -> bool:
    """Whether no term has the word ``fill``."""
    pool = call.texts("pool_strings")
    if not isinstance(fill, str) or pool is None:
        return False
    return fill.encode(errors="surrogateescape") not in pool


@rule("StringSplit")
def string_split(call: Call) -> list[Value]:
    """The last dimension is as long as the longest of all; the lengths are each their own."""
    value = call.input(0)
    if not value.has_rows:
        return [same(), same(value.shape)]
    lengths = Value(Kind.ROWS, value.shape, value.axis, value.block)
    return [call.mixed("it fills up to the longest of the batch"), lengths]


_SEQUENCES = (
    *("SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert"),
    *("SequenceLength", "SequenceMap", "SplitToSequence", "ConcatFromSequence"),
)
without_rule("rows are not followed through sequences", *_SEQUENCES)
without_rule(
    "rows are not followed through optional values",
    *("Optional", "OptionalGetElement", "OptionalHasElement"),
)
without_rule(
    "a loss over a batch is no answer for a row",
    *("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"),
)
without_rule("it reads one image, not a batch", "ImageDecoder")
without_rule(
    "it is of onnxruntime's own and no exporter makes it",
    *("DynamicSlice", "GRUUnit", "GivenTensorFill"),
)
without_rule(
    "it is TensorRT's",
    *("DisentangledAttention_TRT", "EfficientNMS_TRT", "MultilevelCropAndResize_TRT"),
    "PyramidROIAlign_TRT",
)
without_rule("maps are no tensors", "CastMap", "DictVectorizer", "ZipMap", domain=ML)
