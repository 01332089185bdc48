"""onnxruntime's own operators (``com.microsoft``) that work element by element or row by row."""

from __future__ import annotations

from collections.abc import Sequence

from serving.loading.batching.call import FILLED, MICROSOFT, Call, broadcast, normal, rule
from serving.loading.batching.rules.attention import go_along
from serving.loading.batching.rules.normalization import OWN_SCALE, on_axis_0
from serving.loading.batching.rules.reduction import along
from serving.loading.batching.symbols import Dim, divide
from serving.loading.batching.values import Kind, Shape, Value, rows, same

POINTING = "regions point at images of the batch by number"


def no_rows(call: Call, *places: int) -> Value | None:
    """What is wrong where one of these inputs, which are for all rows, comes from them."""
    found = any(call.input(place).has_rows for place in places)
    return call.mixed(OWN_SCALE) if found else None


def kept(value: Value, shape: Shape) -> Value:
    """The same rows, or none, where the other dimensions change."""
    return value.rows_like(shape, value.axis) if value.has_rows else same(shape)


def with_last(value: Value, size: Dim) -> Value:
    """``value``, of known rank, with another last dimension."""
    return kept(value, (*(value.shape or ())[:-1], size))


# Element by element.


@rule("Gelu", "QuickGelu", "ScaledSiLU", "MurmurHash3", "SampleOp", domain=MICROSOFT)
def unary(call: Call) -> Value:
    """SampleOp hands on what it gets. ScaledSiLU's scale is a scalar."""
    return no_rows(call, 1) or broadcast(call, [call.input(0)])


@rule("BiasGelu", "FastGelu", domain=MICROSOFT)
def biased(call: Call) -> Value:
    return broadcast(call, call.there())


def of_one_shape(call: Call, *places: int) -> Value | None:
    """What is wrong where one of these, which the operator does not stretch, has no rows."""
    fixed = any(call.has(place) and not call.input(place).has_rows for place in places)
    return call.never("it joins rows with something made for one number of rows") if fixed else None


@rule("BiasAdd", domain=MICROSOFT)
def bias_add(call: Call) -> Value:
    """(X, bias, what is added)."""
    return of_one_shape(call, 0, 2) or broadcast(call, call.there())


@rule("BiasSplitGelu", domain=MICROSOFT)
def split_gelu(call: Call) -> Value:
    """Half of the last dimension scales the other half."""
    return _halved(call, broadcast(call, call.there()))


@rule("SwiGLU", domain=MICROSOFT)
def swiglu(call: Call) -> Value:
    value = call.input(0)
    if not call.has(1):
        return _halved(call, value)
    return of_one_shape(call, 0, 1) or broadcast(call, call.there())


def _halved(call: Call, value: Value) -> Value:
    if value.spoilt or not value.shape:
        return value
    half = divide(value.shape[-1], 2)
    made = along(call, value, [-1])
    return made if made.spoilt else with_last(made, call.symbols.fresh() if half is None else half)


@rule("GatedAdd", domain=MICROSOFT)
def gated_add(call: Call) -> Value:
    """(X, Y, gate, gate weight): a gate for each place before the last dimension."""
    if call.has(3):
        return call.lost("there is no rule for a gate that it calculates")
    return of_one_shape(call, 0, 1, 2) or broadcast(call, call.there())


@rule("ComplexMul", "ComplexMulConj", domain=MICROSOFT)
def complex_product(call: Call) -> Value:
    """Real and imaginary part lie along the last dimension."""
    for value in call.there():
        if value.has_rows and value.from_right == 1:
            return call.mixed("it takes the rows for parts of a complex number")
    return of_one_shape(call, 0, 1) or broadcast(call, call.there())


@rule("BiasDropout", "BitmaskDropout", "BitmaskBiasDropout", domain=MICROSOFT, pure=False)
def dropout(call: Call) -> list[Value]:
    """(X, bias, what is added, ratio, whether it trains), or (X, ratio, whether it trains)."""
    biased_too = call.node.operator != "BitmaskDropout"
    training = 4 if biased_too else 2
    if call.has(training) and call.input(training).data != (False,):
        return [call.mixed("it drops elements at random (training_mode)")]
    parts = call.there()[:1] if not biased_too else [one for one in call.inputs[:3] if one]
    return [broadcast(call, parts), call.lost("which elements it drops is not followed")]


# Along some dimensions.


@rule("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=MICROSOFT)
def skip_normalization(call: Call) -> list[Value]:
    """(X, skip, scale, biases): over the last dimension of their sum, which is the fourth
    output; skip has X's last two dimensions."""
    value = call.input(0)
    if not value.has_rows:
        return [call.lost("rows come in by what it adds only")]
    made = no_rows(call, 2, 3, 4) or along(call, value, [-1])
    if not made.spoilt and value.from_right < 3:
        made = of_one_shape(call, 1) or made
    summed = made if made.spoilt else broadcast(call, [made, call.input(1)])
    figure = call.lost("figures for training are not followed")
    return [summed, figure, figure, summed]


@rule("GatedRMSNorm", domain=MICROSOFT)
def gated_norm(call: Call) -> Value:
    """(X, scale, gate): over groups within the last dimension."""
    value = call.input(0)
    made = no_rows(call, 1) or along(call, value, [-1])
    return (
        made if made.spoilt else of_one_shape(call, 0, 2) or broadcast(call, [made, call.input(2)])
    )


@rule("BranchwiseRMSNorm", domain=MICROSOFT)
def branch_norm(call: Call) -> Value:
    """Over the last dimension, or parts of it, with a scale for each place, or of the last two."""
    axes = [-1] if call.number("num_branches") else [-1, -2]
    return no_rows(call, 1) or along(call, call.input(0), axes)


@rule("GroupNorm", "SkipGroupNorm", domain=MICROSOFT)
def group_norm(call: Call) -> list[Value]:
    """(X, scale, shift, skip, bias): each image by itself; what is added goes along."""
    value = call.input(0)
    spoilt = no_rows(call, 1, 2, 4) or (go_along(call, value, 3) if call.has(3) else None)
    made = spoilt or on_axis_0(call, value)
    return [made, made]


@rule("Rfft", "Irfft", domain=MICROSOFT)
def fourier(call: Call) -> Value:
    """Over the last dimensions of the signal; Irfft takes one more, the parts of a complex
    number, which Rfft adds."""
    value, count = call.input(0), call.number("signal_ndim", 1)
    if value.shape is None:
        return same()
    back = call.node.operator == "Irfft"
    made = along(call, value, [-1 - at for at in range(count + back)])
    if made.spoilt:
        return made
    some = call.symbols.fresh()
    return kept(made, (*value.shape[:-2], some) if back else (*value.shape[:-1], some, 2))


@rule("UnfoldTensor", domain=MICROSOFT)
def unfold(call: Call) -> Value:
    """Windows along one dimension; what is in them goes into a new last one."""
    value, axis = call.input(0), call.number("dim", -1)
    made = along(call, value, [axis])
    if made.spoilt or value.shape is None:
        return made
    shape = [*value.shape, call.number("size")]
    at = normal(axis, len(value.shape))
    if at is None:
        return call.lost("its axis does not fit")
    shape[at] = call.symbols.fresh()
    return kept(made, tuple(shape))


# Embeddings and texts.


@rule("TorchEmbedding", "GatherPacked", domain=MICROSOFT)
def embedding(call: Call) -> Value:
    """TorchEmbedding: (weight, indices); GatherPacked: (packed rows, indices)."""
    table, indices = call.input(0), call.input(1)
    wide: Dim = call.number("K") or (table.shape[1] if table.rank == 2 and table.shape else 0)
    if call.node.operator == "TorchEmbedding" and not wide:
        wide = call.symbols.fresh()
    return looked_up(call, table, indices, (wide,), 0)


@rule("GatherBlockQuantized", domain=MICROSOFT)
def gather_quantized(call: Call) -> Value:
    """(data, indices, scales, zero points): Gather; packed data have another last dimension."""
    table, indices = call.input(0), call.input(1)
    spoilt = no_rows(call, 2, 3)
    if spoilt is not None or table.shape is None:
        return spoilt or call.lost("its input's rank is not known")
    axis = normal(call.number("gather_axis"), len(table.shape))
    if axis is None:
        return call.lost("its axis does not fit")
    others: list[Dim] = [size for at, size in enumerate(table.shape) if at != axis]
    if others:
        others[-1] = call.symbols.fresh()
    return looked_up(call, table, indices, others, axis)


def looked_up(call: Call, table: Value, indices: Value, others: Sequence[Dim], axis: int) -> Value:
    """``others``: the table's dimensions but the one that is indexed, ``axis``."""
    if table.has_rows:
        return call.mixed("rows bring the table that it looks up")
    if indices.shape is None:
        return call.lost("its indices' rank is not known")
    shape = (*others[:axis], *indices.shape, *others[axis:])
    if not indices.has_rows:
        return same(shape)
    return indices.rows_like(shape, axis + indices.axis)


@rule("EmbedLayerNormalization", "QEmbedLayerNormalization", domain=MICROSOFT)
def embed_normalization(call: Call) -> list[Value]:
    """(ids, segments, tables, ..., mask, positions or scales): the batch on axis 0. Makes
    [batch, sequence, hidden], the mask's length for each row, and the sum."""
    value, positions = call.input(0), call.input(8)
    quantized = call.node.operator.startswith("Q")
    spoilt = no_rows(call, *range(2, 7), *(range(8, 18) if quantized else ()))
    spoilt = spoilt or go_along(call, value, 1, 7)
    for_all = not positions.has_rows and positions.shape is not None and positions.shape[:1] == (1,)
    if not quantized and not for_all:
        spoilt = spoilt or go_along(call, value, 8)
    if spoilt is not None or value.shape is None:
        return [spoilt or same()]
    table = call.input(2)
    wide: Dim = table.shape[1] if table.shape and len(table.shape) == 2 else call.symbols.fresh()
    made = rows((*value.shape, wide), 0, value.block)
    return [made, rows((1,), 0, value.block), made]


@rule("Tokenizer", domain=MICROSOFT)
def tokenizer(call: Call) -> Value:
    """[n] -> [n, words], filled up with ``pad_value``. With marks, an empty text is two of them,
    but nothing where all texts are empty."""
    value = call.input(0)
    if not value.has_rows or value.shape is None:
        return same()
    if len(value.shape) != 1 or call.number("mark"):
        return call.mixed(FILLED)
    shape = (*value.shape, call.symbols.fresh())
    return Value(Kind.PADDED, shape, 0, value.block, fill=call.text("pad_value"))


@rule("NGramRepeatBlock", domain=MICROSOFT)
def no_repetition(call: Call) -> Value:
    """(ids, scores), the batch on axis 0 of both."""
    return go_along(call, call.input(0), 1) or on_axis_0(call, call.input(1))


@rule("NGramHashMapping", domain=MICROSOFT)
def ngram_hashes(call: Call) -> list[Value]:
    """(ids, multipliers, sizes, past, offsets, end of sequence, segments): each row by itself."""
    value = call.input(0)
    spoilt = no_rows(call, 1, 2, 4, 5) or go_along(call, value, 3, 6)
    if spoilt is not None or value.shape is None:
        return [spoilt or same()]
    some = call.symbols.fresh
    return [rows((*value.shape, some()), 0, value.block), rows((1, some()), 0, value.block)]


# Rows that meet.


@rule("IsAllFinite", domain=MICROSOFT)
def all_finite(call: Call) -> Value:
    return call.mixed("it takes all rows together")


@rule("CropAndResize", domain=MICROSOFT)
def crop(call: Call) -> Value:
    return call.mixed(POINTING)


@rule("CDist", domain=MICROSOFT)
def distances(call: Call) -> Value:
    """[a, n], [b, n] -> [a, b]: of each of the first to each of the second."""
    left, right = call.input(0), call.input(1)
    if left.has_rows and right.has_rows:
        return call.mixed("it compares rows with rows")
    for at, value in enumerate((left, right)):
        if value.has_rows and value.axis == 1:
            return call.mixed("it takes the rows for features")
        if value.has_rows:
            sizes = [one.shape[0] if one.shape else call.symbols.fresh() for one in (left, right)]
            return Value(Kind.ROWS, tuple(sizes), at, value.block)
    return same()


@rule("RelativePositionBias", domain=MICROSOFT)
def relative_positions(call: Call) -> Value:
    """(table, query length, key length) -> [1, heads, query, key]."""
    if any(value.has_rows for value in call.there()):
        return call.mixed("rows decide how long it is")
    table, some = call.input(0), call.symbols.fresh
    heads = table.shape[1] if table.shape and len(table.shape) == 2 else some()
    return same((1, heads, some(), some()))


@rule("GatedRelativePositionBias", domain=MICROSOFT)
def gated_positions(call: Call) -> Value:
    """(query [batch, sequence, hidden], ...) -> [batch, heads, sequence, sequence]."""
    value = call.input(0)
    spoilt = no_rows(call, *range(1, 6)) or go_along(call, value)
    if spoilt is not None or value.shape is None:
        return spoilt or same()
    if call.has(6) or len(value.shape) != 3:
        return call.lost("there is no rule for its packed form")
    length = value.shape[1]
    return rows((1, call.number("num_heads"), length, length), 0, value.block)
