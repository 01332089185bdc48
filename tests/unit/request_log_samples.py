"""Samples as the core hands them over, and a source of them."""

from __future__ import annotations

import queue
import struct
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from serving import _core
from serving.observe.request_log.record import Shown

Tensor = tuple[str, str, Sequence[int], bytes]


def tensor(name: str, array: np.ndarray, datatype: str = "FP32") -> Tensor:
    return (name, datatype, array.shape, array.tobytes())


def texts(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(one)) + one for one in elements)


def holding(
    inputs: Sequence[Tensor], outputs: Sequence[Tensor] = (), **fields: Any
) -> _core.Sample:
    usual = {
        "model": "m",
        "version": 3,
        "protocol": "grpc",
        "id": "mine",
        "request_id": "r-1",
        "at": 1_780_000_000.25,
        "total_s": 0.004,
        "queue_s": 0.001,
        "compute_s": 0.002,
    }
    return _core.Sample(inputs=inputs, outputs=outputs, **(usual | fields))


def sample(values: Sequence[float] = (1, 2), **fields: Any) -> _core.Sample:
    array = np.array(values, np.float32)
    return holding([tensor("X", array)], [tensor("Y", array * 2)], **fields)


def line(sample: _core.Sample, shown: Shown = None) -> bytes:
    made, count = _core.json_lines([sample], [shown], 0)
    assert count == 1
    return made


class FakeSource:
    """``Server.samples`` and ``counters`` without a server."""

    def __init__(self) -> None:
        self._given: queue.SimpleQueue[list[_core.Sample] | None] = queue.SimpleQueue()
        self.asked = threading.Semaphore(0)
        self.counted = {"samples_dropped": 0, "samples_too_large": 0}

    def give(self, *samples: _core.Sample) -> None:
        self._given.put(list(samples))

    def end(self) -> None:
        self._given.put(None)

    def samples(self, timeout: float) -> list[_core.Sample] | None:
        self.asked.release()
        try:
            return self._given.get(timeout=timeout)
        except queue.Empty:
            return []

    def counters(self) -> dict[str, int]:
        return dict(self.counted)
