"""Rows coupled by contraction, by reshapes that interleave them, by broadcasting."""

from __future__ import annotations

import numpy as np

from .build import BOOL, I64, Graph, Zoo, f32, feeds, i64, rng, weights

zoo = Zoo()
MIXED = "mixed rows"
OWN = "axes of their own"


def turned(g: Graph, x: str) -> str:
    return g.op("Transpose", x, perm=[1, 0])


@zoo.add(MIXED, a=feeds([[1, 2, 0, 1]]), b=feeds([[2, 1, 1, -1]]))
def attention_between_rows(g: Graph) -> None:
    x = g.input("x", "n", 4)
    scores = g.op("Softmax", g.op("MatMul", x, turned(g, x)), axis=1)
    g.output(g.op("MatMul", scores, x), "n", 4)


@zoo.add(MIXED)
def nearest_row(g: Graph) -> None:
    x = g.input("x", "n", 4)
    scores = g.op("MatMul", x, turned(g, x))
    g.output(g.op("ArgMax", scores, axis=1, keepdims=0), "n", kind=I64)


@zoo.add(MIXED)
def gram_of_columns_by_gemm(g: Graph) -> None:
    x = g.input("x", "n", 4)
    gram = g.op("Gemm", x, x, transA=1)
    g.output(g.op("MatMul", x, gram), "n", 4)


@zoo.add(MIXED)
def gram_of_columns_by_einsum(g: Graph) -> None:
    x = g.input("x", "n", 4)
    g.output(g.op("Einsum", x, x, x, equation="ni,mi,mj->nj"), "n", 4)


@zoo.add(MIXED)
def batch_summed_by_einsum(g: Graph) -> None:
    x = g.input("x", "n", 4)
    g.output(g.op("Sub", x, g.op("Einsum", x, equation="nj->j")), "n", 4)


@zoo.add(MIXED, *(feeds(f32(rng(s).normal(size=(1, 2, 3)))) for s in (1, 2)))
def batch_and_steps_swapped_by_einsum(g: Graph) -> None:
    z = g.op("Einsum", g.input("x", "n", 2, 3), equation="nij->inj")
    shape = g.op("Concat", [-1], [2, 3], axis=0)
    g.output(g.op("Reshape", z, shape), "n", 2, 3)


@zoo.add(MIXED)
def transposed_and_reshaped(g: Graph) -> None:
    z = turned(g, g.input("x", "n", 4))
    g.output(g.op("Reshape", z, [-1, 4]), "n", 4)


@zoo.add(MIXED)
def transposed_and_reshaped_to_its_shape(g: Graph) -> None:
    x = g.input("x", "n", 4)
    z = g.op("Reshape", turned(g, x), g.op("Shape", x))
    g.output(g.op("Greater", z, 0.0), "n", 4, kind=BOOL)


@zoo.add(MIXED)
def softmax_of_one_flat_row(g: Graph) -> None:
    x = g.input("x", "n", 4)
    z = g.op("Softmax", g.op("Flatten", x, axis=0), axis=1)
    g.output(g.op("Reshape", z, g.op("Shape", x)), "n", 4)


@zoo.add(MIXED)
def softmax_of_one_flat_vector(g: Graph) -> None:
    x = g.input("x", "n", 4)
    z = g.op("Softmax", g.op("Reshape", x, [-1]), axis=0)
    g.output(g.op("Reshape", z, [-1, 4]), "n", 4)


@zoo.add(MIXED)
def reshaped_to_four_by_rows_and_scaled(g: Graph) -> None:
    z = g.op("Reshape", g.input("x", "n", 4), [4, -1])
    z = g.op("Mul", z, f32([[1], [2], [3], [4]]))
    g.output(g.op("Reshape", z, [-1, 4]), "n", 4)


@zoo.add(MIXED)
def pairs_summed_along_the_batch(g: Graph) -> None:
    z = g.op("Reshape", g.input("x", "n", 4), [-1, 2])
    z = g.op("CumSum", z, np.int64(0))
    g.output(g.op("Reshape", z, [-1, 4]), "n", 4)


@zoo.add(MIXED)
def two_rows_in_a_block_of_three_quarters(g: Graph) -> None:
    """Refused for rows that are no multiple of three, answered for others."""
    z = g.op("Softmax", g.op("Reshape", g.input("x", "n", 4), [-1, 6]), axis=1)
    g.output(g.op("Reshape", z, [-1, 4]), "n", 4)


@zoo.add(MIXED, *(feeds(f32(rng(s).normal(size=(1, 4)))) for s in (1, 2)))
def two_halves_of_all_values(g: Graph) -> None:
    z = g.op("Reshape", g.input("x", "n", 4), [2, -1])
    first = g.op("Slice", z, [0], [1], [0])
    g.output(g.op("Reshape", g.op("Add", z, first), [-1, 4]), "n", 4)


@zoo.add(MIXED)
def pairs_of_rows_in_one(g: Graph) -> None:
    z = g.op("Reshape", g.input("x", "n", 4), [-1, 8])
    g.output(g.op("Reshape", g.op("Softmax", z, axis=1), [-1, 4]), "n", 4)


@zoo.add(MIXED, *(feeds([value]) for value in (0.5, 2.0)))
def column_plus_row_of_the_batch(g: Graph) -> None:
    x = g.input("x", "n")
    g.output(g.op("Add", g.op("Unsqueeze", x, [1]), x), "n", None)


@zoo.add(MIXED, *(feeds([value]) for value in (0.5, 2.0)))
def largest_distance_to_another(g: Graph) -> None:
    x = g.input("x", "n")
    far = g.op("Sub", g.op("Unsqueeze", x, [1]), g.op("Unsqueeze", x, [0]))
    g.output(g.op("ReduceMax", g.op("Abs", far), axes=[1], keepdims=0), "n")


@zoo.add(MIXED, *(feeds([value]) for value in (0.5, 2.0)))
def rank_among_the_rows(g: Graph) -> None:
    x = g.input("x", "n")
    less = g.op("Less", g.op("Unsqueeze", x, [0]), g.op("Unsqueeze", x, [1]))
    counted = g.op("ReduceSum", g.op("Cast", less, to=I64), [1], keepdims=0)
    g.output(counted, "n", kind=I64)


@zoo.add(
    MIXED, a=feeds([[1, 2, 3, 4]], [1], names="x s"), b=feeds([[1, 2, 3, 4]], [7], names="x s")
)
def weight_of_a_row_broadcast_to_columns(g: Graph) -> None:
    x, s = g.input("x", "n", 4), g.input("s", "n")
    g.output(g.op("Mul", x, s), "n", 4)


@zoo.add(MIXED)
def rows_as_steps_of_one_image(g: Graph) -> None:
    image = g.op("Unsqueeze", g.input("x", "n", 4), [0])
    mean = g.op("ReduceMean", image, axes=[1], keepdims=1)
    g.output(g.op("Squeeze", g.op("Sub", image, mean), [0]), "n", 4)


@zoo.add(MIXED, *(feeds([[[1, 2, 3]]]) for _ in range(2)))
def squeezed_without_axes(g: Graph) -> None:
    x = g.input("x", "n", "s", 3)
    z = g.op("Squeeze", x)
    g.output(g.op("Softmax", z, axis=0), None, 3)


@zoo.add(MIXED, a=feeds([[1, 2, 0, 1]]), b=feeds([[2, 1, 1, -1]]))
def matmul_from_the_left(g: Graph) -> None:
    x = g.input("x", "n", 4)
    mix = g.op("Softmax", g.op("MatMul", x, turned(g, x)), axis=0)
    g.output(g.op("Sign", g.op("Sub", g.op("MatMul", mix, x), 1.0)), "n", 4)


@zoo.add(MIXED)
def contracted_in_nested_functions(g: Graph) -> None:
    g.function("Scores", 1, lambda f, x: f.op("MatMul", x, f.op("Transpose", x, perm=[1, 0])))
    g.function("Rank", 1, lambda f, x: f.op("ReduceMax", f.call("Scores", x), axes=[1]))
    x = g.input("x", "n", 4)
    g.output(g.op("Greater", g.call("Rank", x), 500.0), "n", 1, kind=BOOL)


@zoo.add(MIXED)
def heads_and_batch_in_the_wrong_order(g: Graph) -> None:
    z = g.op("Reshape", g.input("x", "n", 4), [2, -1, 2])
    z = g.op("Transpose", z, perm=[1, 0, 2])
    g.output(g.op("Reshape", z, [-1, 4]), "n", 4)


@zoo.add(MIXED, *(feeds(f32(rng(s).normal(size=(1, 2, 4)))) for s in (1, 2)))
def attention_that_forgot_batch_first(g: Graph) -> None:
    x = g.input("x", "n", 2, 4)
    q = g.op("Transpose", x, perm=[1, 0, 2])
    k = g.op("Transpose", x, perm=[1, 2, 0])
    z = g.op("MatMul", g.op("Softmax", g.op("MatMul", q, k), axis=-1), q)
    g.output(g.op("Transpose", z, perm=[1, 0, 2]), "n", 2, 4)


@zoo.add(MIXED, *(feeds(f32(rng(s).normal(size=(1, 4)))) for s in (1, 2)))
def shuffled_channels_over_the_batch(g: Graph) -> None:
    image = g.op("Reshape", g.input("x", "n", 4), [1, -1, 2, 2])
    z = g.op(
        "Conv", g.op("Transpose", image, perm=[0, 2, 1, 3]), weights(2, 2, 3, 1), pads=[1, 0, 1, 0]
    )
    z = g.op("Transpose", z, perm=[0, 2, 1, 3])
    g.output(g.op("Reshape", z, [-1, 4]), "n", 4)


# Axes of their own

APART = [feeds([[1, 2]], [[3, k]], names="x s") for k in (4, 9)]


@zoo.add(OWN, *APART)
def every_row_with_every_row_of_another(g: Graph) -> None:
    x, s = g.input("x", "n", 2), g.input("s", "m", 2)
    g.output(g.op("MatMul", x, turned(g, s)), "n", "m")


@zoo.add(OWN, *APART)
def best_among_another_axis(g: Graph) -> None:
    x, s = g.input("x", "n", 2), g.input("s", "m", 2)
    best = g.op("ReduceMax", g.op("MatMul", x, turned(g, s)), axes=[1], keepdims=1)
    g.output(g.op("Greater", best, 20.0), "n", 1, kind=BOOL)


@zoo.add(OWN, *APART)
def one_axis_after_the_other(g: Graph) -> None:
    x, s = g.input("x", "n", 2), g.input("s", "m", 2)
    g.output(g.op("Concat", x, s, axis=0), None, 2)


@zoo.add(OWN, a=feeds([[1, 2]], i64([0]), names="t x"), b=feeds([[7, 9]], i64([0]), names="t x"))
def table_given_with_the_request(g: Graph) -> None:
    t, x = g.input("t", "m", 2), g.input("x", "n", kind=I64)
    g.output(g.op("Gather", t, x), "n", 2)


@zoo.add(OWN, *APART)
def number_of_rows_of_another(g: Graph) -> None:
    x, s = g.input("x", "n", 2), g.input("s", "m", 2)
    g.output(g.op("Expand", g.op("ReduceSum", x, [0]), g.op("Shape", s)), "m", 2)


@zoo.add(OWN, *(feeds([[1, 2]], f32(k), names="x k") for k in (1, 2)))
def scalar_beside_the_rows(g: Graph) -> None:
    x, k = g.input("x", "n", 2), g.input("k")
    g.output(g.op("Mul", x, k), "n", 2)


@zoo.add(OWN, *(feeds([[1, 2]], [[k, k]], names="x k") for k in (1, 2)))
def weights_given_with_the_request(g: Graph) -> None:
    x, k = g.input("x", "n", 2), g.input("k", 1, 2)
    g.output(g.op("Mul", x, k), "n", 2)


@zoo.add(OWN, *(feeds(f32(rng(s).normal(size=(1, 2, 4)))) for s in (1, 2)))
def lstm_with_the_state_of_one_row(g: Graph) -> None:
    x = g.op("Transpose", g.input("x", "n", 2, 4), perm=[1, 0, 2])
    state = np.zeros((1, 1, 3), np.float32)
    w, r = weights(1, 12, 4, seed=1), weights(1, 12, 3, seed=2)
    h = g.ops("LSTM", x, w, r, "", "", state, state, outputs=2, hidden_size=3)[1]
    g.output(g.op("Squeeze", h, [0]), "n", 3)


STATES = [
    feeds(f32(rng(s).normal(size=(1, 4))), f32(rng(s + 5).normal(size=(2, 1, 4))), names="x state")
    for s in (1, 2)
]


@zoo.add(OWN, *STATES)
def state_with_layers_first(g: Graph) -> None:
    x, state = g.input("x", "n", 4), g.input("state", 2, "n", 4)
    g.output(g.op("Add", x, g.op("ReduceSum", state, [0], keepdims=0)), "n", 4)
