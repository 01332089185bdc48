"""Independent rows: the layers that networks are made of, as exporters write them."""

from __future__ import annotations

import numpy as np

from .build import BOOL, I64, U8, Graph, Zoo, f32, feeds, i64, rng, weights

zoo = Zoo()
LAYERS = "layers"
A, B = (feeds(f32(rng(s).normal(size=(1, 4)))) for s in (1, 2))
A_TWO, B_ONE = feeds(f32(rng(1).normal(size=(2, 4)))), B
IMAGES = [feeds(f32(rng(s).normal(size=(s, 3, 8, 8)))) for s in (1, 2)]
STEPS = [feeds(f32(rng(s).normal(size=(s, 5, 4)))) for s in (1, 2)]
IDS = [feeds(i64(rng(s).integers(0, 10, size=(s, 5)))) for s in (1, 2)]


def dense(g: Graph, x: str, takes: int, gives: int, seed: int = 0) -> str:
    """MatMul and Add, as PyTorch and Keras write a layer over the last axis."""
    w, b = weights(takes, gives, seed=seed), weights(gives, seed=seed + 1)
    return g.op("Add", g.op("MatMul", x, w), b)


def conv(g: Graph, x: str, takes: int, gives: int, size: int = 3, **more: object) -> str:
    w = weights(gives, takes // int(str(more.get("group", 1))), size, size, seed=gives)
    pads = [size // 2] * 4
    return g.op("Conv", x, w / size, weights(gives), pads=pads, **more)


def batch_norm(g: Graph, x: str, channels: int) -> str:
    one = np.ones(channels, np.float32)
    return g.op("BatchNormalization", x, one, 0 * one, 0 * one, one * 2)


def layer_norm(g: Graph, x: str, size: int) -> str:
    return g.op("LayerNormalization", x, np.ones(size, np.float32), weights(size), axis=-1)


@zoo.add(LAYERS, A_TWO, B_ONE)
def multilayer_perceptron(g: Graph) -> None:
    z = g.op("Relu", dense(g, g.input("x", "n", 4), 4, 8))
    g.output(g.op("Softmax", dense(g, z, 8, 3), axis=-1), "n", 3)


@zoo.add(LAYERS, A_TWO, B_ONE)
def gemms_with_turned_weights(g: Graph) -> None:
    z = g.op("Gemm", g.input("x", "n", 4), weights(8, 4), weights(8), transB=1, alpha=0.5)
    z = g.op("Gemm", g.op("Tanh", z), weights(8, 3), weights(1, 3))
    g.output(g.op("Sigmoid", z), "n", 3)


@zoo.add(LAYERS, *IMAGES)
def convolutional_classifier(g: Graph) -> None:
    z = g.op("Relu", batch_norm(g, conv(g, g.input("x", "n", 3, 8, 8), 3, 4), 4))
    z = g.op("MaxPool", z, kernel_shape=[2, 2], strides=[2, 2])
    z = g.op("Flatten", g.op("GlobalAveragePool", z), axis=1)
    g.output(g.op("Gemm", z, weights(5, 4), weights(5), transB=1), "n", 5)


@zoo.add(LAYERS, *IMAGES)
def flattened_convolution_with_any_height(g: Graph) -> None:
    z = g.op("AveragePool", g.input("x", "n", 3, "h", "w"), kernel_shape=[3, 3], strides=[2, 2])
    g.output(g.op("Flatten", z), "n", None)


@zoo.add(LAYERS, *IMAGES)
def depthwise_convolution_and_clip(g: Graph) -> None:
    z = g.op("Clip", conv(g, g.input("x", "n", 3, 8, 8), 3, 6, group=3), 0.0, 6.0)
    z = g.op("Add", z, conv(g, z, 6, 6, size=1))
    g.output(g.op("ReduceMean", z, axes=[2, 3], keepdims=0), "n", 6)


@zoo.add(LAYERS, *IMAGES)
def transposed_convolution_and_resize(g: Graph) -> None:
    z = g.op("ConvTranspose", g.input("x", "n", 3, 8, 8), weights(3, 2, 2, 2), strides=[2, 2])
    z = g.op("Resize", z, "", f32([1, 1, 2, 2]), mode="nearest")
    g.output(g.op("DepthToSpace", g.op("Concat", z, z, axis=1), blocksize=2), "n", 1, 64, 64)


@zoo.add(LAYERS, *IMAGES)
def instance_and_group_normalisation(g: Graph) -> None:
    one = np.ones(3, np.float32)
    z = g.op("InstanceNormalization", g.input("x", "n", 3, 8, 8), one, 0 * one)
    g.output(g.op("MeanVarianceNormalization", z, axes=[2, 3]), "n", 3, 8, 8)


@zoo.add(LAYERS, *IMAGES)
def local_response_normalisation(g: Graph) -> None:
    g.output(g.op("LRN", g.input("x", "n", 3, 8, 8), size=3), "n", 3, 8, 8)


@zoo.add(LAYERS, *IMAGES)
def largest_values_without_their_places(g: Graph) -> None:
    z = g.op("LpPool", g.input("x", "n", 3, 8, 8), kernel_shape=[2, 2], p=2)
    g.output(g.op("GlobalMaxPool", z), "n", 3, 1, 1)


@zoo.add(LAYERS, *STEPS)
def layer_normalisation_of_steps(g: Graph) -> None:
    g.output(layer_norm(g, g.input("x", "n", "s", 4), 4), "n", "s", 4)


@zoo.add(LAYERS, *STEPS)
def layer_normalisation_written_out(g: Graph) -> None:
    x = g.input("x", "n", "s", 4)
    d = g.op("Sub", x, g.op("ReduceMean", x, axes=[-1]))
    variance = g.op("ReduceMean", g.op("Pow", d, 2.0), axes=[-1])
    g.output(g.op("Div", d, g.op("Sqrt", g.op("Add", variance, 1e-5))), "n", "s", 4)


@zoo.add(LAYERS, *IDS)
def embedding_and_mean(g: Graph) -> None:
    e = g.op("Gather", weights(10, 4), g.input("x", "n", "s", kind=I64), axis=0)
    g.output(g.op("ReduceMean", e, axes=[1], keepdims=0), "n", 4)


@zoo.add(LAYERS, *IDS)
def embedding_plus_positions(g: Graph) -> None:
    x = g.input("x", "n", "s", kind=I64)
    e = g.op("Gather", weights(10, 4), x)
    length = g.op("Slice", g.op("Shape", x), [1], [2])
    place = g.op("Slice", i64([range(20)]), [0], length, [1])
    g.output(g.op("Add", e, g.op("Gather", weights(20, 4, seed=1), place)), "n", "s", 4)


@zoo.add(LAYERS, *(feeds(one["x"][0]) for one in IDS))
def embedding_of_single_numbers(g: Graph) -> None:
    g.output(g.op("Gather", weights(10, 4), g.input("x", "n", kind=I64)), "n", 4)


@zoo.add(LAYERS, *IDS)
def one_hot_and_matmul(g: Graph) -> None:
    hot = g.op("OneHot", g.input("x", "n", 5, kind=I64), np.int64(10), f32([0, 1]), axis=-1)
    g.output(dense(g, hot, 10, 3), "n", 5, 3)


def recurrent(g: Graph, kind: str, gates: int, directions: int = 1, **more: object) -> list[str]:
    x = g.op("Transpose", g.input("x", "n", 5, 4), perm=[1, 0, 2])
    w, r = weights(directions, 3 * gates, 4, seed=1), weights(directions, 3 * gates, 3, seed=2)
    return g.ops(kind, x, w, r, outputs=2, hidden_size=3, **more)


@zoo.add(LAYERS, *STEPS)
def lstm_with_all_steps(g: Graph) -> None:
    y, _ = recurrent(g, "LSTM", 4)
    g.output(g.op("Transpose", g.op("Squeeze", y, [1]), perm=[1, 0, 2]), "n", 5, 3)


@zoo.add(LAYERS, *STEPS)
def bidirectional_gru_with_its_last_state(g: Graph) -> None:
    _, h = recurrent(g, "GRU", 3, 2, direction="bidirectional")
    z = g.op("Reshape", g.op("Transpose", h, perm=[1, 0, 2]), [-1, 6])
    g.output(dense(g, z, 6, 2), "n", 2)


@zoo.add(LAYERS, *STEPS)
def rnn_in_reverse(g: Graph) -> None:
    y, _ = recurrent(g, "RNN", 1, direction="reverse")
    last = g.op("Gather", g.op("Squeeze", y, [1]), np.int64(0), axis=0)
    g.output(last, "n", 3)


@zoo.add(LAYERS, *STEPS)
def lstm_with_states_of_zeros(g: Graph) -> None:
    x = g.input("x", "n", 5, 4)
    shape = g.op("Concat", [1], g.rows(x), [3], axis=0)
    state = g.op("ConstantOfShape", shape)
    turned = g.op("Transpose", x, perm=[1, 0, 2])
    more = (weights(1, 12, 4, seed=1), weights(1, 12, 3, seed=2), "", "", state, state)
    h = g.ops("LSTM", turned, *more, outputs=2, hidden_size=3)[1]
    g.output(g.op("Squeeze", h, [0]), "n", 3)


@zoo.add(LAYERS, *STEPS)
def gru_with_a_learnt_state_expanded(g: Graph) -> None:
    x = g.input("x", "n", 5, 4)
    state = g.op("Expand", weights(1, 1, 3), g.op("Concat", [1], g.rows(x), [1], axis=0))
    turned = g.op("Transpose", x, perm=[1, 0, 2])
    more = (weights(1, 9, 4, seed=1), weights(1, 9, 3, seed=2), "", "", state)
    h = g.ops("GRU", turned, *more, outputs=2, hidden_size=3)[1]
    g.output(g.op("Squeeze", h, [0]), "n", 3)


LENGTHS = [
    feeds(one["x"], np.arange(2, 2 + len(one["x"])).astype(np.int32), names="x lens")
    for one in STEPS
]


@zoo.add(LAYERS, *LENGTHS)
def gru_with_lengths_of_its_rows(g: Graph) -> None:
    x, lens = g.input("x", "n", 5, 4), g.input("lens", "n", kind=6)
    turned = g.op("Transpose", x, perm=[1, 0, 2])
    more = (weights(1, 9, 4, seed=1), weights(1, 9, 3, seed=2), "", lens)
    h = g.ops("GRU", turned, *more, outputs=2, hidden_size=3)[1]
    g.output(g.op("Squeeze", h, [0]), "n", 3)


@zoo.add(LAYERS, *LENGTHS)
def reversed_within_each_row(g: Graph) -> None:
    x, lens = g.input("x", "n", 5, 4), g.input("lens", "n", kind=6)
    lens = g.op("Cast", lens, to=I64)
    g.output(g.op("ReverseSequence", x, lens, batch_axis=0, time_axis=1), "n", 5, 4)


STATES = [
    feeds(f32(rng(s).normal(size=(s, 4))), f32(rng(s).normal(size=(s, 2, 3))), names="x state")
    for s in (1, 2)
]


@zoo.add(LAYERS, *STATES)
def state_of_the_caller_with_rows_first(g: Graph) -> None:
    x, state = g.input("x", "n", 4), g.input("state", "n", 2, 3)
    h = g.op("Transpose", state, perm=[1, 0, 2])
    steps = g.op("Unsqueeze", x, [0])
    w, r = weights(2, 9, 4, seed=1), weights(2, 9, 3, seed=2)
    more = {"hidden_size": 3, "direction": "bidirectional"}
    last = g.ops("GRU", steps, w, r, "", "", h, outputs=2, **more)[1]
    g.output(g.op("Transpose", last, perm=[1, 0, 2]), "n", 2, 3)


QUANTISED = weights(4, 4, seed=3) * 100


@zoo.add(LAYERS, A_TWO, B_ONE)
def statically_quantised_with_qdq(g: Graph) -> None:
    x = g.input("x", "n", 4)
    q = g.op("QuantizeLinear", x, 0.05, np.uint8(128))
    w = g.op("DequantizeLinear", QUANTISED.astype(np.int8), 0.01, np.int8(0))
    z = g.op("MatMul", g.op("DequantizeLinear", q, 0.05, np.uint8(128)), w)
    q = g.op("QuantizeLinear", z, 0.1, np.uint8(128))
    g.output(g.op("DequantizeLinear", q, 0.1, np.uint8(128)), "n", 4)


@zoo.add(LAYERS, A_TWO, B_ONE)
def statically_quantised_matmul(g: Graph) -> None:
    q = g.op("QuantizeLinear", g.input("x", "n", 4), 0.05, np.uint8(128))
    w = QUANTISED.astype(np.int8)
    scales = (f32(0.05), np.uint8(128), w, f32([0.01] * 4), np.zeros(4, np.int8))
    z = g.op("QLinearMatMul", q, *scales, 0.1, np.uint8(128))
    g.output(z, "n", 4, kind=U8)


@zoo.add(LAYERS, *IMAGES)
def statically_quantised_convolution(g: Graph) -> None:
    q = g.op("QuantizeLinear", g.input("x", "n", 3, 8, 8), 0.05, np.uint8(128))
    w = (weights(2, 3, 3, 3) * 50).astype(np.int8)
    z = g.op("QLinearConv", q, 0.05, np.uint8(128), w, 0.01, np.int8(0), 0.1, np.uint8(128))
    g.output(g.op("DequantizeLinear", z, 0.1, np.uint8(128)), "n", 2, 6, 6)


@zoo.add(LAYERS, *(feeds(np.array(rows, np.uint8)) for rows in ([[1, 2, 3, 4]], [[200, 9, 8, 7]])))
def integer_matmul_with_a_fixed_zero(g: Graph) -> None:
    z = g.op("MatMulInteger", g.input("x", "n", 4, kind=U8), QUANTISED.astype(np.int8), np.uint8(3))
    g.output(z, "n", 4, kind=6)


@zoo.add(LAYERS, A_TWO, B_ONE)
def label_and_probabilities(g: Graph) -> None:
    z = g.op("Softmax", dense(g, g.input("x", "n", 4), 4, 3), axis=1)
    g.output(g.op("ArgMax", z, axis=1, keepdims=0), "n", kind=I64)
    g.output(z, "n", 3)


@zoo.add(LAYERS, A_TWO, B_ONE)
def best_classes_and_their_scores(g: Graph) -> None:
    values, classes = g.ops("TopK", g.input("x", "n", 4), [2], outputs=2, axis=-1)
    g.output(values, "n", 2)
    g.output(classes, "n", 2, kind=I64)


@zoo.add(LAYERS, A_TWO, B_ONE, opset=11)
def softmax_of_opset_11_from_axis_1(g: Graph) -> None:
    g.output(g.op("Softmax", g.input("x", "n", 4), axis=1), "n", 4)


@zoo.add(LAYERS, *STEPS, opset=11)
def softmax_of_opset_11_flattening_inner_axes(g: Graph) -> None:
    g.output(g.op("LogSoftmax", g.input("x", "n", 5, 4)), "n", 5, 4)


@zoo.add(LAYERS, A_TWO, B_ONE, opset=7)
def perceptron_of_opset_7(g: Graph) -> None:
    z = g.op("Gemm", g.input("x", "n", 4), weights(4, 6), weights(6))
    z = g.op("Dropout", g.op("Relu", z), ratio=0.5)
    g.output(g.op("Softmax", z), "n", 6)


@zoo.add(LAYERS, A_TWO, B_ONE)
def dropout_out_of_training(g: Graph) -> None:
    z = g.op("Dropout", g.input("x", "n", 4), 0.5, np.array(False))
    g.output(g.op("Elu", g.op("Dropout", z)), "n", 4)


@zoo.add(LAYERS, A_TWO, B_ONE)
def running_sum_within_a_row(g: Graph) -> None:
    g.output(g.op("CumSum", g.input("x", "n", 4), np.int64(1)), "n", 4)


@zoo.add(LAYERS, A_TWO, B_ONE)
def norms_of_each_row(g: Graph) -> None:
    x = g.op("LpNormalization", g.input("x", "n", 4), axis=1)
    g.output(g.op("Concat", x, g.op("ReduceL2", x, axes=[1]), axis=1), "n", 5)


@zoo.add(LAYERS, A_TWO, B_ONE)
def clipped_and_compared(g: Graph) -> None:
    x = g.op("Clip", g.input("x", "n", 4), -1.0, 1.0)
    flags = g.op("And", g.op("Greater", x, 0.0), g.op("Less", x, f32([[0.5]])))
    g.output(g.op("Not", flags), "n", 4, kind=BOOL)


@zoo.add(LAYERS, A_TWO, B_ONE)
def slopes_and_activations(g: Graph) -> None:
    z = g.op("PRelu", g.input("x", "n", 4), f32([0.1, 0.2, 0.3, 0.4]))
    z = g.op("Selu", g.op("HardSigmoid", g.op("LeakyRelu", z)))
    g.output(g.op("Where", g.op("IsNaN", z), f32(0), g.op("Erf", z)), "n", 4)


PAIR = [
    feeds(f32(rng(s).normal(size=(s, 4))), f32(rng(s + 5).normal(size=(s, 4))), names="x s")
    for s in (1, 2)
]


@zoo.add(LAYERS, *PAIR)
def two_towers_and_their_cosine(g: Graph) -> None:
    x = g.op("LpNormalization", dense(g, g.input("x", "n", 4), 4, 3), axis=-1)
    s = g.op("LpNormalization", dense(g, g.input("s", "n", 4), 4, 3, seed=5), axis=-1)
    g.output(g.op("ReduceSum", g.op("Mul", x, s), [1], keepdims=1), "n", 1)


@zoo.add(LAYERS, *PAIR)
def joined_features(g: Graph) -> None:
    z = g.op("Concat", g.input("x", "n", 4), g.input("s", "n", 4), axis=-1)
    g.output(dense(g, g.op("Max", z, f32([0])), 8, 2), "n", 2)


@zoo.add(LAYERS, *PAIR)
def bilinear_form_of_two_inputs(g: Graph) -> None:
    x, s = g.input("x", "n", 4), g.input("s", "n", 4)
    g.output(g.op("Einsum", x, weights(4, 4), s, equation="ni,ij,nj->n"), "n")
