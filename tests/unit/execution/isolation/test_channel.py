"""What a child answers is looked at before it is believed: texts that lie are nonsense."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from serving._core import PackedTexts
from serving.execution.isolation import framing, tensor_wire
from serving.execution.isolation.channel import Channel, NonsenseError
from serving.execution.isolation.shared_memory import SharedMemory


def wire(*texts: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


@pytest.fixture
def channel() -> Iterator[Channel]:
    one = Channel(timeout=20)
    yield one
    one.close()


def answer_with(channel: Channel, data: bytes, *entry: Any) -> list[dict[str, Any]]:
    """A child that answers one run with these bytes, described so. What it was asked."""
    asked: list[dict[str, Any]] = []

    def child() -> None:
        message, (given, place) = framing.receive(channel.theirs)
        inputs, outputs = SharedMemory(given), SharedMemory(place)
        inputs.map(message["size"])
        message["values"] = tensor_wire.read(message["head"], inputs.bytes)
        asked.append(message)
        outputs.reserve(4096)
        outputs.bytes[: len(data)] = np.frombuffer(data, np.uint8)
        framing.send(channel.theirs, {"head": [list(entry)], "size": outputs.size})

    threading.Thread(target=child, daemon=True).start()
    return asked


def test_texts_cross_packed_and_stay_so_where_that_is_asked_for(channel: Channel) -> None:
    texts = wire("ž".encode(), b"", b"a\0b")
    asked = answer_with(channel, texts, "BYTES", [3, 1], 0, len(texts))
    packed = PackedTexts(np.frombuffer(texts, np.uint8), (3, 1))
    (got,) = channel.run(["y"], {"x": packed}, packed=True)
    assert isinstance(got, PackedTexts)
    assert (got.shape, got.data.tobytes()) == ((3, 1), texts)
    (given,) = asked[0]["values"]
    assert (given.shape, given.data.tobytes()) == ((3, 1), texts)


def test_objects_cross_as_the_same_bytes_and_come_back_as_objects(channel: Channel) -> None:
    texts = np.array([["ž"], [""], ["a\0b"]], object)
    data = wire(b"b", b"c")
    asked = answer_with(channel, data, "BYTES", [2], 0, len(data))
    (got,) = channel.run(["y"], {"x": texts})
    assert isinstance(got, np.ndarray)
    assert got.tolist() == ["b", "c"]
    assert asked[0]["values"][0].data.tobytes() == wire("ž".encode(), b"", b"a\0b")


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    ("data", "shape", "size"),
    [
        (wire(b"a", b"b"), [3], 10),
        (wire(b"a", b"b"), [1], 10),
        (wire(b"a"), [1], 4),
        (wire(b"a", b""), [2], 8),
        (struct.pack("<I", 2**32 - 1), [1], 4),
        (wire(b"\xff"), [1], 5),
        (b"", [2**40], 0),
        (b"", [2**62, 4], 0),
        (wire(b"a"), [1], 2**40),
        (wire(b"a"), [-1], 5),
    ],
)
def test_texts_that_lie_are_nonsense(
    channel: Channel, data: bytes, shape: list[int], size: int, packed: bool
) -> None:
    answer_with(channel, data, "BYTES", shape, 0, size)
    with pytest.raises(NonsenseError):
        channel.run(["y"], {}, packed=packed)
