"""Rows coupled by a scale or another figure of the whole batch."""

from __future__ import annotations

import numpy as np

from .build import BOOL, I32, I64, MS, U8, F, Graph, Zoo, f32, feeds, rng, weights

zoo = Zoo()
SCALES = "figures of the whole batch"
W = np.clip(np.round(rng(1).normal(size=(4, 4)) * 60), -128, 127).astype(np.int8)


def quantised(g: Graph, x: str, w: np.ndarray = W) -> str:
    """What quantize_dynamic makes of a MatMul."""
    xq, scale, zero = g.ops("DynamicQuantizeLinear", x, outputs=3)
    product = g.op("Cast", g.op("MatMulInteger", xq, w, zero), to=F)
    return g.op("Mul", product, g.op("Mul", scale, 1 / 60))


def label(g: Graph, value: str) -> None:
    g.output(g.op("ArgMax", value, axis=1, keepdims=0), "n", kind=I64)


@zoo.add(SCALES)
def dynamic_quantize_label(g: Graph) -> None:
    label(g, quantised(g, g.input("x", "n", 4)))


@zoo.add(SCALES)
def dynamic_quantize_flags(g: Graph) -> None:
    g.output(g.op("Greater", quantised(g, g.input("x", "n", 4)), 0.0), "n", 4, kind=BOOL)


@zoo.add(SCALES)
def dynamic_quantize_ranks(g: Graph) -> None:
    _, ranks = g.ops("TopK", quantised(g, g.input("x", "n", 4)), [2], outputs=2, axis=1)
    g.output(ranks, "n", 2, kind=I64)


@zoo.add(SCALES)
def dynamic_quantize_saturated(g: Graph) -> None:
    z = g.op("Mul", quantised(g, g.input("x", "n", 4)), 2000.0)
    g.output(g.op("Sigmoid", z), "n", 4)


@zoo.add(SCALES)
def dynamic_quantize_two_layers(g: Graph) -> None:
    hidden = g.op("Relu", quantised(g, g.input("x", "n", 4)))
    g.output(g.op("Softmax", quantised(g, hidden), axis=1), "n", 4)


@zoo.add(SCALES)
def dynamic_quantize_bytes(g: Graph) -> None:
    g.output(g.ops("DynamicQuantizeLinear", g.input("x", "n", 4), outputs=3)[0], "n", 4, kind=U8)


@zoo.add(SCALES, *(feeds(f32(rng(s).normal(size=(1, 1, 4, 4)) * k)) for s, k in ((1, 1), (2, 900))))
def dynamic_quantize_convolution(g: Graph) -> None:
    xq, scale, zero = g.ops("DynamicQuantizeLinear", g.input("x", "n", 1, 4, 4), outputs=3)
    z = g.op("ConvInteger", xq, W.reshape(2, 1, 2, 4)[:, :, :, :2], zero)
    z = g.op("Mul", g.op("Cast", z, to=F), scale)
    g.output(g.op("ReduceMax", z, axes=[2, 3], keepdims=0), "n", 2)


@zoo.add(SCALES)
def dynamic_quantize_fused(g: Graph) -> None:
    g.output(g.ms("DynamicQuantizeMatMul", g.input("x", "n", 4), W, 0.02), "n", 4)


@zoo.add(SCALES)
def dynamic_quantize_integer_to_float(g: Graph) -> None:
    xq, scale, zero = g.ops("DynamicQuantizeLinear", g.input("x", "n", 4), outputs=3)
    z = g.ms("MatMulIntegerToFloat", xq, W, scale, 0.02, zero)
    label(g, z)


@zoo.add(SCALES, *(feeds(f32(rng(s).normal(size=(1, 3, 4)) * k)) for s, k in ((1, 1), (2, 900))))
def dynamic_quantize_lstm(g: Graph) -> None:
    x = g.op("Transpose", g.input("x", "n", 3, 4), perm=[1, 0, 2])
    w = np.clip(np.round(rng(2).normal(size=(1, 4, 8)) * 60), -128, 127).astype(np.int8)
    r = np.clip(np.round(rng(3).normal(size=(1, 2, 8)) * 60), -128, 127).astype(np.int8)
    scale, zero = f32([0.01]), np.zeros(1, np.int8)
    h = g.ops(
        "DynamicQuantizeLSTM",
        *(x, w, r, "", "", "", "", "", scale, zero, scale, zero),
        outputs=2,
        domain=MS,
        hidden_size=2,
    )[1]
    g.output(g.op("Squeeze", h, [0]), "n", 2)


@zoo.add(SCALES, *(feeds(f32(rng(s).normal(size=(1, 3, 4)) * k)) for s, k in ((1, 1), (2, 900))))
def dynamic_quantize_attention(g: Graph) -> None:
    xq, scale, zero = g.ops("DynamicQuantizeLinear", g.input("x", "n", 3, 4), outputs=3)
    w = np.clip(np.round(rng(2).normal(size=(4, 12)) * 60), -128, 127).astype(np.int8)
    bias = np.zeros(12, np.float32)
    more = (bias, scale, 0.02, "", zero, np.int8(0))
    g.output(g.ms("QAttention", xq, w, *more, num_heads=2), "n", 3, 4)


@zoo.add(SCALES)
def dynamic_quantize_in_a_function(g: Graph) -> None:
    g.function("Dense", 1, quantised)
    g.function("Deep", 1, lambda f, x: f.call("Dense", f.op("Relu", f.call("Dense", x))))
    label(g, g.call("Deep", g.input("x", "n", 4)))


@zoo.add(SCALES)
def dynamic_quantize_in_a_branch(g: Graph) -> None:
    x = g.input("x", "n", 4)
    inner = g.branch(lambda b: quantised(b, x))
    other = g.branch(lambda b: b.op("Neg", x))
    outer = g.branch(lambda b: b.op("If", np.array(True), then_branch=inner, else_branch=other))
    label(g, g.op("If", np.array(True), then_branch=outer, else_branch=other))


@zoo.add(SCALES)
def scale_computed_for_quantize_linear(g: Graph) -> None:
    x = g.input("x", "n", 4)
    scale = g.op("Div", g.op("ReduceMax", g.op("Abs", x), keepdims=0), 127.0)
    q = g.op("QuantizeLinear", x, scale, np.int8(0))
    g.output(g.op("DequantizeLinear", q, scale, np.int8(0)), "n", 4)


@zoo.add(SCALES)
def divided_by_the_maximum(g: Graph) -> None:
    x = g.input("x", "n", 4)
    g.output(g.op("Div", x, g.op("ReduceMax", x, keepdims=0)), "n", 4)


@zoo.add(SCALES)
def divided_by_the_maximum_from_1000(g: Graph) -> None:
    x = g.input("x", "n", 4)
    largest = g.op("Max", g.op("ReduceMax", x, keepdims=0), 500.0)
    g.output(g.op("Div", x, largest), "n", 4)


@zoo.add(SCALES)
def above_the_mean_of_each_column(g: Graph) -> None:
    x = g.input("x", "n", 4)
    centred = g.op("Sub", x, g.op("ReduceMean", x, axes=[0], keepdims=1))
    g.output(g.op("Greater", g.op("Add", centred, 50.0), 0.0), "n", 4, kind=BOOL)


@zoo.add(SCALES)
def divided_by_the_norm(g: Graph) -> None:
    x = g.input("x", "n", 4)
    z = g.op("Div", x, g.op("ReduceL2", x, keepdims=0))
    g.output(g.op("Round", g.op("Mul", z, 3.0)), "n", 4)


@zoo.add(SCALES)
def standardised_columns(g: Graph) -> None:
    x = g.input("x", "n", 4)
    d = g.op("Sub", x, g.op("ReduceMean", x, axes=[0]))
    variance = g.op("ReduceMean", g.op("Mul", d, d), axes=[0])
    g.output(g.op("Div", d, g.op("Sqrt", g.op("Add", variance, 1.0))), "n", 4)


@zoo.add(SCALES)
def whitened_by_sum_of_squares(g: Graph) -> None:
    x = g.input("x", "n", 4)
    z = g.op("Div", x, g.op("Add", g.op("ReduceSumSquare", x, keepdims=0), 1.0))
    label(g, g.op("Floor", g.op("Mul", z, 10.0)))


@zoo.add(SCALES)
def minus_log_sum_exp_of_all(g: Graph) -> None:
    x = g.op("Div", g.input("x", "n", 4), 100.0)
    g.output(g.op("Sub", x, g.op("ReduceLogSumExp", x, keepdims=0)), "n", 4)


@zoo.add(SCALES)
def lp_normalisation_of_columns(g: Graph) -> None:
    g.output(g.op("LpNormalization", g.input("x", "n", 4), axis=0, p=2), "n", 4)


@zoo.add(SCALES)
def batch_normalisation_in_training(g: Graph) -> None:
    ones, zeros = np.ones(4, np.float32), np.zeros(4, np.float32)
    arguments = (g.input("x", "n", 4), ones, zeros, zeros, ones)
    g.output(g.ops("BatchNormalization", *arguments, outputs=3, training_mode=1)[0], "n", 4)


@zoo.add(SCALES, *(feeds(f32(rng(s).normal(size=(1, 2, 2, 2)) * k)) for s, k in ((1, 1), (2, 900))))
def mean_variance_normalisation_of_the_batch(g: Graph) -> None:
    z = g.op("MeanVarianceNormalization", g.input("x", "n", 2, 2, 2), axes=[0, 2, 3])
    g.output(z, "n", 2, 2, 2)


@zoo.add(SCALES, *(feeds(f32(rng(s).normal(size=(1, 4)) * k)) for s, k in ((1, 1), (2, 900))))
def instance_normalisation_of_rows_as_places(g: Graph) -> None:
    columns = g.op("Unsqueeze", g.op("Transpose", g.input("x", "n", 4), perm=[1, 0]), [0])
    ones, zeros = np.ones(4, np.float32), np.zeros(4, np.float32)
    z = g.op("InstanceNormalization", columns, ones, zeros, epsilon=1.0)
    g.output(g.op("Transpose", g.op("Squeeze", z, [0]), perm=[1, 0]), "n", 4)


@zoo.add(SCALES)
def layer_normalisation_from_axis_0(g: Graph) -> None:
    g.output(g.op("LayerNormalization", g.input("x", "n", 4), f32(1), axis=0), "n", 4)


@zoo.add(SCALES)
def softmax_over_rows(g: Graph) -> None:
    g.output(g.op("Softmax", g.input("x", "n", 4), axis=0), "n", 4)


@zoo.add(SCALES)
def softmax_over_rows_counted_from_the_end(g: Graph) -> None:
    z = g.op("Softmax", g.op("Mul", g.input("x", "n", 4), 0.001), axis=-2)
    g.output(g.op("Greater", z, 0.9), "n", 4, kind=BOOL)


@zoo.add(SCALES, opset=11)
def flattening_softmax_of_axis_0(g: Graph) -> None:
    g.output(g.op("Softmax", g.input("x", "n", 4), axis=0), "n", 4)


@zoo.add(SCALES, opset=11)
def flattening_log_softmax_of_axis_minus_2(g: Graph) -> None:
    g.output(g.op("LogSoftmax", g.input("x", "n", 4), axis=-2), "n", 4)


@zoo.add(SCALES, opset=11)
def flattening_hardmax_of_axis_0(g: Graph) -> None:
    g.output(g.op("Hardmax", g.input("x", "n", 4), axis=0), "n", 4)


@zoo.add(SCALES)
def hardmax_over_rows(g: Graph) -> None:
    g.output(g.op("Hardmax", g.input("x", "n", 4), axis=0), "n", 4)


@zoo.add(SCALES)
def clipped_at_the_mean(g: Graph) -> None:
    x = g.input("x", "n", 4)
    g.output(g.op("Clip", x, "", g.op("ReduceMean", x, keepdims=0)), "n", 4)


@zoo.add(SCALES, *(feeds(np.array([[5, -3]], np.int32) * k) for k in (1, 900)))
def integers_modulo_their_sum(g: Graph) -> None:
    x = g.input("x", "n", 2, kind=I32)
    g.output(g.op("Mod", x, g.op("ReduceSum", x, keepdims=0)), "n", 2, kind=I32)


@zoo.add(SCALES)
def gemm_with_the_batchs_mean_as_bias(g: Graph) -> None:
    x = g.input("x", "n", 4)
    bias = g.op("ReduceMean", x, axes=[0], keepdims=1)
    g.output(g.op("Tanh", g.op("Gemm", x, weights(4, 4), bias)), "n", 4)
