"""The rules for ``com.microsoft`` say where rows meet, and in onnxruntime they do."""

from __future__ import annotations

import numpy as np
import pytest

from tests.batching.microsoft_cases import (
    COUPLED,
    IDS,
    LATER,
    NEVER,
    OPEN,
    SCALE,
    TABLE,
    TURNED,
    ZERO,
    bytes_of,
    case,
    quantized,
)
from tests.batching.one_node import ROWS, Batched, Case, Operand, check, floats, small, whole

TEXT = Batched(floats(3, 8) / 100)
LENGTHS = Batched((np.arange(ROWS) % 3 + 1).astype(np.int32))
HEADS, BIAS = {"num_heads": 2}, small(24)
IMAGE = Batched(floats(2, 4, 4), 1)
BYTES = quantized(4)
BYTE_IMAGE = Batched(quantized(4, 5, 5).array, 1)
ONES: list[Operand] = [SCALE, ZERO, SCALE, ZERO]
MIDDLE, CHANNELS = ((1, 3),), ((1, 4),)
FEW = {"K": ROWS, "N": 16, "block_size": 16}

WORDS = Batched(whole(4, top=9, dtype="int16"))
BOXES = np.array([[0.0, 0.0, 1.0, 1.0]] * ROWS, np.float32)
# Tables of words and places (none of segments), scale, shift, no mask, then their scales.
TABLES: list[Operand] = [bytes_of(9, 8), bytes_of(7, 8), None, bytes_of(8), bytes_of(8), None]
TABLES += [SCALE, SCALE, None, SCALE, SCALE, ZERO, ZERO, None, ZERO, ZERO]

MEETING = [
    case("BiasGelu", TURNED, small(ROWS), kind=COUPLED, outputs=LATER),
    case(
        "QAttention",
        *(Batched(quantized(3, 8).array, 1), bytes_of(8, 24), BIAS, SCALE, SCALE, None),
        *(ZERO, ZERO),
        kind=COUPLED,
        outputs=MIDDLE,
        **HEADS,
    ),
    case("RotaryEmbedding", TEXT, Batched(whole(top=5)), small(5, 4), small(5, 4), kind=COUPLED),
    case(
        "LinearAttention",
        *[Batched(floats(3, 4) / 1e6, 1)] * 3,
        kind=COUPLED,
        outputs=((1, 3), 0),
        q_num_heads=2,
        kv_num_heads=2,
        update_rule="linear",
    ),
    case(
        "CausalConvWithState",
        Batched(floats(4, 6), 1),
        small(ROWS, 1, 3),
        kind=COUPLED,
        outputs=(MIDDLE[0], 0),
    ),
    case("NGramRepeatBlock", Batched(whole(6, top=2)), small(1, 4), ngram_size=2, kind=OPEN),
    case(
        "QLinearAveragePool",
        BYTE_IMAGE,
        *ONES,
        kernel_shape=[2, 1],
        pads=[0, 0, 1, 0],
        channels_last=1,
        kind=COUPLED,
        outputs=CHANNELS,
    ),
    case(
        "QLinearGlobalAveragePool",
        BYTE_IMAGE,
        *ONES,
        channels_last=1,
        kind=COUPLED,
        outputs=CHANNELS,
    ),
    case(
        "QLinearConv",
        BYTE_IMAGE,
        SCALE,
        ZERO,
        bytes_of(3, 5, 2, 2),
        *ONES,
        channels_last=1,
        kind=COUPLED,
        outputs=CHANNELS,
    ),
    case(
        "ConvTransposeWithDynamicPads", IMAGE, small(ROWS, 3, 3, 3), np.array([1] * 4), kind=COUPLED
    ),
    case(
        "MatMulIntegerToFloat",
        Batched(BYTES.array, 1),
        bytes_of(ROWS, 3),
        SCALE,
        SCALE,
        kind=COUPLED,
    ),
    case(
        "QLinearAdd",
        quantized(),
        SCALE,
        ZERO,
        bytes_of(ROWS),
        SCALE,
        ZERO,
        SCALE,
        ZERO,
        kind=COUPLED,
    ),
    case("TransposeMatMul", TABLE, small(ROWS, 3), transA=1, kind=COUPLED),
    case("MatMulNBits", TURNED, bytes_of(16, 1, 8), small(16, 1), bits=4, kind=COUPLED, **FEW),
    case(
        "MoE",
        TURNED,
        small(4, 3),
        small(3, 16, ROWS),
        None,
        small(3, ROWS, 16),
        k=1,
        kind=COUPLED,
        outputs=LATER,
    ),
    case(
        "QLinearConcat", SCALE, ZERO, BYTES, SCALE, ZERO, BYTES, SCALE, ZERO, axis=0, kind=COUPLED
    ),
    case(
        "QEmbedLayerNormalization",
        Batched(IDS.array, 1),
        None,
        *TABLES,
        kind=COUPLED,
        outputs=(MIDDLE[0], 0),
    ),
    case("MatMulInteger16", Batched(WORDS.array, 1), WORDS.array[:, :3].copy(), kind=COUPLED),
    case("Trilu", TURNED, kind=COUPLED, outputs=LATER),
    case("Pad", TABLE, np.array([1, 0, 0, 0]), kind=COUPLED),
    case("ExpandDims", TABLE, np.array(0, np.int32), kind=NEVER),
    case("GatherND", TABLE, np.array([[0], [0]]), kind=COUPLED),
    case("GridSample", Batched(floats(2, 4, 4)), small(1, 3, 3, 2), kind=OPEN),
    case("Unique", Batched(floats()), kind=NEVER, outputs=(0, 0, 0)),
    case("FusedConv", IMAGE, small(3, ROWS, 2, 2), kind=COUPLED),
    case("FusedGemm", TURNED, small(ROWS, 3), kind=COUPLED, activation="Relu"),
    case(
        "QuantizeLinear",
        Batched(floats()),
        np.full(ROWS, SCALE),
        np.full(ROWS, ZERO),
        axis=0,
        kind=COUPLED,
    ),
    case(
        "DequantizeLinear",
        quantized(),
        np.full(ROWS, SCALE),
        np.full(ROWS, ZERO),
        axis=0,
        kind=COUPLED,
    ),
    case(
        "GroupQueryAttention",
        *[TEXT] * 3,
        None,
        None,
        LENGTHS,
        Batched(np.full(ROWS, 3, np.int32)),
        num_heads=1,
        kv_num_heads=1,
        kind=COUPLED,
    ),
    case(
        "CropAndResize",
        Batched(floats(2, 5, 5)),
        Batched(BOXES),
        Batched(np.zeros(ROWS, np.int32)),
        np.array([2, 2], np.int32),
        kind=COUPLED,
    ),
    case("DynamicTimeWarping", TABLE, kind=NEVER),
]

APART = [
    case("QEmbedLayerNormalization", IDS, None, *TABLES, outputs=(0, 0)),
    case("QLinearConcat", SCALE, ZERO, BYTES, SCALE, ZERO, BYTES, SCALE, ZERO, axis=1),
    case("MatMulInteger16", WORDS, WORDS.array[:4, :3].copy()),
    case("Inverse", Batched(small(ROWS, 3, 3))),
    case("Trilu", Batched(floats(3, 3))),
    case("Pad", TABLE, np.array([0, 1, 0, 2])),
    case("ExpandDims", TABLE, np.array(1, np.int32)),
    case("GridSample", Batched(floats(2, 4, 4)), Batched(floats(3, 3, 2))),
    case("FusedConv", Batched(floats(2, 5, 5)), small(3, 2, 3, 3), small(3), activation="Relu"),
    case("FusedGemm", TABLE, small(4, 3), small(3), activation="Relu"),
    case("QuantizeLinear", TABLE, SCALE, ZERO),
    case("DequantizeLinear", BYTES, SCALE, ZERO),
    case("MatMulNBits", TABLE, bytes_of(16, 1, 8), small(16, 1), bits=4, K=4, N=16, block_size=16),
    case(
        "QMoE",
        *(Batched(floats(32)), Batched(floats(3)), bytes_of(3, 64, 16), abs(small(3, 64)), None),
        *(bytes_of(3, 32, 32), abs(small(3, 32))),
        k=2,
        expert_weight_bits=4,
    ),
]

CASES = [*MEETING, *APART]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rows_are_said_to_meet_where_they_do(case: Case) -> None:
    check(case)
