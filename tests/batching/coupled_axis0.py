"""Rows coupled by operators that run along axis 0."""

from __future__ import annotations

import numpy as np

from .build import BOOL, I64, F, Graph, Zoo, f32, feeds, rng, weights

zoo = Zoo()
ALONG = "operators along axis 0"
NONE = np.iinfo(np.int64).min


@zoo.add(ALONG)
def running_sum(g: Graph) -> None:
    g.output(g.op("CumSum", g.input("x", "n", 4), np.int64(0)), "n", 4)


@zoo.add(ALONG)
def running_sum_from_the_end(g: Graph) -> None:
    z = g.op("CumSum", g.input("x", "n", 4), np.int64(-2), reverse=1)
    g.output(g.op("Greater", z, 500.0), "n", 4, kind=BOOL)


@zoo.add(ALONG)
def running_sum_without_itself(g: Graph) -> None:
    g.output(g.op("Sign", g.op("CumSum", g.input("x", "n", 4), 0, exclusive=1)), "n", 4)


@zoo.add(ALONG)
def best_row_of_each_column(g: Graph) -> None:
    values, _ = g.ops("TopK", g.input("x", "n", 4), [1], outputs=2, axis=0)
    g.output(values, 1, 4)


@zoo.add(ALONG)
def added_to_the_best_row(g: Graph) -> None:
    x = g.input("x", "n", 4)
    values, _ = g.ops("TopK", x, [1], outputs=2, axis=0)
    g.output(g.op("Add", x, values), "n", 4)


@zoo.add(ALONG)
def sorted_rows(g: Graph) -> None:
    x = g.input("x", "n", 4)
    values, _ = g.ops("TopK", x, g.rows(x), outputs=2, axis=0, largest=0)
    g.output(values, "n", 4)


@zoo.add(ALONG)
def column_of_the_best_row(g: Graph) -> None:
    best = g.op("ArgMax", g.input("x", "n", 4), axis=0, keepdims=1)
    g.output(best, 1, 4, kind=I64)


@zoo.add(ALONG)
def whether_a_row_is_the_worst(g: Graph) -> None:
    x = g.input("x", "n", 4)
    smallest = g.op("ReduceMin", x, axes=[0], keepdims=1)
    g.output(g.op("Equal", x, smallest), "n", 4, kind=BOOL)


@zoo.add(ALONG)
def sum_of_all_rows_to_each(g: Graph) -> None:
    x = g.input("x", "n", 4)
    total = g.op("ReduceSum", x, [0], keepdims=1)
    g.output(g.op("Expand", total, g.op("Shape", x)), "n", 4)


@zoo.add(ALONG)
def product_of_all_rows(g: Graph) -> None:
    x = g.input("x", "n", 4)
    g.output(g.op("Mul", x, g.op("ReduceProd", x, axes=[-2], keepdims=1)), "n", 4)


@zoo.add(ALONG)
def constant_row_first(g: Graph) -> None:
    g.output(g.op("Concat", f32([[0, 0, 0, 0]]), g.input("x", "n", 4), axis=0), None, 4)


@zoo.add(ALONG)
def shifted_by_one_row(g: Graph) -> None:
    x = g.input("x", "n", 4)
    longer = g.op("Concat", f32([[0, 0, 0, 0]]), x, axis=0)
    g.output(g.op("Slice", longer, [0], [-1], [0]), "n", 4)


@zoo.add(ALONG)
def difference_to_the_row_before(g: Graph) -> None:
    x = g.input("x", "n", 4)
    padded = g.op("Pad", x, [1, 0, 0, 0])
    g.output(g.op("Sub", x, g.op("Slice", padded, [0], [-1], [0])), "n", 4)


@zoo.add(ALONG)
def padded_rows(g: Graph) -> None:
    g.output(g.op("Pad", g.input("x", "n", 4), [0, 0, 1, 0]), None, 4)


@zoo.add(ALONG, *(feeds(rng(s).normal(size=(2, 4)).astype(np.float32)) for s in (1, 2)))
def without_the_first_row(g: Graph) -> None:
    g.output(g.op("Slice", g.input("x", "n", 4), [1], [2**31 - 1], [0]), None, 4)


@zoo.add(ALONG)
def rows_backwards(g: Graph) -> None:
    g.output(g.op("Slice", g.input("x", "n", 4), [-1], [NONE], [0], [-1]), "n", 4)


@zoo.add(ALONG)
def first_eight_rows(g: Graph) -> None:
    x = g.op("Tile", g.input("x", "n", 4), [1, 2])
    g.output(g.op("Slice", x, [0], [1], [0]), None, 8)


@zoo.add(ALONG)
def every_second_row(g: Graph) -> None:
    g.output(g.op("Slice", g.input("x", "n", 4), [0], [2**31 - 1], [0], [2]), None, 4)


@zoo.add(ALONG, opset=9)
def all_but_the_last_row_by_attributes(g: Graph) -> None:
    x = g.input("x", "n", 4)
    last = g.op("Slice", x, starts=[-1], ends=[2**31 - 1], axes=[0])
    g.output(g.op("Mul", x, last), "n", 4)


@zoo.add(ALONG)
def rows_twice(g: Graph) -> None:
    g.output(g.op("Tile", g.input("x", "n", 4), [2, 1]), None, 4)


@zoo.add(ALONG)
def first_row_to_all(g: Graph) -> None:
    x = g.input("x", "n", 4)
    g.output(g.op("Sub", x, g.op("Gather", x, [0], axis=0)), "n", 4)


@zoo.add(ALONG)
def last_row_as_a_bias(g: Graph) -> None:
    x = g.input("x", "n", 4)
    g.output(g.op("Add", x, g.op("Gather", x, np.int64(-1), axis=0)), "n", 4)


@zoo.add(ALONG, *(feeds(rng(s).normal(size=(2, 4)).astype(np.float32)) for s in (1, 2)), opset=18)
def halves_of_the_batch_swapped(g: Graph) -> None:
    first, second = g.ops("Split", g.input("x", "n", 4), outputs=2, axis=0, num_outputs=2)
    g.output(g.op("Concat", second, first, axis=0), "n", 4)


@zoo.add(ALONG, *(feeds(rng(s).normal(size=(2, 4)).astype(np.float32)) for s in (1, 2)), opset=18)
def sum_of_the_halves(g: Graph) -> None:
    first, second = g.ops("Split", g.input("x", "n", 4), outputs=2, axis=0, num_outputs=2)
    z = g.op("Add", first, second)
    g.output(g.op("Concat", z, z, axis=0), "n", 4)


def step(g: Graph) -> tuple[Graph, str, str]:
    """A body that adds a row to what it carries."""
    body = g.body()
    return body, body.taken(4), body.taken(4)


@zoo.add(ALONG)
def scan_carrying_a_sum(g: Graph) -> None:
    body, state, row = step(g)
    total = body.op("Add", state, row)
    body.output(total, 4)
    body.output(body.op("Identity", total), 4)
    start = np.zeros(4, np.float32)
    x = g.input("x", "n", 4)
    scan = g.ops("Scan", start, x, outputs=2, body=body.proto(), num_scan_inputs=1)
    g.output(scan[1], "n", 4)


@zoo.add(ALONG)
def scan_in_a_scan_carrying_a_maximum(g: Graph) -> None:
    body, state, row = step(g)
    inner = body.body()
    held, item = inner.taken(), inner.taken()
    best = inner.op("Max", held, item)
    inner.output(best)
    inner.output(inner.op("Identity", best))
    first = body.op("ReduceMax", state, keepdims=0)
    scanned = body.ops("Scan", first, row, outputs=2, body=inner.proto(), num_scan_inputs=1)
    body.output(body.op("Identity", scanned[1]), 4)
    body.output(scanned[1], 4)
    x = g.input("x", "n", 4)
    start = np.zeros(4, np.float32)
    scan = g.ops("Scan", start, x, outputs=2, body=body.proto(), num_scan_inputs=1)
    g.output(scan[1], "n", 4)


@zoo.add(ALONG)
def loop_over_rows_with_a_memory(g: Graph) -> None:
    x = g.input("x", "n", 4)
    body = g.body()
    i, go, memory = body.taken(kind=I64), body.taken(kind=BOOL), body.taken(4)
    row = body.op("Gather", x, i, axis=0)
    kept = body.op("Add", body.op("Mul", memory, 0.5), row)
    body.output(body.op("Identity", go), kind=BOOL)
    body.output(kept, 4)
    body.output(body.op("Identity", kept), 4)
    trips = g.op("Squeeze", g.rows(x), [0])
    start = np.zeros(4, np.float32)
    g.output(g.ops("Loop", trips, np.array(True), start, outputs=2, body=body.proto())[1], "n", 4)


def recurrent(g: Graph, kind: str, gates: int) -> None:
    """x [n, 4] as n steps of one sequence."""
    x = g.op("Unsqueeze", g.input("x", "n", 4), [1])
    w, r = weights(1, gates * 3, 4, seed=1), weights(1, gates * 3, 3, seed=2)
    y = g.ops(kind, x, w, r, outputs=2, hidden_size=3)[0]
    g.output(g.op("Squeeze", y, [1, 2]), "n", 3)


@zoo.add(ALONG, a=feeds(f32([[0.1, 0.2, 0.3, 0.4]])), b=feeds(f32([[1, -2, 2, 1]])))
def lstm_with_rows_as_steps(g: Graph) -> None:
    recurrent(g, "LSTM", 4)


@zoo.add(ALONG, a=feeds(f32([[0.1, 0.2, 0.3, 0.4]])), b=feeds(f32([[1, -2, 2, 1]])))
def gru_with_rows_as_steps(g: Graph) -> None:
    recurrent(g, "GRU", 3)


@zoo.add(ALONG, a=feeds(f32([[0.1, 0.2, 0.3, 0.4]])), b=feeds(f32([[1, -2, 2, 1]])))
def rnn_with_rows_as_steps(g: Graph) -> None:
    recurrent(g, "RNN", 1)


SEQUENCES = [feeds(f32(rng(s).normal(size=(2, 2))), np.full(2, 2), names="x lens") for s in (1, 2)]


@zoo.add(ALONG, *SEQUENCES)
def reversed_with_batch_and_time_swapped(g: Graph) -> None:
    x, lens = g.input("x", "n", 2), g.input("lens", "n", kind=I64)
    z = g.op("ReverseSequence", x, g.op("Slice", lens, [0], [2], [0]), batch_axis=1, time_axis=0)
    g.output(z, "n", 2)


@zoo.add(ALONG)
def convolution_over_rows(g: Graph) -> None:
    columns = g.op("Unsqueeze", g.op("Transpose", g.input("x", "n", 4), perm=[1, 0]), [0])
    z = g.op("Conv", columns, weights(4, 4, 3), pads=[1, 1])
    g.output(g.op("Transpose", g.op("Squeeze", z, [0]), perm=[1, 0]), "n", 4)


@zoo.add(ALONG)
def largest_of_neighbouring_rows(g: Graph) -> None:
    image = g.op("Unsqueeze", g.input("x", "n", 4), [0, 1])
    z = g.op("MaxPool", image, kernel_shape=[3, 1], pads=[1, 0, 1, 0])
    g.output(g.op("Squeeze", z, [0, 1]), "n", 4)


@zoo.add(ALONG)
def mean_of_all_rows_by_global_pooling(g: Graph) -> None:
    x = g.input("x", "n", 4)
    columns = g.op("Unsqueeze", g.op("Transpose", x, perm=[1, 0]), [0])
    mean = g.op("Squeeze", g.op("GlobalAveragePool", columns), [0, 2])
    g.output(g.op("Less", x, mean), "n", 4, kind=BOOL)


@zoo.add(ALONG)
def rows_interpolated(g: Graph) -> None:
    z = g.op("Resize", g.input("x", "n", 4), "", f32([2, 1]), mode="linear")
    g.output(g.op("Slice", z, [0], [2**31 - 1], [0], [2]), "n", 4)


@zoo.add(ALONG, opset=19, a=feeds(f32([[1, 2, 3, 4]])), b=feeds(f32([[5, 6, 7, 8]])))
def rows_padded_with_their_neighbours(g: Graph) -> None:
    x = g.input("x", "n", 4)
    wrapped = g.op("Pad", x, [1, 0, 0, 0], mode="wrap")
    g.output(g.op("Slice", wrapped, [0], [-1], [0]), "n", 4)


@zoo.add(ALONG)
def sequence_of_rows_joined_backwards(g: Graph) -> None:
    x = g.input("x", "n", 4)
    rows = g.op("SplitToSequence", x, np.int64(1), axis=0)
    last = g.op("SequenceAt", rows, np.int64(-1))
    g.output(g.op("Add", x, last), "n", 4)


@zoo.add(ALONG)
def smallest_row_cast_to_flags(g: Graph) -> None:
    x = g.input("x", "n", 4)
    worst = g.op("ArgMin", g.op("ReduceSum", x, [1], keepdims=0), axis=0, keepdims=1)
    chosen = g.op("Cast", g.op("Gather", x, worst, axis=0), to=F)
    g.output(g.op("Equal", x, chosen), "n", 4, kind=BOOL)
