"""Runs of fields with one key, as lists are written: numbers found without a look at each.

Within a run all fields have the same key, of one byte, and follow one another at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_Bytes = np.ndarray[Any, np.dtype[np.uint8]]
# Looked at in steps that grow, so that what ends a short run costs little.
_FIRST_STEP, _LARGEST_STEP, _GROWTH = 1 << 9, 1 << 18, 4
_LONGEST_VARINT = 10
# What ends a number: a byte with its high bit clear.
_ENDS_BELOW = 0x80


def fixed_run(data: memoryview, at: int, width: int) -> int:
    """Where the run that begins at ``at`` ends, of numbers ``width`` bytes wide."""
    array, stride, key = np.frombuffer(data, np.uint8), width + 1, data[at]
    step = _FIRST_STEP
    while count := min(step, len(data) - at) // stride:
        others = np.flatnonzero(array[at : at + count * stride : stride] != key)
        if len(others):
            return at + int(others[0]) * stride
        at, step = at + count * stride, min(step * _GROWTH, _LARGEST_STEP)
    return at


def varint_run(data: memoryview, at: int) -> int:
    """As ``fixed_run``, of numbers with seven bits a byte."""
    array, key, step = np.frombuffer(data, np.uint8), data[at], _FIRST_STEP
    while True:
        count, length, whole = _pairs(array[at : at + step], key)
        at += length
        if not count or not whole:
            return at
        step = min(step * _GROWTH, _LARGEST_STEP)


def _pairs(part: _Bytes, key: int) -> tuple[int, int, bool]:
    """(how many keys with their numbers ``part`` begins with, their bytes, whether all are)."""
    ends = np.flatnonzero(part < _ENDS_BELOW)
    pairs = len(ends) // 2
    # A key of one byte ends itself; it stands right behind the number before.
    keys, lasts = ends[0 : 2 * pairs : 2], ends[1 : 2 * pairs : 2]
    begins = np.concatenate(([0], lasts[:-1] + 1)) if pairs else keys
    right = (keys == begins) & (part[keys] == key) & (lasts - keys <= _LONGEST_VARINT)
    count = pairs if right.all() else int(np.argmin(right))
    return count, int(lasts[count - 1]) + 1 if count else 0, count == pairs


def bytes_run(data: memoryview, at: int) -> int:
    """As ``fixed_run``, of texts shorter than 128 bytes."""
    key, end = data[at], len(data) - 1
    while at < end and data[at] == key and (length := data[at + 1]) < _ENDS_BELOW:
        after = at + 2 + length
        if after > end + 1:
            break
        at = after
    return at


def varints_in(data: memoryview) -> int:
    """How many numbers follow one another in ``data``. Raises IndexError where one breaks off."""
    if not len(data):
        return 0
    if data[-1] >= _ENDS_BELOW:
        raise IndexError
    return int(np.count_nonzero(np.frombuffer(data, np.uint8) < _ENDS_BELOW))
