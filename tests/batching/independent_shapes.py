"""Independent rows behind shape arithmetic, slices, subgraphs and functions."""

from __future__ import annotations

import numpy as np

from .build import BOOL, I32, I64, F, Graph, Zoo, f32, feeds, i64, rng, weights
from .independent_layers import A_TWO, B_ONE, IDS, IMAGES, STEPS, dense, layer_norm

zoo = Zoo()
SHAPES = "shape arithmetic"


def dim(g: Graph, x: str, axis: int) -> str:
    """One dimension as PyTorch takes it: a scalar of Shape, unsqueezed where it is used."""
    return g.op("Gather", g.op("Shape", x), np.int64(axis), axis=0)


def shape(g: Graph, *dims: str | int) -> str:
    parts = [g.op("Unsqueeze", one, [0]) if isinstance(one, str) else [one] for one in dims]
    return g.op("Concat", *parts, axis=0)


def heads(g: Graph, x: str, source: str, count: int, size: int) -> str:
    """[n, s, count * size] -> [n, count, s, size], dimensions from ``source``."""
    into = shape(g, dim(g, source, 0), dim(g, source, 1), count, size)
    return g.op("Transpose", g.op("Reshape", x, into), perm=[0, 2, 1, 3])


def attention(g: Graph, x: str, mask: str = "", size: int = 4) -> str:
    """Self-attention of two heads, in the nodes that PyTorch exports."""
    half = size // 2
    q, k, v = (heads(g, dense(g, x, size, size, seed=s), x, 2, half) for s in (1, 2, 3))
    scores = g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2]))
    scores = g.op("Div", scores, float(np.sqrt(half)))
    if mask:
        scores = g.op("Add", scores, mask)
    mixed = g.op("MatMul", g.op("Softmax", scores, axis=-1), v)
    mixed = g.op("Transpose", mixed, perm=[0, 2, 1, 3])
    z = g.op("Reshape", mixed, shape(g, dim(g, x, 0), dim(g, x, 1), size))
    return dense(g, z, size, size, seed=4)


def additive_mask(g: Graph, mask: str) -> str:
    """[n, s] of 0 and 1 -> [n, 1, 1, s] of 0 and -10000."""
    z = g.op("Cast", g.op("Unsqueeze", mask, [1, 2]), to=F)
    return g.op("Mul", g.op("Sub", 1.0, z), -10000.0)


@zoo.add(SHAPES, *STEPS)
def attention_of_pytorch(g: Graph) -> None:
    x = g.input("x", "n", "s", 4)
    g.output(layer_norm(g, g.op("Add", x, attention(g, x)), 4), "n", "s", 4)


MASKED = [
    feeds(one["x"], i64(np.tril(np.ones((5, 5)))[2 : 2 + len(one["x"])]), names="x mask")
    for one in STEPS
]


@zoo.add(SHAPES, *MASKED)
def attention_with_an_additive_mask(g: Graph) -> None:
    x, mask = g.input("x", "n", "s", 4), g.input("mask", "n", "s", kind=I64)
    g.output(attention(g, x, additive_mask(g, mask)), "n", "s", 4)


@zoo.add(SHAPES, *MASKED)
def mask_expanded_by_where_equal_minus_one(g: Graph) -> None:
    """PyTorch's expand(-1, ...): Equal and Where on a shape."""
    x, mask = g.input("x", "n", "s", 4), g.input("mask", "n", "s", kind=I64)
    wanted = shape(g, dim(g, x, 0), -1, dim(g, x, 1), dim(g, x, 1))
    same = g.op("Equal", wanted, [-1])
    ones = g.op("ConstantOfShape", g.op("Shape", wanted), value=one_int64())
    into = g.op("Where", same, ones, wanted)
    wide = g.op("Expand", g.op("Unsqueeze", mask, [1, 2]), into)
    scores = g.op("Unsqueeze", g.op("MatMul", x, g.op("Transpose", x, perm=[0, 2, 1])), [1])
    low = g.op("Where", g.op("Equal", wide, np.int64(0)), f32(-10000.0), scores)
    z = g.op("MatMul", g.op("Softmax", low, axis=3), g.op("Unsqueeze", x, [1]))
    g.output(g.op("Squeeze", z, [1]), "n", "s", 4)


def one_int64() -> object:
    from onnx import helper

    return helper.make_tensor("one", I64, [1], [1])


@zoo.add(SHAPES, *STEPS)
def causal_attention(g: Graph) -> None:
    x = g.input("x", "n", "s", 4)
    s = dim(g, x, 1)
    ones = g.op("ConstantOfShape", shape(g, s, s), value=one_int64())
    mask = g.op("Cast", g.op("Trilu", ones, upper=0), to=BOOL)
    scores = g.op("MatMul", x, g.op("Transpose", x, perm=[0, 2, 1]))
    low = g.op("Where", mask, scores, f32(-1e9))
    g.output(g.op("MatMul", g.op("Softmax", low, axis=-1), x), "n", "s", 4)


@zoo.add(SHAPES, *STEPS)
def dense_of_keras_over_steps(g: Graph) -> None:
    """tf2onnx: to two axes, a MatMul, back by a shape made of slices."""
    x = g.input("x", "n", "s", 4)
    z = g.op("MatMul", g.op("Reshape", x, [-1, 4]), weights(4, 6))
    whole = g.op("Cast", g.op("Shape", x), to=I32)
    front = g.op("Slice", whole, [0], [2], [0])
    into = g.op("Cast", g.op("Concat", front, np.array([6], np.int32), axis=0), to=I64)
    g.output(g.op("Relu", g.op("Reshape", z, into)), "n", "s", 6)


@zoo.add(SHAPES, *STEPS)
def attention_of_keras_with_fixed_steps(g: Graph) -> None:
    x = g.input("x", "n", 5, 4)
    two = g.op("Transpose", g.op("Reshape", x, [-1, 5, 2, 2]), perm=[0, 2, 1, 3])
    scores = g.op("Softmax", g.op("MatMul", two, g.op("Transpose", two, perm=[0, 1, 3, 2])))
    z = g.op("Transpose", g.op("MatMul", scores, two), perm=[0, 2, 1, 3])
    g.output(g.op("Reshape", z, [-1, 5, 4]), "n", 5, 4)


@zoo.add(SHAPES, *STEPS)
def heads_fused_into_the_batch(g: Graph) -> None:
    """Old attention: [n, s, h] -> [n * heads, s, h / heads] and bmm."""
    x = g.input("x", "n", 5, 4)
    z = g.op("Transpose", g.op("Reshape", x, [0, 5, 2, 2]), perm=[0, 2, 1, 3])
    z = g.op("Reshape", z, [-1, 5, 2])
    scores = g.op("Softmax", g.op("MatMul", z, g.op("Transpose", z, perm=[0, 2, 1])), axis=-1)
    z = g.op("Reshape", g.op("MatMul", scores, z), [-1, 2, 5, 2])
    z = g.op("Transpose", z, perm=[0, 2, 1, 3])
    g.output(g.op("Reshape", z, [-1, 5, 4]), "n", 5, 4)


@zoo.add(SHAPES, *STEPS)
def class_token_expanded_to_the_batch(g: Graph) -> None:
    x = g.input("x", "n", 5, 4)
    token = g.op("Expand", weights(1, 1, 4), shape(g, dim(g, x, 0), 1, 4))
    z = g.op("Add", g.op("Concat", token, x, axis=1), weights(1, 6, 4))
    g.output(g.op("Gather", z, np.int64(0), axis=1), "n", 4)


@zoo.add(SHAPES, *STEPS)
def class_token_tiled_to_the_batch(g: Graph) -> None:
    x = g.input("x", "n", 5, 4)
    token = g.op("Tile", weights(1, 1, 4), g.op("Concat", g.rows(x), [1, 1], axis=0))
    g.output(g.op("Concat", token, x, axis=1), "n", 6, 4)


@zoo.add(SHAPES, *IMAGES)
def flattened_by_a_view_of_its_size(g: Graph) -> None:
    x = g.input("x", "n", 3, 8, 8)
    g.output(g.op("Reshape", x, shape(g, dim(g, x, 0), -1)), "n", 192)


@zoo.add(SHAPES, *IMAGES)
def upsampled_to_the_shape_of_another_value(g: Graph) -> None:
    x = g.input("x", "n", 3, "h", "w")
    small = g.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    front = g.op("Slice", g.op("Shape", small), [0], [2], [0])
    sizes = g.op("Concat", front, g.op("Slice", g.op("Shape", x), [2], [4], [0]), axis=0)
    z = g.op("Resize", small, "", "", sizes, mode="linear")
    g.output(g.op("Concat", x, z, axis=1), "n", 6, "h", "w")


@zoo.add(SHAPES, *IMAGES)
def patches_of_an_image(g: Graph) -> None:
    x = g.input("x", "n", 3, 8, 8)
    z = g.op("Conv", x, weights(4, 3, 4, 4), strides=[4, 4])
    into = g.op("Concat", g.op("Slice", g.op("Shape", z), [0], [2]), [-1], axis=0)
    g.output(g.op("Transpose", g.op("Reshape", z, into), perm=[0, 2, 1]), "n", 4, 4)


@zoo.add(SHAPES, *IMAGES)
def channels_shuffled(g: Graph) -> None:
    x = g.input("x", "n", 3, 8, 8)
    z = g.op("Reshape", g.op("Concat", x, g.op("Neg", x), axis=1), [-1, 2, 3, 8, 8])
    z = g.op("Transpose", z, perm=[0, 2, 1, 3, 4])
    g.output(g.op("Reshape", z, [-1, 6, 8, 8]), "n", 6, 8, 8)


@zoo.add(SHAPES, *IMAGES)
def softmax_on_a_fused_axis(g: Graph) -> None:
    x = g.op("Reshape", g.input("x", "n", 3, 8, 8), [-1, 64])
    g.output(g.op("Reshape", g.op("Softmax", x, axis=1), [-1, 3, 8, 8]), "n", 3, 8, 8)


@zoo.add(SHAPES, A_TWO, B_ONE)
def halves_of_a_tripled_row(g: Graph) -> None:
    z = g.op("Reshape", g.op("Tile", g.input("x", "n", 4), [1, 3]), [-1, 6])
    z = g.op("Add", z, g.op("ReduceMax", z, axes=[1]))
    g.output(g.op("Reshape", z, [-1, 12]), "n", 12)


LOGITS = [
    feeds(i64(rng(s).integers(1, 9, size=(s, 5))), i64(range(2, 2 + s)), names="ids last")
    for s in (1, 2)
]


@zoo.add(SHAPES, *LOGITS)
def last_token_by_arange_and_gather_nd(g: Graph) -> None:
    ids, last = g.input("ids", "n", "s", kind=I64), g.input("last", "n", kind=I64)
    z = dense(g, g.op("Gather", weights(10, 4), ids), 4, 3)
    place = g.op("Range", np.int64(0), dim(g, z, 0), np.int64(1))
    pairs = g.op("Concat", *(g.op("Unsqueeze", one, [1]) for one in (place, last)), axis=1)
    g.output(g.op("GatherND", z, pairs), "n", 3)


@zoo.add(SHAPES, *LOGITS)
def last_token_by_gather_nd_of_batches(g: Graph) -> None:
    ids, last = g.input("ids", "n", "s", kind=I64), g.input("last", "n", kind=I64)
    z = g.op("Gather", weights(10, 4), ids)
    g.output(g.op("GatherND", z, g.op("Unsqueeze", last, [1]), batch_dims=1), "n", 4)


@zoo.add(SHAPES, *IDS)
def last_token_before_the_padding(g: Graph) -> None:
    """GPT-2 for sequences: the first padding by Equal and ArgMax."""
    ids = g.input("x", "n", "s", kind=I64)
    padding = g.op("Cast", g.op("Equal", ids, np.int64(0)), to=I32)
    end = g.op("Sub", g.op("ArgMax", padding, axis=-1, keepdims=0), np.int64(1))
    z = g.op("Gather", weights(10, 4), ids)
    last = g.op("Mod", end, dim(g, ids, 1))
    place = g.op("Range", np.int64(0), dim(g, ids, 0), np.int64(1))
    pairs = g.op("Concat", *(g.op("Unsqueeze", one, [1]) for one in (place, last)), axis=1)
    g.output(g.op("GatherND", z, pairs), "n", 4)


@zoo.add(SHAPES, *IDS)
def mean_over_what_is_no_padding(g: Graph) -> None:
    ids = g.input("x", "n", "s", kind=I64)
    mask = g.op("Cast", g.op("Greater", ids, np.int64(0)), to=F)
    wide = g.op("Expand", g.op("Unsqueeze", mask, [-1]), g.op("Concat", [1, 1], [4], axis=0))
    total = g.op(
        "ReduceSum", g.op("Mul", g.op("Gather", weights(10, 4), ids), wide), [1], keepdims=0
    )
    counted = g.op("Clip", g.op("ReduceSum", wide, [1], keepdims=0), 1e-9)
    g.output(g.op("Div", total, counted), "n", 4)


@zoo.add(SHAPES, *IDS)
def places_from_a_running_sum_of_the_mask(g: Graph) -> None:
    ids = g.input("x", "n", "s", kind=I64)
    mask = g.op("Cast", g.op("Not", g.op("Equal", ids, np.int64(1))), to=I64)
    places = g.op("Mul", g.op("CumSum", mask, np.int64(1)), mask)
    e = g.op("Add", g.op("Gather", weights(10, 4), ids), g.op("Gather", weights(9, 4), places))
    g.output(layer_norm(g, e, 4), "n", "s", 4)


@zoo.add(SHAPES, *STEPS)
def identity_by_a_product_of_dimensions(g: Graph) -> None:
    x = g.input("x", "n", "s", 4)
    flat = g.op("Reshape", x, shape(g, g.op("Mul", dim(g, x, 0), dim(g, x, 1)), 4))
    g.output(g.op("Reshape", dense(g, flat, 4, 4), g.op("Shape", x)), "n", "s", 4)


@zoo.add(SHAPES, *STEPS)
def reshaped_by_a_reduced_product(g: Graph) -> None:
    x = g.input("x", "n", "s", 4)
    front = g.op("ReduceProd", g.op("Slice", g.op("Shape", x), [0], [2]), axes=[0], keepdims=1)
    flat = g.op("Reshape", x, g.op("Concat", front, [-1], axis=0))
    g.output(g.op("Reshape", g.op("Softmax", flat, axis=1), g.op("Shape", x)), "n", "s", 4)


@zoo.add(SHAPES, A_TWO, B_ONE)
def zeros_of_the_batch_joined(g: Graph) -> None:
    x = g.input("x", "n", 4)
    zeros = g.op("ConstantOfShape", g.op("Concat", g.rows(x), [2], axis=0))
    g.output(g.op("Concat", x, zeros, axis=1), "n", 6)


@zoo.add(SHAPES, A_TWO, B_ONE, opset=15)
def shape_of_one_axis_by_attributes(g: Graph) -> None:
    x = g.input("x", "n", 4)
    ones = g.op("Expand", f32([[1]]), g.op("Concat", g.op("Shape", x, start=0, end=1), [1], axis=0))
    g.output(g.op("Concat", x, ones, axis=1), "n", 5)
