"""Rows coupled by how many they are or by their place; dimensions that follow the batch."""

from __future__ import annotations

import numpy as np

from .build import BOOL, I32, I64, F, Graph, Zoo, f32, feeds, i64

zoo = Zoo()
COUNT = "number or place of rows"
FOLLOW = "dimensions that follow the batch"
TRUE = np.array(True)


def count(g: Graph, x: str, kind: int = F) -> str:
    """The number of rows, a scalar."""
    return g.op("Cast", g.op("Squeeze", g.rows(x), [0]), to=kind)


def places(g: Graph, x: str) -> str:
    """0, 1, ... for the rows, INT64 [n]."""
    return g.op("Range", np.int64(0), count(g, x, I64), np.int64(1))


@zoo.add(COUNT)
def times_the_number_of_rows(g: Graph) -> None:
    x = g.input("x", "n", 4)
    g.output(g.op("Mul", x, count(g, x)), "n", 4)


@zoo.add(COUNT)
def divided_by_the_number_of_rows(g: Graph) -> None:
    x = g.input("x", "n", 4)
    g.output(g.op("Div", x, count(g, x)), "n", 4)


@zoo.add(COUNT)
def divided_by_the_size(g: Graph) -> None:
    x = g.input("x", "n", 4)
    g.output(g.op("Div", x, g.op("Cast", g.op("Size", x), to=F)), "n", 4)


@zoo.add(COUNT)
def another_answer_for_one_row(g: Graph) -> None:
    x = g.input("x", "n", 4)
    one = g.op("Equal", count(g, x, I64), np.int64(1))
    then, other = g.branch(lambda b: b.op("Neg", x)), g.branch(lambda b: b.op("Abs", x))
    g.output(g.op("If", one, then_branch=then, else_branch=other), "n", 4)


@zoo.add(COUNT)
def another_answer_for_one_row_in_a_function(g: Graph) -> None:
    def inside(f: Graph, x: str) -> str:
        few = f.op("Less", count(f, x, I64), np.int64(2))
        return f.op("Where", few, x, f.op("Neg", x))

    g.function("Few", 1, inside)
    g.output(g.call("Few", g.input("x", "n", 4)), "n", 4)


@zoo.add(COUNT)
def place_added(g: Graph) -> None:
    x = g.input("x", "n", 4)
    place = g.op("Unsqueeze", g.op("Cast", places(g, x), to=F), [1])
    g.output(g.op("Add", x, place), "n", 4)


@zoo.add(COUNT)
def odd_places_dropped(g: Graph) -> None:
    x = g.input("x", "n", 4)
    odd = g.op("Cast", g.op("Mod", places(g, x), np.int64(2)), to=BOOL)
    zeros = np.zeros((1, 1), np.float32)
    g.output(g.op("Where", g.op("Unsqueeze", odd, [1]), zeros, x), "n", 4)


@zoo.add(COUNT)
def positional_embedding_of_rows(g: Graph) -> None:
    x = g.input("x", "n", 4)
    table = f32(np.arange(400).reshape(100, 4))
    g.output(g.op("Add", x, g.op("Gather", table, places(g, x))), "n", 4)


@zoo.add(COUNT)
def place_by_nonzero_of_ones(g: Graph) -> None:
    x = g.input("x", "n", 4)
    ones = g.op("ConstantOfShape", g.rows(x), value=one_float())
    place = g.op("Transpose", g.op("NonZero", ones), perm=[1, 0])
    g.output(g.op("Add", x, g.op("Cast", place, to=F)), "n", 4)


def one_float() -> object:
    from onnx import helper

    return helper.make_tensor("one", F, [1], [1.0])


@zoo.add(COUNT)
def place_by_running_sum_of_ones(g: Graph) -> None:
    x = g.input("x", "n", 4)
    ones = g.op("Expand", f32([[1]]), g.op("Concat", g.rows(x), [1], axis=0))
    g.output(g.op("Mul", x, g.op("CumSum", ones, np.int64(0))), "n", 4)


@zoo.add(COUNT)
def ones_summed_over_the_batch(g: Graph) -> None:
    x = g.input("x", "n", 4)
    ones = g.op("ConstantOfShape", g.op("Shape", x), value=one_float())
    g.output(g.op("Div", x, g.op("ReduceSum", ones, [0], keepdims=1)), "n", 4)


@zoo.add(COUNT)
def loop_of_as_many_trips_as_rows(g: Graph) -> None:
    x = g.input("x", "n", 4)
    body = g.body()
    _, go, value = body.taken(kind=I64), body.taken(kind=BOOL), body.taken("n", 4)
    body.output(body.op("Identity", go), kind=BOOL)
    body.output(body.op("Mul", value, 2.0), "n", 4)
    g.output(g.op("Loop", count(g, x, I64), TRUE, x, body=body.proto()), "n", 4)


@zoo.add(COUNT)
def one_hot_of_the_place(g: Graph) -> None:
    x = g.input("x", "n", 4)
    hot = g.op("OneHot", places(g, x), np.int64(4), f32([0, 1]), axis=1)
    g.output(g.op("Mul", x, hot), "n", 4)


@zoo.add(COUNT)
def eye_of_the_places(g: Graph) -> None:
    x = g.input("x", "n", 4)
    g.output(g.op("Add", x, g.op("EyeLike", x)), "n", 4)


@zoo.add(COUNT)
def upper_triangle_of_the_batch(g: Graph) -> None:
    g.output(g.op("Trilu", g.input("x", "n", 4), upper=1), "n", 4)


@zoo.add(COUNT)
def lower_triangle_of_the_batch(g: Graph) -> None:
    g.output(g.op("Trilu", g.input("x", "n", 4), np.int64(1), upper=0), "n", 4)


@zoo.add(COUNT)
def at_most_two_counted(g: Graph) -> None:
    x = g.input("x", "n", 4)
    g.output(g.op("Mul", x, g.op("Min", count(g, x), 2.0)), "n", 4)


@zoo.add(COUNT)
def modulo_the_number_of_rows(g: Graph) -> None:
    x = g.input("x", "n", 4)
    parity = g.op("Mod", count(g, x, I64), np.int64(2))
    g.output(g.op("Add", x, g.op("Cast", parity, to=F)), "n", 4)


@zoo.add(COUNT)
def column_chosen_by_the_number_of_rows(g: Graph) -> None:
    x = g.input("x", "n", 4)
    g.output(g.op("Gather", x, g.op("Sub", g.rows(x), [1]), axis=1), "n", 1)


@zoo.add(COUNT)
def exponent_is_the_number_of_rows(g: Graph) -> None:
    x = g.input("x", "n", 4)
    g.output(g.op("Pow", x, count(g, x)), "n", 4)


@zoo.add(COUNT, a=feeds(f32([[1, 2, 3, 4]] * 3)), b=feeds(f32([[5, 6, 7, 8]])))
def halved_number_of_rows(g: Graph) -> None:
    x = g.input("x", "n", 4)
    half = g.op("Div", count(g, x, I64), np.int64(2))
    g.output(g.op("Sub", x, g.op("Cast", half, to=F)), "n", 4)


@zoo.add(COUNT, *(feeds(np.full((1, 4), k, np.int32)) for k in (1, 2)))
def bits_shifted_by_the_number_of_rows(g: Graph) -> None:
    x = g.input("x", "n", 4, kind=I32)
    g.output(g.op("Sub", x, count(g, x, I32)), "n", 4, kind=I32)


@zoo.add(COUNT)
def scan_over_rows_with_a_counter(g: Graph) -> None:
    body = g.body()
    number, row = body.taken(), body.taken(4)
    body.output(body.op("Add", number, 1.0))
    body.output(body.op("Add", row, number), 4)
    x = g.input("x", "n", 4)
    scan = g.ops("Scan", f32(0), x, outputs=2, body=body.proto(), num_scan_inputs=1)
    g.output(scan[1], "n", 4)


@zoo.add(COUNT)
def loop_index_joined_to_its_row(g: Graph) -> None:
    x = g.input("x", "n", 4)
    body = g.body()
    i, go = body.taken(kind=I64), body.taken(kind=BOOL)
    row = body.op("Mul", body.op("Gather", x, i, axis=0), body.op("Cast", i, to=F))
    body.output(body.op("Identity", go), kind=BOOL)
    body.output(row, 4)
    g.output(g.op("Loop", count(g, x, I64), TRUE, body=body.proto()), "n", 4)


# Dimensions that follow the batch

LENGTHS = [feeds(np.array([length]), names="x") for length in (2, 5)]


@zoo.add(FOLLOW, *LENGTHS)
def mask_as_long_as_the_longest(g: Graph) -> None:
    x = g.input("x", "n", kind=I64)
    steps = g.op("Range", np.int64(0), g.op("ReduceMax", x, keepdims=0), np.int64(1))
    mask = g.op("Less", steps, g.op("Unsqueeze", x, [1]))
    g.output(mask, "n", "longest", kind=BOOL)


@zoo.add(FOLLOW, *LENGTHS)
def one_hot_as_deep_as_the_largest(g: Graph) -> None:
    x = g.input("x", "n", kind=I64)
    depth = g.op("Add", g.op("ReduceMax", x, keepdims=0), np.int64(1))
    g.output(g.op("OneHot", x, depth, f32([0, 1])), "n", "depth")


TOKENS = [
    feeds(i64([[7, 8, 9, 0, 0, 0]]), i64([3]), names="x lens"),
    feeds(i64([[1, 2, 3, 4, 5, 6]]), i64([6]), names="x lens"),
]


@zoo.add(FOLLOW, *TOKENS)
def cut_to_the_longest(g: Graph) -> None:
    x, lens = g.input("x", "n", 6, kind=I64), g.input("lens", "n", kind=I64)
    longest = g.op("ReduceMax", lens, axes=[0], keepdims=1)
    g.output(g.op("Slice", x, [0], longest, [1]), "n", "longest", kind=I64)


@zoo.add(FOLLOW, *TOKENS)
def mean_up_to_the_longest(g: Graph) -> None:
    x, lens = g.input("x", "n", 6, kind=I64), g.input("lens", "n", kind=I64)
    longest = g.op("ReduceMax", lens, axes=[0], keepdims=1)
    cut = g.op("Cast", g.op("Slice", x, [0], longest, [1]), to=F)
    g.output(g.op("ReduceMean", cut, axes=[1], keepdims=0), "n")


@zoo.add(FOLLOW)
def each_with_each(g: Graph) -> None:
    x = g.input("x", "n", 4)
    g.output(g.op("MatMul", x, g.op("Transpose", x, perm=[1, 0])), "n", None)


@zoo.add(FOLLOW)
def columns_repeated_for_each_row(g: Graph) -> None:
    x = g.input("x", "n", 4)
    repeats = g.op("Concat", [1], g.rows(x), axis=0)
    g.output(g.op("Tile", x, repeats), "n", None)


@zoo.add(FOLLOW)
def expanded_by_the_number_of_rows(g: Graph) -> None:
    x = g.input("x", "n", 4)
    shape = g.op("Concat", g.rows(x), g.rows(x), [4], axis=0)
    z = g.op("Expand", g.op("Unsqueeze", x, [1]), shape)
    g.output(g.op("ReduceSum", z, [1], keepdims=0), "n", 4)


@zoo.add(FOLLOW)
def padded_by_the_number_of_rows(g: Graph) -> None:
    x = g.input("x", "n", 4)
    pads = g.op("Concat", [0, 0, 0], g.rows(x), axis=0)
    g.output(g.op("Pad", x, pads), "n", None)


@zoo.add(FOLLOW)
def as_many_columns_as_rows(g: Graph) -> None:
    x = g.input("x", "n", 4)
    g.output(g.op("Slice", x, [0], g.rows(x), [1]), "n", None)


@zoo.add(FOLLOW)
def best_columns_as_many_as_rows(g: Graph) -> None:
    x = g.input("x", "n", 4)
    values, _ = g.ops("TopK", x, g.rows(x), outputs=2, axis=1)
    g.output(g.op("ReduceSum", values, [1], keepdims=0), "n")
