"""Texts as they travel: there and back unchanged, and nothing but texts."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving._core import PackedTexts

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=20)


def wire(*texts: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def raw(data: bytes) -> np.ndarray[Any, Any]:
    return np.frombuffer(data, np.uint8)


def objects(texts: list[Any]) -> np.ndarray[Any, Any]:
    array = np.empty(len(texts), object)
    array[:] = texts
    return array


@given(TEXTS)
def test_texts_go_there_and_back(texts: list[str]) -> None:
    packed = PackedTexts.of(objects(texts))
    assert packed.data.tobytes() == wire(*(text.encode() for text in texts))
    again = PackedTexts(packed.data, packed.shape)
    assert again.objects().tolist() == texts
    assert again.shape == (len(texts),)


@pytest.mark.parametrize("shape", [(), (1, 1), (2, 3), (0, 4), (3, 0)])
def test_shapes_stay_as_they_are(shape: tuple[int, ...]) -> None:
    array = np.full(shape, "žluť 🐎", object)
    packed = PackedTexts.of(array)
    assert packed.shape == shape
    assert packed.objects().shape == shape
    assert packed.objects().tolist() == array.tolist()


def test_bytes_are_packed_where_they_are_texts_and_views_as_they_look() -> None:
    array = objects([b"a", "b", b"\xc5\xbe"])[::-1]
    assert PackedTexts.of(array).objects().tolist() == ["ž", "b", "a"]
    with pytest.raises(ValueError, match="text 1 is not UTF-8"):
        PackedTexts.of(objects(["a", b"\xff"]))


@pytest.mark.parametrize(
    ("data", "count", "words"),
    [
        (wire(b"a", b"b"), 3, "2 texts, 3 were said"),
        (wire(b"a", b"b"), 1, "2 texts, 1 were said"),
        (wire(b"a") + b"\x01\0\0", 1, "past the end"),
        (wire(b"a") + struct.pack("<I", 2) + b"x", 2, "past the end"),
        (struct.pack("<I", 2**32 - 1), 1, "past the end"),
        (b"", 1, "0 texts"),
        (wire(b"ok", b"\xff\xfe"), 2, "not UTF-8"),
        (wire("🐎".encode()[:3], "🐎".encode()[3:]), 2, "not UTF-8"),
    ],
)
def test_what_lies_is_refused(data: bytes, count: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PackedTexts(raw(data), (count,))


@given(st.binary(max_size=40), st.integers(0, 5))
def test_whatever_comes_is_refused_or_holds_what_it_says(data: bytes, count: int) -> None:
    try:
        packed = PackedTexts(raw(data), (count,))
    except ValueError:
        return
    texts = packed.objects().tolist()
    assert len(texts) == count
    assert wire(*(text.encode() for text in texts)) == data


@pytest.mark.parametrize("shape", [(-1,), (2**62, 4), (1,) * 65])
def test_shapes_that_nothing_can_have_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are the core's
        PackedTexts(raw(wire(b"a")), shape)


@pytest.mark.parametrize(
    "given", [b"bytes", [1], np.zeros(4, np.int8), np.zeros((8, 2), np.uint8)[:, 0]]
)
def test_only_plain_arrays_of_bytes_are_read(given: Any) -> None:
    with pytest.raises(TypeError):
        PackedTexts(given, (1,))
    with pytest.raises(TypeError):
        PackedTexts.of(given)


def test_what_was_checked_changes_no_more() -> None:
    data = raw(wire(b"a", b"b")).copy()
    packed = PackedTexts(data, (2,))
    data[:] = 0xFF
    assert packed.objects().tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="read-only"):
        packed.data[0] = 0
