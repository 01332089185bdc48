"""Samples out of a real core, and a source of them."""

from __future__ import annotations

import queue
import struct
import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest

from serving import _core
from serving.observe.request_log.record import Record, Shown
from tests.unit.core_world import Request, Tensor, core


def tensor(name: str, array: np.ndarray, datatype: str = "FP32") -> Tensor:
    return (name, datatype, array.shape, array.tobytes())


def texts(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(one)) + one for one in elements)


@cache
def holding(
    inputs: tuple[Tensor, ...],
    outputs: tuple[Tensor, ...] = (),
    request_id: str = "r-1",
    **fields: Any,
) -> _core.Sample:
    """Of a request with these tensors; with a ``word`` it failed, and has no outputs."""
    headers = (("x-request-id", request_id),)
    return core().sample(Request(inputs, outputs, headers=headers, **({"id": "mine"} | fields)))


def sample(values: Sequence[float] = (1, 2), **fields: Any) -> _core.Sample:
    array = np.array(values, np.float32)
    return holding((tensor("X", array),), (tensor("Y", array * 2),), **fields)


def line(sample: _core.Sample, shown: Shown = None) -> bytes:
    made, count = _core.json_lines([sample], [shown], 0)
    assert count == 1
    return made


def assert_reads_back(found: Record, written: Record) -> None:
    """Times are written down to the microsecond, durations to the tenth of one."""
    times = ("total_s", "queue_s", "compute_s")
    assert found.at == pytest.approx(written.at, rel=0, abs=1e-6)
    for name in times:
        assert getattr(found, name) == pytest.approx(getattr(written, name), rel=0, abs=1e-7)
    assert found._replace(**{name: getattr(written, name) for name in ("at", *times)}) == written


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
