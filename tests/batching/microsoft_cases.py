"""Cases of onnxruntime's own operators, and what many of them are made of."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.batching.one_node import Array, Batched, Case, Operand, floats, whole

COUPLED, NEVER, OPEN = "coupled", "not batchable", "open"
TABLE = Batched(floats(4))
TURNED = Batched(floats(4), axis=1)
SCALE, ZERO = np.float32(0.02), np.uint8(128)
LATER = ((1, 2),)
IDS = Batched(whole(5, top=9, dtype="int32"))


def case(
    operator: str,
    *inputs: Operand,
    kind: str = "proven",
    outputs: Any = (0,),
    **attributes: Any,
) -> Case:
    return Case(operator, inputs, attributes, outputs, kind)


def quantized(*shape: int, seed: int = 0) -> Batched:
    made = whole(*shape, top=20, seed=seed, dtype="uint8") + 118
    made[2], made[4] = 0, 255
    return Batched(made.astype(np.uint8))


def bytes_of(*shape: int, top: int = 256, seed: int = 9) -> Array:
    return np.random.default_rng(seed).integers(0, top, size=shape).astype(np.uint8)
