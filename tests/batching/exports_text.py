"""Transformers and sequence networks in the nodes that PyTorch and Keras exporters write."""

from __future__ import annotations

import numpy as np

from .build import BOOL, I32, I64, F, Feeds, Graph, Zoo, f32, feeds, i64, rng, weights
from .exports_vision import PYTORCH
from .independent_layers import dense, layer_norm
from .independent_shapes import additive_mask, attention, dim, heads, shape

zoo = Zoo()
entries = zoo.entries
HUGGING_FACE = "Hugging Face-like"
FOREVER = 2**63 - 1
VOCABULARY = weights(12, 4, seed=9) * 2


def text(rows: int, length: int = 6) -> Feeds:
    ids = rng(rows).integers(1, 12, size=(rows, length))
    mask = np.tril(np.ones((length, length), np.int64))[length - rows :]
    return feeds(i64(ids), i64(mask), names="input_ids attention_mask")


TEXTS = [text(1), text(3)]
IDS = [{"input_ids": one["input_ids"]} for one in TEXTS]


def tokens(g: Graph) -> tuple[str, str]:
    ids = g.input("input_ids", "batch", "sequence", kind=I64)
    return ids, g.input("attention_mask", "batch", "sequence", kind=I64)


def positions(g: Graph, ids: str, table: np.ndarray) -> str:
    """The first rows of a table of positions, as many as the text is long."""
    end = g.op("Unsqueeze", dim(g, ids, 1), [0])
    places = g.op("Slice", i64([range(len(table))]), [0], end, [1], [1])
    return g.op("Gather", table, places)


def gelu(g: Graph, x: str) -> str:
    half = g.op("Add", g.op("Erf", g.op("Div", x, 1.4142135)), 1.0)
    return g.op("Mul", g.op("Mul", x, half), 0.5)


def feed_forward(g: Graph, x: str, size: int = 4) -> str:
    return dense(g, gelu(g, dense(g, x, size, 2 * size)), 2 * size, size)


def encoder(g: Graph, x: str, mask: str = "") -> str:
    x = layer_norm(g, g.op("Add", x, attention(g, x, mask)), 4)
    return layer_norm(g, g.op("Add", x, feed_forward(g, x)), 4)


def bert_body(g: Graph, ids: str, mask: str) -> str:
    kinds = g.op("ConstantOfShape", g.op("Shape", ids), value=zero())
    x = g.op("Add", g.op("Gather", VOCABULARY, ids), g.op("Gather", weights(2, 4), kinds))
    x = g.op("Add", x, positions(g, ids, weights(16, 4, seed=3)))
    return encoder(g, encoder(g, layer_norm(g, x, 4), mask), mask)


def zero() -> object:
    from onnx import helper

    return helper.make_tensor("zero", I64, [1], [0])


@zoo.add(HUGGING_FACE, *TEXTS)
def bert_for_classes(g: Graph) -> None:
    ids, mask = tokens(g)
    x = bert_body(g, ids, additive_mask(g, mask))
    first = g.op("Tanh", dense(g, g.op("Gather", x, np.int64(0), axis=1), 4, 4))
    g.output(g.op("Gemm", first, weights(3, 4), weights(3), transB=1), "batch", 3)


@zoo.add(HUGGING_FACE, *TEXTS)
def bert_for_tokens(g: Graph) -> None:
    ids, mask = tokens(g)
    x = bert_body(g, ids, additive_mask(g, mask))
    g.output(dense(g, x, 4, 3), "batch", "sequence", 3)


@zoo.add(HUGGING_FACE, *TEXTS)
def sentence_embedding_by_the_mean_of_tokens(g: Graph) -> None:
    """As all-MiniLM is exported: mean by the mask, then the L2 norm with its floor."""
    ids, mask = tokens(g)
    x = bert_body(g, ids, additive_mask(g, mask))
    wide = g.op("Expand", g.op("Unsqueeze", mask, [-1]), g.op("Shape", x))
    wide = g.op("Cast", wide, to=F)
    total = g.op("ReduceSum", g.op("Mul", x, wide), [1], keepdims=0)
    mean = g.op("Div", total, g.op("Clip", g.op("ReduceSum", wide, [1], keepdims=0), 1e-9))
    norm = g.op("Clip", g.op("ReduceL2", mean, axes=[1], keepdims=1), 1e-12)
    g.output(g.op("Div", mean, g.op("Expand", norm, g.op("Shape", mean))), "batch", 4)


@zoo.add(HUGGING_FACE, *TEXTS)
def roberta_with_places_from_its_mask(g: Graph) -> None:
    ids, mask = tokens(g)
    kept = g.op("Cast", g.op("Not", g.op("Equal", ids, np.int64(1))), to=I32)
    places = g.op("Mul", g.op("CumSum", kept, np.int64(1)), kept)
    places = g.op("Add", g.op("Cast", places, to=I64), np.int64(1))
    x = g.op("Add", g.op("Gather", VOCABULARY, ids), g.op("Gather", weights(12, 4), places))
    x = encoder(g, layer_norm(g, x, 4), additive_mask(g, mask))
    g.output(g.op("Gather", x, np.int64(0), axis=1), "batch", 4)


@zoo.add(HUGGING_FACE, *TEXTS)
def distilbert_with_a_mask_expanded_by_where(g: Graph) -> None:
    """masked_fill with a mask viewed as [n, 1, 1, s] and expanded like the scores."""
    ids, mask = tokens(g)
    x = g.op("Add", g.op("Gather", VOCABULARY, ids), positions(g, ids, weights(16, 4)))
    q, k, v = (heads(g, dense(g, x, 4, 4, seed=s), x, 2, 2) for s in (1, 2, 3))
    scores = g.op("MatMul", g.op("Div", q, 1.4142), g.op("Transpose", k, perm=[0, 1, 3, 2]))
    view = shape(g, dim(g, x, 0), 1, 1, dim(g, x, 1))
    dropped = g.op("Reshape", g.op("Equal", mask, np.int64(0)), view)
    dropped = g.op("Expand", dropped, g.op("Shape", scores))
    scores = g.op("Where", g.op("Cast", dropped, to=BOOL), f32(-3.4e38), scores)
    z = g.op("MatMul", g.op("Softmax", scores, axis=-1), v)
    z = g.op("Transpose", z, perm=[0, 2, 1, 3])
    z = g.op("Reshape", z, shape(g, dim(g, x, 0), -1, 4))
    g.output(g.op("Gather", z, np.int64(0), axis=1), "batch", 4)


def causal(g: Graph, scores: str) -> str:
    """GPT-2: a piece of a constant triangle, cut by the lengths of query and key."""
    triangle = np.tril(np.ones((1, 1, 16, 16), bool))
    q, k = dim(g, scores, 2), dim(g, scores, 3)
    start = g.op("Unsqueeze", g.op("Sub", k, q), [0])
    end = g.op("Unsqueeze", k, [0])
    piece = g.op("Slice", triangle, start, end, [2], [1])
    piece = g.op("Slice", piece, [0], end, [3], [1])
    return g.op("Where", piece, scores, f32(-3.4e38))


@zoo.add(HUGGING_FACE, *TEXTS)
def gpt2_logits(g: Graph) -> None:
    ids, mask = tokens(g)
    flat = g.op("Reshape", ids, shape(g, -1, dim(g, ids, 1)))
    x = g.op("Add", g.op("Gather", VOCABULARY, flat), positions(g, ids, weights(16, 4)))
    whole = g.op("Reshape", layer_norm(g, x, 4), [-1, 4])
    qkv = g.op("Gemm", whole, weights(4, 12), weights(12))
    qkv = g.op("Reshape", qkv, shape(g, dim(g, x, 0), dim(g, x, 1), 12))
    q, k, v = (heads(g, one, x, 2, 2) for one in g.ops("Split", qkv, [4, 4, 4], outputs=3, axis=2))
    scores = causal(g, g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2])))
    scores = g.op("Softmax", g.op("Add", scores, additive_mask(g, mask)), axis=-1)
    z = g.op("Transpose", g.op("MatMul", scores, v), perm=[0, 2, 1, 3])
    z = g.op("Reshape", z, shape(g, dim(g, x, 0), dim(g, x, 1), 4))
    logits = g.op("MatMul", g.op("Add", x, z), np.ascontiguousarray(VOCABULARY.T))
    g.output(logits, "batch", "sequence", 12)


@zoo.add(HUGGING_FACE, *TEXTS)
def gpt2_class_of_its_last_token(g: Graph) -> None:
    ids, _ = tokens(g)
    x = g.op("Add", g.op("Gather", VOCABULARY, ids), positions(g, ids, weights(16, 4)))
    logits = dense(g, encoder(g, x), 4, 3)
    padding = g.op("Cast", g.op("Equal", ids, np.int64(0)), to=I32)
    last = g.op("Sub", g.op("ArgMax", padding, axis=-1, keepdims=0), np.int64(1))
    length = dim(g, ids, 1)
    last = g.op("Sub", last, g.op("Mul", g.op("Div", last, length), length))
    place = g.op("Range", np.int64(0), dim(g, ids, 0), np.int64(1))
    pairs = g.op("Concat", *(g.op("Unsqueeze", one, [-1]) for one in (place, last)), axis=-1)
    g.output(g.op("GatherND", logits, pairs), "batch", 3)


def past(rows: int) -> Feeds:
    made = [f32(rng(seed).normal(size=(rows, 2, 3, 2))) for seed in (4, 5)]
    return feeds(*made, names="past_key past_value")


PAST = [IDS[0] | past(1), IDS[1] | past(3)]


@zoo.add(HUGGING_FACE, *PAST)
def decoder_with_rotary_places_and_a_past(g: Graph) -> None:
    """LLaMA-like: the past is joined on the third axis, the angles come from the lengths."""
    ids = g.input("input_ids", "batch", "sequence", kind=I64)
    past_k, past_v = (g.input(f"past_{one}", "batch", 2, "past", 2) for one in ("key", "value"))
    x = g.op("Gather", VOCABULARY, ids)
    old = dim(g, past_k, 2)
    total = g.op("Add", old, dim(g, ids, 1))
    places = g.op("Unsqueeze", g.op("Range", old, total, np.int64(1)), [0])
    angles = g.op("Mul", g.op("Unsqueeze", g.op("Cast", places, to=F), [-1]), f32([[[1, 0.1]]]))
    angles = g.op("Unsqueeze", angles, [1])

    def rotated(value: str) -> str:
        left = g.op("Slice", value, [0], [1], [3], [1])
        right = g.op("Slice", value, [1], [FOREVER], [3], [1])
        turned = g.op("Concat", g.op("Neg", right), left, axis=-1)
        straight = g.op("Mul", value, g.op("Cos", angles))
        return g.op("Add", straight, g.op("Mul", turned, g.op("Sin", angles)))

    q, k, v = (heads(g, dense(g, x, 4, 4, seed=s), x, 2, 2) for s in (1, 2, 3))
    k = g.op("Concat", past_k, rotated(k), axis=2)
    v = g.op("Concat", past_v, v, axis=2)
    scores = causal(g, g.op("MatMul", rotated(q), g.op("Transpose", k, perm=[0, 1, 3, 2])))
    z = g.op("Transpose", g.op("MatMul", g.op("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
    z = g.op("Reshape", z, shape(g, dim(g, x, 0), dim(g, x, 1), 4))
    g.output(dense(g, z, 4, 12), "batch", "sequence", 12)
    g.output(k, "batch", 2, "total", 2)
    g.output(v, "batch", 2, "total", 2)


@zoo.add(HUGGING_FACE, *TEXTS)
def t5_encoder_with_relative_places(g: Graph) -> None:
    """Buckets of distances from Range, Log and Min: the same for all rows."""
    ids, mask = tokens(g)
    x = g.op("Gather", VOCABULARY, ids)
    row = g.op("Range", np.int64(0), dim(g, ids, 1), np.int64(1))
    far = g.op("Sub", g.op("Unsqueeze", row, [0]), g.op("Unsqueeze", row, [1]))
    side = g.op("Mul", g.op("Cast", g.op("Greater", far, np.int64(0)), to=I64), np.int64(4))
    near = g.op("Abs", far)
    large = g.op("Log", g.op("Div", g.op("Cast", near, to=F), 2.0))
    large = g.op("Add", g.op("Cast", g.op("Mul", large, 2.0), to=I64), np.int64(2))
    limit = g.op("ConstantOfShape", g.op("Shape", large), value=three())
    large = g.op("Min", large, limit)
    bucket = g.op("Add", side, g.op("Where", g.op("Less", near, np.int64(2)), near, large))
    bias = g.op("Gather", weights(8, 2), bucket)
    bias = g.op("Unsqueeze", g.op("Transpose", bias, perm=[2, 0, 1]), [0])
    bias = g.op("Add", bias, additive_mask(g, mask))
    mean = g.op("ReduceMean", g.op("Pow", x, 2.0), axes=[-1])
    norm = g.op("Mul", x, g.op("Div", 1.0, g.op("Sqrt", g.op("Add", mean, 1e-6))))
    g.output(g.op("Add", x, attention(g, norm, bias)), "batch", "sequence", 4)


def three() -> object:
    from onnx import helper

    return helper.make_tensor("three", I64, [1], [3])


PIXELS = [f32(rng(s).normal(size=(s, 3, 8, 8))) for s in (1, 3)]
PAIRS = [one | {"pixel_values": pixels} for one, pixels in zip(TEXTS, PIXELS, strict=True)]


@zoo.add(HUGGING_FACE, *PAIRS)
def clip_with_an_embedding_for_each_tower(g: Graph) -> None:
    ids, mask = tokens(g)
    pixels = g.input("pixel_values", "batch", 3, 8, 8)
    x = encoder(g, g.op("Gather", VOCABULARY, ids), additive_mask(g, mask))
    end = g.op("ArgMax", ids, axis=-1, keepdims=0)
    place = g.op("Range", np.int64(0), dim(g, x, 0), np.int64(1))
    pairs = g.op("Concat", *(g.op("Unsqueeze", one, [-1]) for one in (place, end)), axis=-1)
    said = g.op("MatMul", g.op("GatherND", x, pairs), weights(4, 3))
    z = g.op("Conv", pixels, weights(4, 3, 4, 4), strides=[4, 4])
    z = g.op("Transpose", g.op("Reshape", z, shape(g, dim(g, z, 0), 4, -1)), perm=[0, 2, 1])
    seen = g.op("MatMul", g.op("ReduceMean", encoder(g, z), axes=[1], keepdims=0), weights(4, 3))
    for value in (said, seen):
        norm = g.op("ReduceL2", value, axes=[-1], keepdims=1)
        g.output(g.op("Div", value, norm), "batch", 3)


@zoo.add(PYTORCH, *TEXTS, opset=18)
def bert_of_the_newer_exporter(g: Graph) -> None:
    """torch.onnx's dynamo exporter: Shape with start and end, scaled_dot_product_attention."""
    ids, mask = tokens(g)
    n, s = (g.op("Shape", ids, start=a, end=a + 1) for a in (0, 1))
    wide = g.op("Concat", n, [1], s, s, axis=0)
    kept = g.op("Cast", g.op("Unsqueeze", mask, [1, 2]), to=BOOL)
    kept = g.op("Expand", kept, wide)
    x = g.op("Gather", VOCABULARY, ids)
    into = g.op("Concat", n, s, [2], [2], axis=0)
    q, k, v = (
        g.op("Transpose", g.op("Reshape", dense(g, x, 4, 4, seed=i), into), perm=[0, 2, 1, 3])
        for i in (1, 2, 3)
    )
    flat = g.op("Reshape", k, g.op("Concat", [-1], s, [2], axis=0))
    turned = g.op("Transpose", flat, perm=[0, 2, 1])
    turned = g.op("Reshape", turned, g.op("Concat", n, [2, 2], s, axis=0))
    bias = g.op("Where", kept, f32(0), f32(-np.inf))
    scores = g.op("Add", g.op("MatMul", g.op("Mul", q, 0.84), turned), bias)
    z = g.op("Softmax", scores, axis=-1)
    z = g.op("Where", g.op("IsNaN", z), f32(0), z)
    z = g.op("Transpose", g.op("MatMul", z, v), perm=[0, 2, 1, 3])
    z = g.op("Reshape", z, g.op("Concat", n, s, [4], axis=0))
    g.output(layer_norm(g, g.op("Add", x, z), 4), "batch", "sequence", 4)
