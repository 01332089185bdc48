"""The rules for ``com.microsoft``'s layers are right: attention, images, packed weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.batching.microsoft_cases import (
    COUPLED,
    NEVER,
    OPEN,
    SCALE,
    ZERO,
    bytes_of,
    case,
    quantized,
)
from tests.batching.one_node import ROWS, Batched, Case, Operand, check, floats, small, whole

HEADS: dict[str, Any] = {"num_heads": 2}
TEXT, OTHER, THIRD = (Batched(floats(3, 8, seed=seed) / 100) for seed in range(3))
WEIGHTS, BIAS = small(8, 24), small(24)
# The past, with the batch on its second axis: [2, batch, heads, sequence, head].
PAST = Batched(floats(2, 2, 4, 4), 1)
KEYS, VALUES = Batched(floats(2, 4, 4)), Batched(floats(2, 4, 4, seed=1))
LENGTHS = Batched((np.arange(ROWS) % 3 + 1).astype(np.int32))
MASK = Batched((np.arange(3) < np.arange(ROWS)[:, None] % 3 + 1).astype(np.int32))
MASK3 = Batched(whole(3, 3, top=2, dtype="int32"))
SCORES = small(1, 2, 3, 3)


def attention(*inputs: Any, **rest: Any) -> Case:
    return case("Attention", TEXT, WEIGHTS, BIAS, *inputs, **HEADS, **rest)


def multi_head(*inputs: Any, **rest: Any) -> Case:
    return case("MultiHeadAttention", *inputs, **HEADS, **rest)


def group_query(tokens: int, *inputs: Any, **rest: Any) -> Case:
    """Two heads of queries share one of keys."""
    states = [Batched(floats(tokens, wide, seed=tokens + wide)) for wide in (32, 16, 16)]
    rest = {"outputs": (0, 0, 0), "num_heads": 2, "kv_num_heads": 1, **rest}
    return case("GroupQueryAttention", *states, *inputs, **rest)


ATTENTION = [
    attention(),
    attention(unidirectional=1),
    attention(LENGTHS),
    attention(MASK),
    attention(MASK3),
    attention(None, PAST, outputs=(0, (1, 5))),
    attention(None, None, SCORES),
    attention(np.array([2], np.int32), kind=NEVER),
    case(
        "Attention", Batched(TEXT.array, 1), WEIGHTS, BIAS, outputs=((1, 3),), kind=COUPLED, **HEADS
    ),
    case(
        "QAttention",
        quantized(3, 8),
        bytes_of(8, 24),
        BIAS,
        SCALE,
        SCALE,
        LENGTHS,
        ZERO,
        ZERO,
        **HEADS,
    ),
    multi_head(TEXT, OTHER, THIRD, BIAS, MASK),
    multi_head(TEXT, OTHER, THIRD, None, LENGTHS),
    multi_head(TEXT, OTHER, THIRD, None, MASK3),
    multi_head(TEXT, OTHER, THIRD, None, None, small(1, 2, 3, 7), KEYS, VALUES, outputs=(0, 0, 0)),
    multi_head(TEXT, OTHER, THIRD, None, None, None, KEYS, VALUES, kind=OPEN),
    multi_head(TEXT, small(1, 3, 8), small(1, 3, 8), kind=OPEN),
    multi_head(
        Batched(TEXT.array, 1),
        Batched(OTHER.array, 1),
        Batched(THIRD.array, 1),
        kind=COUPLED,
        outputs=((1, 3),),
    ),
]

PASTS = [Batched(floats(1, 4, 16, seed=seed)) for seed in (0, 1)]
PROMPTS, CONTEXTS = (Batched((np.arange(ROWS) % n + n - 3).astype(np.int32)) for n in (3, 4))
THREE, FIVE, ANGLES = np.array(3, np.int32), np.array(5, np.int32), [small(9, 8), small(9, 8)]
NEXT = Batched(np.arange(ROWS, dtype=np.int64)[:, None])
FIRST = Batched(np.arange(3) + np.arange(ROWS, dtype=np.int64)[:, None])
GROUP_QUERY = [
    group_query(3, None, None, PROMPTS, THREE),
    group_query(3, None, None, PROMPTS, THREE, *ANGLES, do_rotary=1),
    group_query(3, None, None, PROMPTS, THREE, *ANGLES, FIRST, do_rotary=1, kind=COUPLED),
    group_query(1, *PASTS, CONTEXTS, FIVE),
    group_query(1, *PASTS, CONTEXTS, FIVE, *ANGLES, NEXT, do_rotary=1),
    group_query(3, *PASTS, Batched(np.full(ROWS, 6, np.int32)), np.array(7, np.int32), kind=OPEN),
    group_query(1, *PASTS, CONTEXTS, FIVE, outputs=(0,), kind=OPEN),
]

X, POSITIONS = Batched(floats(3, 8)), Batched(whole(3, top=5))
CACHE = small(5, 2)
OTHERS = [
    case("RotaryEmbedding", X, POSITIONS, small(5, 4), small(5, 4)),
    case("RotaryEmbedding", X, np.array([2]), small(5, 4), small(5, 4)),
    case("RotaryEmbedding", X, whole(3, top=5), small(5, 4), small(5, 4), kind=NEVER),
    case(
        "MRotaryEmbedding",
        Batched(floats(2, 3, 4)),
        Batched(whole(3, 3, top=5), 1),
        CACHE,
        CACHE,
        mrope_section=[1, 1, 0],
    ),
    case(
        "LinearAttention",
        *(Batched(floats(3, 8, seed=seed) / 1e6) for seed in range(3)),
        outputs=(0, 0),
        q_num_heads=2,
        kv_num_heads=2,
        update_rule="linear",
    ),
    case("LinearAttentionGate", X, small(8), small(8), X, outputs=(0, 0)),
    case("CausalConvWithState", Batched(floats(4, 6)), small(4, 1, 3), small(4), outputs=(0, 0)),
]

IMAGE, LAST = quantized(4, 5, 5), quantized(5, 5, 4)
ONES: list[Operand] = [SCALE, ZERO, SCALE, ZERO]
KERNEL: list[Operand] = [bytes_of(4, 4, 3, 3), SCALE, ZERO, SCALE, ZERO]
IMAGES = [
    case("QLinearAveragePool", IMAGE, *ONES, kernel_shape=[2, 2]),
    case("QLinearAveragePool", LAST, *ONES, kernel_shape=[2, 2], channels_last=1),
    case("QLinearGlobalAveragePool", IMAGE, *ONES, channels_last=0),
    case("QLinearConv", IMAGE, SCALE, ZERO, *KERNEL),
    case("QLinearConv", LAST, SCALE, ZERO, *KERNEL, channels_last=1),
    case("NhwcMaxPool", LAST, kernel_shape=[2, 2]),
    case(
        "ConvTransposeWithDynamicPads",
        Batched(floats(2, 4, 4)),
        small(2, 3, 3, 3),
        np.array([1, 1, 1, 1]),
    ),
    case(
        "NhwcMaxPool",
        Batched(quantized(5, 5, 4).array, 1),
        kernel_shape=[2, 2],
        kind=COUPLED,
        outputs=((1, 4),),
    ),
]


def by_bits(level: int, rows: Batched, **rest: Any) -> Case:
    inputs = (rows, bytes_of(16, 2, 16), small(16, 2) / 10)
    return case(
        "MatMulNBits", *inputs, K=64, N=16, bits=4, block_size=32, accuracy_level=level, **rest
    )


EXPERTS: list[Operand] = [small(3, 16, 8), None, small(3, 8, 16)]
WEIGHTED = [
    by_bits(0, Batched(floats(64))),
    by_bits(4, Batched(floats(64))),
    by_bits(4, Batched(floats(3, 64))),
    case(
        "MatMulBnb4",
        Batched(floats(64)),
        bytes_of(64 * 16 // 2),
        small(64 * 16 // 16),
        K=64,
        N=16,
        block_size=16,
        quant_type=1,
    ),
    case("MoE", Batched(floats(8)), Batched(floats(3)), *EXPERTS, k=1),
    case("MoE", Batched(floats(8)), Batched(floats(3)), *EXPERTS, k=2, normalize_routing_weights=1),
    case(
        "DynamicQuantizeLSTM",
        Batched(floats(3, 4), 1),
        bytes_of(1, 4, 16),
        bytes_of(1, 4, 16),
        *[None] * 5,
        np.full(1, SCALE),
        np.full(1, ZERO),
        np.full(1, SCALE),
        np.full(1, ZERO),
        kind=COUPLED,
        outputs=((2, 4),),
        hidden_size=4,
    ),
    case(
        "AttnLSTM",
        Batched(floats(3, 4) / 1e6, 1),
        small(1, 16, 9),
        small(1, 16, 4),
        *[None] * 5,
        small(1, 4, 5),
        small(1, 5, 5),
        small(1, 5),
        Batched(floats(6, 5) / 1e6),
        LENGTHS,
        outputs=((2, 4),),
        hidden_size=4,
    ),
]

CASES = [*ATTENTION, *GROUP_QUERY, *OTHERS, *IMAGES, *WEIGHTED]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rows_are_said_to_stay_apart_where_they_do(case: Case) -> None:
    check(case)
