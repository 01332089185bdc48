"""Image networks in the nodes that PyTorch, Keras and tf2onnx write, shape arithmetic included."""

from __future__ import annotations

import numpy as np

from .build import I32, I64, Graph, Zoo, f32, feeds, i64, rng, weights
from .independent_layers import IMAGES, batch_norm, conv, dense, layer_norm
from .independent_shapes import attention, dim, shape

zoo = Zoo()
entries = zoo.entries
PYTORCH = "PyTorch-like"
KERAS = "Keras-like"
PADDLE = "Paddle-like"
CHANNELS_LAST = [feeds(one["x"].transpose(0, 2, 3, 1)) for one in IMAGES]


def block(g: Graph, x: str, takes: int, gives: int, **more: object) -> str:
    return g.op("Relu", batch_norm(g, conv(g, x, takes, gives, **more), gives))


def head(g: Graph, z: str, channels: int, classes: int = 5) -> None:
    z = g.op("Flatten", g.op("GlobalAveragePool", z), axis=1)
    z = g.op("Gemm", z, weights(classes, channels), weights(classes), transB=1)
    g.output(z, "batch", classes)


@zoo.add(PYTORCH, *IMAGES)
def resnet(g: Graph) -> None:
    z = block(g, g.input("x", "batch", 3, "h", "w"), 3, 4, strides=[2, 2])
    z = g.op("MaxPool", z, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for _ in range(2):
        inside = batch_norm(g, conv(g, block(g, z, 4, 4), 4, 4), 4)
        z = g.op("Relu", g.op("Add", inside, z))
    head(g, z, 4)


@zoo.add(PYTORCH, *IMAGES)
def mobilenet_v2(g: Graph) -> None:
    x = g.input("x", "batch", 3, 8, 8)
    z = g.op("Clip", conv(g, x, 3, 4), 0.0, 6.0)
    wide = g.op("Clip", batch_norm(g, conv(g, z, 4, 8, size=1), 8), 0.0, 6.0)
    deep = g.op("Clip", conv(g, wide, 8, 8, group=8), 0.0, 6.0)
    z = g.op("Add", z, conv(g, deep, 8, 4, size=1))
    z = g.op("ReduceMean", z, axes=[2, 3], keepdims=0)
    g.output(g.op("Gemm", z, weights(4, 5), weights(5)), "batch", 5)


@zoo.add(PYTORCH, *IMAGES)
def efficientnet_with_squeeze_and_excitation(g: Graph) -> None:
    z = conv(g, g.input("x", "batch", 3, 8, 8), 3, 4)
    z = g.op("Mul", z, g.op("Sigmoid", z))
    s = conv(g, g.op("GlobalAveragePool", z), 4, 2, size=1)
    s = conv(g, g.op("Mul", s, g.op("Sigmoid", s)), 2, 4, size=1)
    head(g, g.op("Mul", z, g.op("Sigmoid", s)), 4)


@zoo.add(PYTORCH, *IMAGES)
def unet_padded_to_its_skip(g: Graph) -> None:
    """F.pad by differences of shapes, as the popular implementation does."""
    x = g.input("x", "batch", 3, "h", "w")
    skip = block(g, x, 3, 4)
    low = block(g, g.op("MaxPool", skip, kernel_shape=[2, 2], strides=[2, 2]), 4, 4)
    up = g.op("ConvTranspose", low, weights(4, 4, 2, 2), strides=[2, 2])
    missing = [g.op("Sub", dim(g, skip, axis), dim(g, up, axis)) for axis in (2, 3)]
    half = [g.op("Div", one, np.int64(2)) for one in missing]
    rest = [g.op("Sub", *pair) for pair in zip(missing, half, strict=True)]
    up = g.op("Pad", up, shape(g, 0, 0, *half, 0, 0, *rest))
    z = block(g, g.op("Concat", skip, up, axis=1), 8, 4)
    g.output(conv(g, z, 4, 2, size=1), "batch", 2, "h", "w")


@zoo.add(PYTORCH, *IMAGES)
def unet_upsampled_to_a_size(g: Graph) -> None:
    x = g.input("x", "batch", 3, "h", "w")
    low = block(g, x, 3, 4, strides=[2, 2])
    size = g.op("Cast", g.op("Slice", g.op("Shape", x), [2], [4], [0]), to=I64)
    sizes = g.op("Concat", g.op("Slice", g.op("Shape", low), [0], [2], [0]), size, axis=0)
    more = {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"}
    z = g.op("Resize", low, "", "", sizes, **more)
    g.output(g.op("ArgMax", conv(g, z, 4, 2), axis=1, keepdims=0), "batch", "h", "w", kind=I64)


@zoo.add(PYTORCH, *IMAGES)
def vision_transformer(g: Graph) -> None:
    x = g.input("x", "batch", 3, 8, 8)
    z = g.op("Conv", x, weights(4, 3, 4, 4), weights(4), strides=[4, 4])
    z = g.op("Reshape", z, shape(g, dim(g, z, 0), dim(g, z, 1), -1))
    z = g.op("Transpose", z, perm=[0, 2, 1])
    wanted = shape(g, dim(g, x, 0), -1, -1)
    ones = g.op("ConstantOfShape", g.op("Shape", wanted), value=one())
    into = g.op("Where", g.op("Equal", wanted, [-1]), ones, wanted)
    token = g.op("Expand", weights(1, 1, 4), into)
    z = g.op("Add", g.op("Concat", token, z, axis=1), weights(1, 5, 4))
    z = g.op("Add", z, attention(g, layer_norm(g, z, 4)))
    z = g.op("Gather", layer_norm(g, z, 4), np.int64(0), axis=1)
    g.output(g.op("Gemm", z, weights(5, 4), weights(5), transB=1), "batch", 5)


def one() -> object:
    from onnx import helper

    return helper.make_tensor("one", I64, [1], [1])


@zoo.add(PYTORCH, *IMAGES)
def swin_transformer_with_shifted_windows(g: Graph) -> None:
    """Windows are fused into the batch, [n, 8, 8, c] -> [n * 4, 16, c], and taken apart again."""
    x = conv(g, g.input("x", "batch", 3, 8, 8), 3, 4, size=1)
    z = g.op("Transpose", x, perm=[0, 2, 3, 1])
    for axis in (1, 2):
        parts = [g.op("Slice", z, [a], [b], [axis]) for a, b in ((2, 2**63 - 1), (0, 2))]
        z = g.op("Concat", *parts, axis=axis)
    z = g.op("Reshape", z, shape(g, dim(g, z, 0), 2, 4, 2, 4, 4))
    z = g.op("Reshape", g.op("Transpose", z, perm=[0, 1, 3, 2, 4, 5]), [-1, 4, 4, 4])
    z = attention(g, g.op("Reshape", z, [-1, 16, 4]))
    z = g.op("Reshape", g.op("Reshape", z, [-1, 4, 4, 4]), [-1, 2, 2, 4, 4, 4])
    z = g.op("Transpose", z, perm=[0, 1, 3, 2, 4, 5])
    z = g.op("Reshape", z, shape(g, dim(g, x, 0), 64, 4))
    g.output(g.op("ReduceMean", layer_norm(g, z, 4), axes=[1], keepdims=0), "batch", 4)


@zoo.add(PYTORCH, *IMAGES)
def convnext(g: Graph) -> None:
    x = conv(g, g.input("x", "batch", 3, 8, 8), 3, 4)
    z = g.op("Transpose", conv(g, x, 4, 4, size=7, group=4), perm=[0, 2, 3, 1])
    z = dense(g, layer_norm(g, z, 4), 4, 8)
    gelu = g.op("Mul", z, g.op("Add", g.op("Erf", g.op("Div", z, 1.4142)), 1.0))
    z = g.op("Mul", dense(g, g.op("Mul", gelu, 0.5), 8, 4), weights(4))
    head(g, g.op("Add", x, g.op("Transpose", z, perm=[0, 3, 1, 2])), 4)


@zoo.add(PYTORCH, *IMAGES)
def shufflenet(g: Graph) -> None:
    z = conv(g, g.input("x", "batch", 3, 8, 8), 3, 4)
    left, right = g.ops("Split", z, [2, 2], outputs=2, axis=1)
    z = g.op("Concat", left, block(g, right, 2, 2), axis=1)
    n, h, w = (dim(g, z, axis) for axis in (0, 2, 3))
    z = g.op("Transpose", g.op("Reshape", z, shape(g, n, 2, 2, h, w)), perm=[0, 2, 1, 3, 4])
    head(g, g.op("Reshape", z, shape(g, n, -1, h, w)), 4)


@zoo.add(PYTORCH, *IMAGES)
def yolo_before_its_suppression(g: Graph) -> None:
    z = conv(g, g.input("x", "batch", 3, 8, 8), 3, 12)
    n, h, w = (dim(g, z, axis) for axis in (0, 2, 3))
    z = g.op("Reshape", z, shape(g, n, 2, 6, h, w))
    z = g.op("Sigmoid", g.op("Transpose", z, perm=[0, 1, 3, 4, 2]))
    xy, wh, score = g.ops("Split", z, [2, 2, 2], outputs=3, axis=4)
    grid = f32(np.stack(np.meshgrid(range(8), range(8)), -1).reshape(1, 1, 8, 8, 2))
    xy = g.op("Mul", g.op("Add", g.op("Mul", xy, 2.0), grid), 8.0)
    wh = g.op("Mul", g.op("Pow", g.op("Mul", wh, 2.0), 2.0), f32([[[[[10, 13]]]]]))
    z = g.op("Concat", xy, wh, score, axis=4)
    g.output(g.op("Reshape", z, shape(g, n, -1, 6)), "batch", "boxes", 6)


@zoo.add(PYTORCH, *IMAGES)
def detr_with_queries_of_its_own(g: Graph) -> None:
    x = g.input("x", "batch", 3, 8, 8)
    memory = g.op("Reshape", conv(g, x, 3, 4), shape(g, dim(g, x, 0), 4, -1))
    memory = g.op("Transpose", memory, perm=[0, 2, 1])
    queries = g.op("Tile", weights(1, 6, 4), shape(g, dim(g, x, 0), 1, 1))
    scores = g.op("MatMul", queries, g.op("Transpose", memory, perm=[0, 2, 1]))
    z = g.op("MatMul", g.op("Softmax", scores, axis=-1), memory)
    g.output(dense(g, z, 4, 3), "batch", 6, 3)
    g.output(g.op("Sigmoid", dense(g, z, 4, 4, seed=5)), "batch", 6, 4)


@zoo.add(PYTORCH, *IMAGES)
def vae_encoder_and_decoder(g: Graph) -> None:
    z = g.op("Flatten", block(g, g.input("x", "batch", 3, 8, 8), 3, 2, strides=[2, 2]), axis=1)
    mean = g.op("Gemm", z, weights(3, 32), weights(3), transB=1)
    z = g.op("Reshape", dense(g, mean, 3, 32), [-1, 2, 4, 4])
    z = g.op("ConvTranspose", g.op("Relu", z), weights(2, 3, 2, 2), strides=[2, 2])
    g.output(g.op("Sigmoid", z), "batch", 3, 8, 8)
    g.output(mean, "batch", 3)


@zoo.add(PYTORCH, *IMAGES)
def super_resolution(g: Graph) -> None:
    z = block(g, g.input("x", "batch", 3, "h", "w"), 3, 4)
    z = conv(g, z, 4, 12)
    z = g.op("Reshape", z, shape(g, dim(g, z, 0), 3, 2, 2, dim(g, z, 2), dim(g, z, 3)))
    z = g.op("Transpose", z, perm=[0, 1, 4, 2, 5, 3])
    tall, wide = (g.op("Mul", dim(g, z, a), np.int64(2)) for a in (2, 4))
    g.output(g.op("Reshape", z, shape(g, dim(g, z, 0), 3, tall, wide)), "batch", 3, None, None)


@zoo.add(PADDLE, *IMAGES)
def text_recognition_of_paddle(g: Graph) -> None:
    """CRNN: the height is squeezed away, steps go first for the LSTM and come back."""
    z = block(g, g.input("x", "batch", 3, 8, "w"), 3, 4)
    z = g.op("AveragePool", z, kernel_shape=[8, 1])
    z = g.op("Transpose", g.op("Squeeze", z, [2]), perm=[2, 0, 1])
    front = g.op("Slice", g.op("Shape", z), [1], [2], [0])
    state = g.op("Expand", np.zeros((1, 1, 1), np.float32), g.op("Concat", [2], front, [3], axis=0))
    w, r = weights(2, 12, 4, seed=1), weights(2, 12, 3, seed=2)
    more = {"direction": "bidirectional", "hidden_size": 3}
    y = g.ops("LSTM", z, w, r, "", "", state, state, outputs=1, **more)[0]
    y = g.op("Reshape", g.op("Transpose", y, perm=[0, 2, 1, 3]), [0, 0, -1])
    y = g.op("Softmax", dense(g, g.op("Transpose", y, perm=[1, 0, 2]), 6, 5), axis=2)
    g.output(y, "batch", "w", 5)


@zoo.add(KERAS, *CHANNELS_LAST)
def keras_convolutions(g: Graph) -> None:
    x = g.input("x", "unk__1", 8, 8, 3)
    z = block(g, g.op("Transpose", x, perm=[0, 3, 1, 2]), 3, 4)
    z = g.op("MaxPool", z, kernel_shape=[2, 2], strides=[2, 2])
    z = g.op("Reshape", g.op("Transpose", z, perm=[0, 2, 3, 1]), [-1, 64])
    g.output(g.op("Softmax", dense(g, z, 64, 5), axis=1), "unk__2", 5)


@zoo.add(KERAS, *CHANNELS_LAST)
def keras_mobilenet(g: Graph) -> None:
    x = g.input("x", "unk__1", 8, 8, 3)
    z = g.op("Add", g.op("Mul", x, 2 / 255), -1.0)
    z = g.op("Pad", z, [0, 0, 0, 0, 0, 1, 1, 0])
    z = g.op("Transpose", z, perm=[0, 3, 1, 2])
    z = g.op("Clip", g.op("Conv", z, weights(6, 3, 3, 3), strides=[2, 2]), 0.0, 6.0)
    z = g.op("Clip", conv(g, z, 6, 6, group=6), 0.0, 6.0)
    z = g.op("Squeeze", g.op("GlobalAveragePool", z), [2, 3])
    g.output(g.op("Softmax", dense(g, z, 6, 5), axis=1), "unk__2", 5)


@zoo.add(KERAS, *CHANNELS_LAST)
def keras_resizing_by_its_own_shape(g: Graph) -> None:
    x = g.input("x", "unk__1", None, None, 3)
    whole = g.op("Cast", g.op("Shape", x), to=I32)
    inner = g.op("Mul", g.op("Slice", whole, [1], [3], [0]), np.array([2, 2], np.int32))
    front = g.op("Slice", g.op("Shape", g.op("Transpose", x, perm=[0, 3, 1, 2])), [0], [2], [0])
    sizes = g.op("Concat", front, g.op("Cast", inner, to=I64), axis=0)
    z = g.op("Transpose", x, perm=[0, 3, 1, 2])
    z = g.op("Resize", z, "", "", sizes, mode="nearest")
    g.output(g.op("Transpose", z, perm=[0, 2, 3, 1]), "unk__2", None, None, 3)


@zoo.add(KERAS, *CHANNELS_LAST)
def keras_autoencoder(g: Graph) -> None:
    z = g.op("Reshape", g.input("x", "unk__1", 8, 8, 3), [-1, 192])
    z = g.op("Relu", dense(g, g.op("Relu", dense(g, z, 192, 8)), 8, 192))
    g.output(g.op("Sigmoid", g.op("Reshape", z, [-1, 8, 8, 3])), "unk__2", 8, 8, 3)


@zoo.add(PYTORCH, *(feeds(f32(rng(s).normal(size=(s, 3, 10)))) for s in (1, 2)))
def pointnet(g: Graph) -> None:
    x = g.input("x", "batch", 3, "points")
    z = g.op("Conv", x, weights(9, 3, 1))
    pooled = g.op("ReduceMax", z, axes=[2], keepdims=0)
    turn = g.op("Add", g.op("Reshape", pooled, [-1, 3, 3]), f32(np.eye(3)))
    z = g.op("MatMul", g.op("Transpose", x, perm=[0, 2, 1]), turn)
    z = g.op("ReduceMax", g.op("Relu", dense(g, z, 3, 6)), axes=[1], keepdims=0)
    g.output(g.op("LogSoftmax", dense(g, z, 6, 4), axis=1), "batch", 4)


@zoo.add(PYTORCH, *IMAGES)
def statically_quantised_resnet(g: Graph) -> None:
    def qdq(value: str, scale: float) -> str:
        q = g.op("QuantizeLinear", value, scale, np.uint8(128))
        return g.op("DequantizeLinear", q, scale, np.uint8(128))

    w = g.op("DequantizeLinear", (weights(4, 3, 3, 3) * 99).astype(np.int8), 0.01, np.int8(0))
    z = qdq(g.op("Conv", qdq(g.input("x", "batch", 3, 8, 8), 0.05), w), 0.1)
    z = qdq(g.op("Relu", z), 0.1)
    z = g.op("Flatten", qdq(g.op("GlobalAveragePool", z), 0.1))
    g.output(qdq(g.op("Gemm", z, weights(4, 5)), 0.1), "batch", 5)


@zoo.add(PYTORCH, *IMAGES)
def regions_pooled_by_a_fixed_grid(g: Graph) -> None:
    grid = f32(np.stack(np.meshgrid(*[np.linspace(-1, 1, 4)] * 2), -1))[None]
    x = g.input("x", "batch", 3, 8, 8)
    wide = g.op("Expand", grid, g.op("Concat", g.rows(x), [1, 1, 1], axis=0))
    z = g.op("GridSample", x, wide, align_corners=1)
    g.output(g.op("Gather", z, i64([0, 2]), axis=1), "batch", 2, 4, 4)
