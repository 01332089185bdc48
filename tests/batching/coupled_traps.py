"""Rows coupled where a default, a constant or a rank looks harmless and is not."""

from __future__ import annotations

import numpy as np

from .build import BOOL, I64, STRING, F, Graph, Zoo, f32, feeds, i64, rng, weights
from .coupled_axis0 import ALONG
from .coupled_count import COUNT, FOLLOW
from .coupled_data import POINTING
from .coupled_mixed import MIXED, OWN
from .coupled_scales import SCALES

zoo = Zoo()
VECTORS = [feeds([value]) for value in (0.5, 2.0)]
IMAGES = [feeds(f32(rng(s).normal(size=(1, 1, 4, 4)))) for s in (1, 2)]
STEPS = [feeds(f32(rng(s).normal(size=(1, 3, 4)))) for s in (1, 2)]


# Rank 1: the last axis is the batch.


@zoo.add(SCALES, *VECTORS)
def softmax_of_a_vector_by_default_axis(g: Graph) -> None:
    g.output(g.op("Softmax", g.input("x", "n")), "n")


@zoo.add(SCALES, *VECTORS)
def lp_normalised_vector_by_default_axis(g: Graph) -> None:
    g.output(g.op("LpNormalization", g.input("x", "n")), "n")


@zoo.add(SCALES, *VECTORS)
def layer_normalised_vector(g: Graph) -> None:
    g.output(g.op("LayerNormalization", g.input("x", "n"), f32([1])), "n")


@zoo.add(ALONG, *VECTORS)
def top_of_a_vector(g: Graph) -> None:
    x = g.input("x", "n")
    g.output(g.op("Sub", x, g.ops("TopK", x, [1], outputs=2)[0]), "n")


@zoo.add(ALONG, *(feeds(f32([k, k + 1])) for k in (1, 5)))
def regression_of_a_vector_as_one_row(g: Graph) -> None:
    x = g.input("x", "n")
    z = g.ml("LinearRegressor", x, coefficients=[1.0, 2.0], intercepts=[0.5], targets=1)
    g.output(z, None, 1)


@zoo.add(POINTING, a=feeds([4.0]), b=feeds([7.0]))
def features_taken_out_of_a_vector(g: Graph) -> None:
    z = g.ml("ArrayFeatureExtractor", g.input("x", "n"), i64([0]))
    g.output(z, 1, 1)


# Defaults


@zoo.add(ALONG)
def arg_max_by_default_axis(g: Graph) -> None:
    x = g.input("x", "n", 4)
    best = g.op("ArgMax", x, keepdims=0)
    g.output(g.op("Add", x, g.op("Cast", best, to=F)), "n", 4)


@zoo.add(SCALES)
def reduced_over_empty_axes(g: Graph) -> None:
    x = g.input("x", "n", 4)
    total = g.op("ReduceSum", x, i64([]), keepdims=0, noop_with_empty_axes=0)
    g.output(g.op("Sub", x, total), "n", 4)


@zoo.add(ALONG)
def slice_without_axes(g: Graph) -> None:
    x = g.input("x", "n", 4)
    g.output(g.op("Sub", x, g.op("Slice", x, [0], [1])), "n", 4)


MANY = [feeds(f32(rng(s).normal(size=(40, 4)))) for s in (1, 2)]


@zoo.add(ALONG, *MANY)
def slice_that_ends_below_the_largest_batch(g: Graph) -> None:
    g.output(g.op("Slice", g.input("x", "n", 4), [0], [63], [0]), "n", 4)


@zoo.add(ALONG, a=feeds([[1, 2, 3, 4]]), b=feeds([[5, 6, 7, 8]]))
def compressed_without_an_axis(g: Graph) -> None:
    x = g.op("Compress", g.input("x", "n", 4), np.array([True, False, True, True]))
    g.output(g.op("Sub", x, 1.0), None)


@zoo.add(MIXED, *VECTORS)
def transposed_column_added(g: Graph) -> None:
    x = g.op("Unsqueeze", g.input("x", "n"), [1])
    z = g.op("Add", x, g.op("Transpose", x))
    g.output(g.op("ReduceMax", z, axes=[1], keepdims=0), "n")


# Constants of a size that only one row fits


@zoo.add(MIXED)
def constant_of_two_rows_added(g: Graph) -> None:
    g.output(g.op("Add", g.input("x", "n", 4), weights(2, 4)), None, 4)


@zoo.add(MIXED)
def expanded_to_two_rows(g: Graph) -> None:
    x = g.op("Expand", g.input("x", "n", 4), [2, 1])
    g.output(g.op("ReduceMax", x, axes=[0], keepdims=1), None, 4)


@zoo.add(MIXED)
def clipped_by_a_mask_of_two_rows(g: Graph) -> None:
    x = g.input("x", "n", 4)
    mask = np.array([[True] * 4, [False] * 4])
    z = g.op("Where", mask, x, f32([[0]]))
    g.output(g.op("ReduceSum", z, [0], keepdims=1), None, 4)


@zoo.add(OWN)
def reshaped_to_one_row(g: Graph) -> None:
    g.output(g.op("Reshape", g.input("x", "n", 4), [1, 4]), "n", 4)


@zoo.add(OWN)
def all_in_one_row_and_back(g: Graph) -> None:
    x = g.op("Reshape", g.input("x", "n", 4), [1, -1])
    z = g.op("Div", x, g.op("ReduceMax", x, axes=[1], keepdims=1))
    g.output(g.op("Reshape", z, [-1, 4]), "n", 4)


@zoo.add(OWN)
def batch_squeezed_away(g: Graph) -> None:
    x = g.op("Squeeze", g.input("x", "n", 4), [0])
    g.output(g.op("Unsqueeze", g.op("Softmax", x, axis=0), [0]), "n", 4)


@zoo.add(OWN, *STEPS)
def class_token_of_one_row(g: Graph) -> None:
    x = g.input("x", "n", 3, 4)
    g.output(g.op("Concat", weights(1, 1, 4), x, axis=1), "n", 4, 4)


@zoo.add(OWN, *STEPS)
def initial_state_of_one_row(g: Graph) -> None:
    x = g.op("Transpose", g.input("x", "n", 3, 4), perm=[1, 0, 2])
    h = g.op("ConstantOfShape", i64([1, 1, 3]))
    more = (weights(1, 9, 4, seed=1), weights(1, 9, 3, seed=2), "", "", h)
    g.output(g.op("Squeeze", g.ops("GRU", x, *more, outputs=2, hidden_size=3)[1], [0]), "n", 3)


@zoo.add(SCALES, a=feeds([[1, 2], [3, 4]]), b=feeds([[5, 6], [7, 8]]))
def dequantised_by_a_scale_for_each_row(g: Graph) -> None:
    q = g.op("QuantizeLinear", g.input("x", "n", 2), 1.0, np.int8(0))
    g.output(g.op("DequantizeLinear", q, f32([0.5, 2]), np.zeros(2, np.int8), axis=0), "n", 2)


# Shapes


UNEVEN = [
    feeds(f32(rng(s).normal(size=(1, 2, 4))), f32(rng(s).normal(size=(1, 4, 4))), names="x t")
    for s in (1, 2)
]


@zoo.add(MIXED, *UNEVEN)
def reshaped_to_the_length_of_another_input(g: Graph) -> None:
    x, t = g.input("x", "n", "s", 4), g.input("t", "n", "u", 4)
    length = g.op("Slice", g.op("Shape", t), [1], [2])
    shape = g.op("Concat", [-1], length, [4], axis=0)
    z = g.op("Softmax", g.op("Reshape", x, shape), axis=1)
    g.output(g.op("Reshape", z, g.op("Shape", x)), "n", "s", 4)


@zoo.add(COUNT)
def axis_of_a_sum_chosen_by_the_number_of_rows(g: Graph) -> None:
    x = g.input("x", "n", 4)
    axis = g.op("Sub", [2], g.rows(x))
    g.output(g.op("Sub", x, g.op("ReduceSum", x, axis, keepdims=1)), "n", 4)


@zoo.add(COUNT)
def count_narrowed_to_a_byte_and_back(g: Graph) -> None:
    x = g.input("x", "n", 4)
    large = g.op("Mul", g.rows(x), [100])
    byte = g.op("Cast", g.op("Cast", large, to=3), to=F)
    g.output(g.op("Mul", x, byte), "n", 4)


@zoo.add(COUNT)
def shape_turned_into_data(g: Graph) -> None:
    x = g.input("x", "n", 4)
    numbers = g.op("Cast", g.op("Shape", x), to=F)
    g.output(g.op("Add", x, g.op("ReduceSum", numbers, [0])), "n", 4)


@zoo.add(COUNT)
def window_as_long_as_the_batch(g: Graph) -> None:
    x = g.input("x", "n", 4)
    window = g.op("HannWindow", g.op("Squeeze", g.rows(x), [0]))
    g.output(g.op("Add", x, g.op("Unsqueeze", window, [1])), "n", 4)


@zoo.add(COUNT, *IMAGES)
def places_of_maxima_in_the_whole_tensor(g: Graph) -> None:
    _, places = g.ops("MaxPool", g.input("x", "n", 1, 4, 4), outputs=2, kernel_shape=[2, 2])
    g.output(places, "n", 1, 3, 3, kind=I64)


@zoo.add(COUNT)
def dropped_where_the_count_is_even(g: Graph) -> None:
    x = g.input("x", "n", 4)
    even = g.op("Equal", g.op("Mod", g.op("Size", x), np.int64(8)), np.int64(0))
    g.output(g.op("Where", even, g.op("Neg", x), x), "n", 4)


# Operators of their own kind


@zoo.add(MIXED)
def distances_to_all_rows(g: Graph) -> None:
    x = g.input("x", "n", 4)
    z = g.ms("CDist", x, x, metric="sqeuclidean")
    g.output(g.op("ReduceMax", z, axes=[1], keepdims=0), "n")


@zoo.add(MIXED)
def fused_matmul_with_its_left_side_turned(g: Graph) -> None:
    x = g.input("x", "n", 4)
    g.output(g.op("MatMul", x, g.ms("FusedMatMul", x, x, transA=1)), "n", 4)


@zoo.add(ALONG, *STEPS)
def fourier_transform_over_rows(g: Graph) -> None:
    x = g.op("Unsqueeze", g.input("x", "n", 3, 4), [3])
    z = g.op("Slice", g.op("DFT", x, axis=0), [0], [1], [3])
    g.output(g.op("Squeeze", z, [3]), "n", 3, 4)


REGIONS = [
    feeds(f32(rng(s).normal(size=(1, 1, 4, 4))), f32([[0, 0, 3, 3]]), i64([0]), names="x rois i")
    for s in (1, 2)
]


@zoo.add(POINTING, *REGIONS)
def regions_of_images_by_number(g: Graph) -> None:
    x, rois = g.input("x", "n", 1, 4, 4), g.input("rois", "n", 4)
    g.output(g.op("RoiAlign", x, rois, g.input("i", "n", kind=I64)), "n", 1, 1, 1)


@zoo.add(POINTING, *IMAGES)
def maxima_put_back_by_their_places(g: Graph) -> None:
    x = g.input("x", "n", 1, 4, 4)
    values, places = g.ops("MaxPool", x, outputs=2, kernel_shape=[2, 2], strides=[2, 2])
    shifted = g.op("Mod", g.op("Add", places, np.int64(16)), g.op("Size", x))
    z = g.op("MaxUnpool", values, shifted, kernel_shape=[2, 2], strides=[2, 2])
    g.output(z, "n", 1, 4, 4)


SENTENCES = [feeds(np.array([text], object)) for text in ("a b", "a b c d")]


@zoo.add(FOLLOW, *SENTENCES, opset=20)
def words_split_and_padded(g: Graph) -> None:
    words, _ = g.ops("StringSplit", g.input("x", "n", kind=STRING), outputs=2, delimiter=" ")
    g.output(words, "n", "k", kind=STRING)


LENGTHS = [
    feeds(f32(rng(s).normal(size=(1, 3, 4))), np.array([s], np.int32), names="x lens")
    for s in (1, 3)
]


@zoo.add(SCALES, *LENGTHS)
def every_sequence_as_long_as_the_longest(g: Graph) -> None:
    x = g.op("Transpose", g.input("x", "n", 3, 4), perm=[1, 0, 2])
    lens = g.input("lens", "n", kind=6)
    longest = g.op("Expand", g.op("ReduceMax", lens, keepdims=1), g.op("Shape", lens))
    more = (weights(1, 9, 4, seed=1), weights(1, 9, 3, seed=2), "", longest)
    g.output(g.op("Squeeze", g.ops("GRU", x, *more, outputs=2, hidden_size=3)[1], [0]), "n", 3)


@zoo.add(MIXED, a=feeds([[1, 2, 3, 4]]), b=feeds([[3, 1, 2, 5]]))
def loop_that_mixes_in_its_second_trip(g: Graph) -> None:
    x = g.input("x", "n", 4)
    body = g.body()
    body.taken(kind=I64)
    go, _first, second = body.taken(kind=BOOL), body.taken(None, 4), body.taken(None, 4)
    body.output(body.op("Identity", go), kind=BOOL)
    body.output(body.op("Identity", second), None, 4)
    body.output(body.op("ReduceMax", x, axes=[0], keepdims=1), None, 4)
    start = np.zeros((1, 4), np.float32)
    made = g.ops("Loop", np.int64(3), np.array(True), start, start, outputs=2, body=body.proto())
    g.output(g.op("Add", x, made[0]), "n", 4)


@zoo.add(SCALES)
def mean_of_the_batch_passed_down_two_bodies(g: Graph) -> None:
    x = g.input("x", "n", 4)
    mean = g.op("ReduceMean", x, axes=[0], keepdims=1)
    inner = g.branch(lambda b: b.op("Sub", x, mean))
    outer = g.branch(lambda b: b.op("If", np.array(True), then_branch=inner, else_branch=inner))
    g.output(g.op("If", np.array(True), then_branch=outer, else_branch=outer), "n", 4)


@zoo.add(POINTING, *(feeds([[1, 2]], i64([k]), names="x i") for k in (0, 1)))
def largest_index_of_the_batch(g: Graph) -> None:
    x, i = g.input("x", "n", 2), g.input("i", "n", kind=I64)
    g.output(g.op("Gather", x, g.op("ReduceMax", i, keepdims=0), axis=1), "n")
