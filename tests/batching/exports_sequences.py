"""Speech and sequence networks in the nodes that PyTorch, Keras and tf2onnx write."""

from __future__ import annotations

import numpy as np

from .build import I32, I64, Graph, Zoo, f32, feeds, rng, weights
from .exports_text import FOREVER, HUGGING_FACE, IDS, VOCABULARY, encoder, gelu
from .exports_vision import KERAS, PYTORCH
from .independent_layers import STEPS, dense, layer_norm
from .independent_shapes import dim

zoo = Zoo()
entries = zoo.entries


@zoo.add(HUGGING_FACE, *(feeds(f32(rng(s).normal(size=(s, 4, 12))), names="mel") for s in (1, 2)))
def whisper_encoder(g: Graph) -> None:
    mel = g.input("mel", "batch", 4, 12)
    z = gelu(g, g.op("Conv", mel, weights(4, 4, 3), weights(4), pads=[1, 1]))
    z = gelu(g, g.op("Conv", z, weights(4, 4, 3), weights(4), pads=[1, 1], strides=[2]))
    x = g.op("Add", g.op("Transpose", z, perm=[0, 2, 1]), weights(6, 4))
    g.output(encoder(g, x), "batch", 6, 4)


WAVES = [feeds(f32(rng(s).normal(size=(s, 40))), names="input_values") for s in (1, 2)]


@zoo.add(HUGGING_FACE, *WAVES)
def wav2vec2_logits(g: Graph) -> None:
    """A group norm of one channel a group, written as InstanceNormalization on [0, c, -1]."""
    wave = g.op("Unsqueeze", g.input("input_values", "batch", "samples"), [1])
    z = g.op("Conv", wave, weights(4, 1, 5), strides=[3])
    z_shape = g.op("Shape", z)
    flat = g.op("Reshape", z, [0, 4, -1])
    flat = g.op("InstanceNormalization", flat, np.ones(4, np.float32), np.zeros(4, np.float32))
    z = gelu(g, g.op("Mul", g.op("Reshape", flat, z_shape), weights(4, 1)))
    x = g.op("Transpose", z, perm=[0, 2, 1])
    local = g.op("Transpose", x, perm=[0, 2, 1])
    local = g.op("Conv", local, weights(4, 2, 4), pads=[2, 2], group=2)
    local = g.op("Slice", local, [0], [-1], [2], [1])
    x = g.op("Add", x, gelu(g, g.op("Transpose", local, perm=[0, 2, 1])))
    g.output(dense(g, encoder(g, layer_norm(g, x, 4)), 4, 7), "batch", "frames", 7)


@zoo.add(PYTORCH, *STEPS)
def pytorch_lstm_with_states_of_zeros(g: Graph) -> None:
    """torch.onnx writes batch_first as transposes, zeros as an Expand, layers one by one."""
    x = g.input("x", "batch", "steps", 4)
    turned = g.op("Transpose", x, perm=[1, 0, 2])
    size = g.op("Unsqueeze", dim(g, turned, 1), [0])
    zeros = g.op("Expand", np.zeros((1, 1, 1), np.float32), g.op("Concat", [2], size, [3], axis=0))
    for takes in (4, 6):
        w, r, b = weights(2, 12, takes), weights(2, 12, 3), weights(2, 24)
        more = {"hidden_size": 3, "direction": "bidirectional"}
        y = g.ops("LSTM", turned, w, r, b, "", zeros, zeros, outputs=3, **more)[0]
        turned = g.op("Reshape", g.op("Transpose", y, perm=[0, 2, 1, 3]), [0, 0, -1])
    z = g.op("Transpose", turned, perm=[1, 0, 2])
    last = g.op("Gather", z, np.int64(-1), axis=1)
    g.output(dense(g, last, 6, 2), "batch", 2)


@zoo.add(PYTORCH, *STEPS)
def temporal_convolutions(g: Graph) -> None:
    z = g.op("Transpose", g.input("x", "batch", 5, 4), perm=[0, 2, 1])
    for dilation in (1, 2):
        inside = g.op("Conv", z, weights(4, 4, 2), pads=[dilation] * 2, dilations=[dilation])
        inside = g.op("Slice", inside, [0], [-dilation], [2], [1])
        z = g.op("Relu", g.op("Add", z, g.op("Relu", inside)))
    last = g.op("Squeeze", g.op("Slice", z, [-1], [FOREVER], [2]), [2])
    g.output(dense(g, last, 4, 2), "batch", 2)


@zoo.add(KERAS, *STEPS)
def keras_lstm(g: Graph) -> None:
    """tf2onnx: the states are zeros whose shape is cut from the input's."""
    x = g.input("x", "unk__1", 5, 4)
    whole = g.op("Cast", g.op("Shape", x), to=I32)
    rows = g.op("Slice", whole, [0], [1], [0])
    filled = g.op("Concat", g.op("Cast", rows, to=I64), [3], axis=0)
    zeros = g.op("Unsqueeze", g.op("Expand", f32([0]), filled), [0])
    turned = g.op("Transpose", x, perm=[1, 0, 2])
    w, r, b = weights(1, 12, 4), weights(1, 12, 3), weights(1, 24)
    h = g.ops("LSTM", turned, w, r, b, "", zeros, zeros, outputs=2, hidden_size=3)[1]
    g.output(g.op("Sigmoid", dense(g, g.op("Squeeze", h, [0]), 3, 1)), "unk__2", 1)


@zoo.add(KERAS, *IDS)
def keras_embedding_and_gru(g: Graph) -> None:
    ids = g.input("input_ids", "unk__1", 6, kind=I64)
    x = g.op("Gather", VOCABULARY, g.op("Cast", ids, to=I32))
    x = g.op("Transpose", x, perm=[1, 0, 2])
    y = g.ops("GRU", x, weights(1, 9, 4), weights(1, 9, 3), outputs=1, hidden_size=3)[0]
    y = g.op("Transpose", g.op("Squeeze", y, [1]), perm=[1, 0, 2])
    y = g.op("ReduceMax", y, axes=[1], keepdims=0)
    g.output(g.op("Softmax", dense(g, y, 3, 4), axis=-1), "unk__2", 4)


@zoo.add(KERAS, *STEPS)
def keras_attention_by_einsum(g: Graph) -> None:
    x = g.input("x", "unk__1", None, 4)
    q, k, v = (
        g.op("Einsum", x, weights(4, 2, 2, seed=s), equation="abc,cde->abde") for s in (1, 2, 3)
    )
    scores = g.op("Einsum", k, g.op("Mul", q, 0.7), equation="aecd,abcd->acbe")
    z = g.op("Einsum", g.op("Softmax", scores, axis=-1), v, equation="acbe,aecd->abcd")
    z = g.op("Einsum", z, weights(2, 2, 4, seed=4), equation="abcd,cde->abe")
    pooled = g.op("ReduceMean", g.op("Add", x, z), axes=[1], keepdims=0)
    g.output(dense(g, pooled, 4, 2), "unk__2", 2)
