"""The rules for ``com.microsoft`` are right: onnxruntime keeps apart what they keep apart."""

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

TEXT = Batched(floats(3, 8))
VECTOR4, VECTOR8 = small(4), small(8)
ELEMENTS = [
    *(case(name, TABLE) for name in ("Gelu", "QuickGelu", "ScaledSiLU", "SampleOp")),
    case("MurmurHash3", Batched(whole(2, top=99, dtype="int32"))),
    case("BiasGelu", TABLE, VECTOR4),
    case("FastGelu", TABLE, VECTOR4),
    case("FastGelu", TURNED, small(ROWS), kind=COUPLED, outputs=LATER),
    case("GatedAdd", TABLE, TABLE, Batched(floats(1))),
    case("GatedAdd", TABLE, small(1, 4), Batched(floats(1)), kind=NEVER),
    case("QLinearAdd", quantized(4), SCALE, ZERO, quantized(4, seed=1), SCALE, ZERO, SCALE, ZERO),
    case("QLinearMul", quantized(4), SCALE, ZERO, bytes_of(4), SCALE, ZERO, SCALE, ZERO),
    case(
        "QLinearMul",
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
    case("QLinearSigmoid", quantized(4), SCALE, ZERO, SCALE, ZERO),
    case("QLinearLeakyRelu", quantized(4), SCALE, ZERO, SCALE, ZERO),
    case(
        "QLinearWhere",
        Batched(whole(4, top=2, dtype="bool")),
        *(quantized(4), SCALE, ZERO, quantized(4, seed=1), SCALE, ZERO, SCALE, ZERO),
    ),
]

NORMALIZATIONS = [
    case(
        "SkipLayerNormalization", TEXT, TEXT, VECTOR8, VECTOR8, VECTOR8, outputs=(0, None, None, 0)
    ),
    case("SkipLayerNormalization", TEXT, small(3, 8), VECTOR8, VECTOR8),
    case("SkipLayerNormalization", TABLE, small(1, 4), VECTOR4, VECTOR4, kind=NEVER),
    case(
        "SkipLayerNormalization",
        Batched(floats(5, 3), 2),
        small(5, 3, ROWS),
        small(ROWS),
        kind=COUPLED,
        outputs=((2, 3),),
    ),
    case("SkipSimplifiedLayerNormalization", TEXT, TEXT, VECTOR8, outputs=(0, None, None, 0)),
    case(
        "SkipSimplifiedLayerNormalization",
        Batched(floats(5, 3), 2),
        small(5, 3, ROWS),
        small(ROWS),
        kind=COUPLED,
        outputs=((2, 3),),
    ),
    case("GatedRMSNorm", TEXT, small(4), TEXT, activation="silu"),
    case(
        "GatedRMSNorm",
        Batched(floats(3), 1),
        small(ROWS),
        small(3, ROWS),
        kind=COUPLED,
        outputs=LATER,
    ),
    case("BranchwiseRMSNorm", TEXT, small(8)),
    case("BranchwiseRMSNorm", TABLE, small(4), num_branches=2),
    case("BranchwiseRMSNorm", Batched(floats(3), 1), kind=COUPLED, outputs=LATER),
    case(
        "QLinearSoftmax",
        quantized(4),
        SCALE,
        ZERO,
        np.float32(1 / 256),
        np.uint8(0),
        axis=-1,
        opset=13,
    ),
    case(
        "QLinearSoftmax",
        quantized(3),
        SCALE,
        ZERO,
        np.float32(1 / 256),
        np.uint8(0),
        axis=0,
        opset=13,
        kind=COUPLED,
    ),
    case(
        "QLinearSoftmax",
        quantized(3),
        SCALE,
        ZERO,
        np.float32(1 / 256),
        np.uint8(0),
        axis=0,
        opset=12,
        kind=COUPLED,
    ),
    case("UnfoldTensor", TABLE, dim=1, size=2, step=1),
    case("UnfoldTensor", TABLE, dim=0, size=2, step=1, kind=COUPLED),
]

EMBED: list[Operand] = [
    IDS,
    Batched(whole(5, top=2, dtype="int32")),
    small(9, 8),
    small(7, 8),
    small(2, 8),
    VECTOR8,
    VECTOR8,
]
MASK = Batched((np.arange(5) < np.arange(ROWS)[:, None] % 5 + 1).astype(np.int32))
ONE_WORD = np.array([["a b"], ["c"], ["d e f"], ["g"], ["h"], ["i"]], object)
LOOKUPS = [
    case("EmbedLayerNormalization", *EMBED, MASK, outputs=(0, 0)),
    case(
        "EmbedLayerNormalization",
        *EMBED,
        None,
        Batched(whole(5, top=7, dtype="int32")),
        outputs=(0, 0),
    ),
    case(
        "EmbedLayerNormalization",
        *EMBED,
        None,
        np.array([[3, 1, 2, 0, 4]], np.int32),
        outputs=(0, 0),
    ),
    case(
        "EmbedLayerNormalization",
        *EMBED,
        None,
        whole(5, top=7, dtype="int32"),
        outputs=(0, 0),
        kind=OPEN,
    ),
    case(
        "GatherBlockQuantized",
        bytes_of(9, 16),
        Batched(whole(2, top=9)),
        small(9, 2),
        quantize_axis=1,
        bits=4,
        block_size=16,
    ),
    case(
        "Tokenizer",
        Batched(ONE_WORD),
        kind=COUPLED,
        mark=0,
        mincharnum=1,
        pad_value="#",
        separators=[" "],
    ),
    case("NGramRepeatBlock", Batched(whole(6, top=2)), Batched(floats(4)), ngram_size=2),
    case("CDist", TABLE, small(5, 4), metric="euclidean"),
    case("CDist", small(5, 4), TABLE, outputs=LATER, metric="sqeuclidean"),
    case("CDist", TABLE, TABLE, kind=COUPLED, metric="euclidean"),
    case(
        "NGramHashMapping",
        Batched(whole(5, top=9)),
        np.array([3, 5], np.int64),
        np.array([7, 11], np.int64),
        outputs=(0, 0),
        max_ngram_size=2,
        n_head_per_ngram=2,
        pad_id=0,
    ),
]

PRODUCTS = [
    case("FusedMatMul", TABLE, small(4, 3), alpha=0.5),
    case("FusedMatMul", TURNED, small(4, 3), transA=1),
    case("FusedMatMul", TABLE, small(ROWS, 3), transA=1, kind=COUPLED),
    case(
        "FusedMatMul", Batched(floats(3, 4, 2)), small(3, 4, 2, 5), transBatchA=1, outputs=((2, 4),)
    ),
    case("TransposeMatMul", TURNED, small(4, 3), transA=1),
    case(
        "MatMulIntegerToFloat", quantized(4), bytes_of(4, 3), SCALE, small(3), ZERO, None, small(3)
    ),
    case(
        "QGemm",
        quantized(4),
        SCALE,
        ZERO,
        bytes_of(3, 4),
        np.full(3, SCALE),
        np.full(3, ZERO),
        None,
        SCALE,
        ZERO,
        transB=1,
    ),
    case(
        "QGemm",
        Batched(quantized(4).array, 1),
        SCALE,
        ZERO,
        bytes_of(ROWS, 4),
        SCALE,
        ZERO,
        kind=COUPLED,
    ),
    case("DynamicQuantizeMatMul", TABLE, bytes_of(4, 3), np.float32(0.01), kind=COUPLED),
]

CASES = [*ELEMENTS, *NORMALIZATIONS, *LOOKUPS, *PRODUCTS]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rows_are_said_to_stay_apart_where_they_do(case: Case) -> None:
    check(case)
