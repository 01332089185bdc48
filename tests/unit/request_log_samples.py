"""Samples as the core hands them over, and a source of them."""

from __future__ import annotations

import queue
import struct
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Tensor = tuple[str, str, Sequence[int], bytes]


@dataclass
class FakeSample:
    inputs: Sequence[Tensor] = ()
    outputs: Sequence[Tensor] = ()
    model: str = "m"
    version: int = 3
    protocol: str = "grpc"
    id: str = "mine"
    request_id: str = "r-1"
    at: float = 1_780_000_000.25
    total_s: float = 0.004
    queue_s: float = 0.001
    compute_s: float = 0.002
    word: str = ""
    message: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


def tensor(name: str, array: np.ndarray, datatype: str = "FP32") -> Tensor:
    return (name, datatype, array.shape, array.tobytes())


def texts(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(one)) + one for one in elements)


def sample(values: Sequence[float] = (1, 2), **fields: Any) -> FakeSample:
    array = np.array(values, np.float32)
    return FakeSample([tensor("X", array)], [tensor("Y", array * 2)], **fields)


class FakeSource:
    """``Server.samples`` and ``counters`` without a server."""

    def __init__(self) -> None:
        self._given: queue.SimpleQueue[list[FakeSample] | None] = queue.SimpleQueue()
        self.asked = threading.Semaphore(0)
        self.counted = {"samples_dropped": 0, "samples_too_large": 0}

    def give(self, *samples: FakeSample) -> None:
        self._given.put(list(samples))

    def end(self) -> None:
        self._given.put(None)

    def samples(self, timeout: float) -> list[FakeSample] | None:
        self.asked.release()
        try:
            return self._given.get(timeout=timeout)
        except queue.Empty:
            return []

    def counters(self) -> dict[str, int]:
        return dict(self.counted)
