"""An ONNX graph's constants: their types and shapes, and what the small ones hold.

Field numbers are those of ONNX's public schema; weights are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from serving.execution.protobuf_runs import varints_in
from serving.execution.protobuf_walk import (
    BYTES,
    FIXED32,
    FIXED64,
    RUN,
    VARINT,
    fields,
    merged,
    messages,
    text,
    varint,
    view,
)

INT32, INT64, BOOL = 6, 7, 9
FLOAT = 1
# Constants with more elements than this are only known by type and shape; of floats only
# such as decide shapes are of use.
SMALL, FEW = 4096, 64
# As much of a list as is read where it is longer.
_TOO_MANY = SMALL + 1
_INTEGERS = {
    2: "<u1",
    3: "<i1",
    4: "<u2",
    5: "<i2",
    INT32: "<i4",
    INT64: "<i8",
    BOOL: "<u1",
    12: "<u4",
    13: "<u8",
}
_FLOATS = {FLOAT: "<f4", 10: "<f2", 11: "<f8"}
# TensorProto's lists of whole numbers, each of some types, and of floats, and how wide these
# are.
_INTEGER_LISTS = (5, 7, 11)
_LIST_OF = {INT64: 7, 12: 11, 13: 11}
_FLOAT_LISTS = {4: "<f4", 10: "<f8"}
_LISTS = frozenset(
    {4 << 3 | FIXED32, 10 << 3 | FIXED64, *(number << 3 | VARINT for number in _INTEGER_LISTS)}
)


@dataclass(slots=True)
class Constant:
    """``dims``: its shape. ``values``: its integers, ``floats``: its floats; None where they
    are many, kept elsewhere, or of another type."""

    elem_type: int
    values: tuple[int, ...] | None = None
    dims: tuple[int, ...] = ()
    floats: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Texts:
    """A list of texts as it stands in the file; ``parts``: each one, or a run of fields."""

    parts: Sequence[tuple[int, int | memoryview]]

    def __iter__(self) -> Iterator[memoryview]:
        for kind, value in self.parts:
            if kind & RUN:
                yield from (one for _, one in messages(view(value)))
            else:
                yield view(value)

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(slots=True)
class _Tensor:
    """A TensorProto as it is read."""

    name: str = ""
    elem_type: int = 0
    dims: list[int] = field(default_factory=list)
    raw: memoryview | None = None
    integers: dict[int, list[int]] = field(default_factory=dict)
    floats: list[float] = field(default_factory=list)
    elsewhere: bool = False

    @property
    def count(self) -> int:
        count = 1
        for size in self.dims:
            count *= size
        return count

    def take(self, number: int, kind: int, value: int | memoryview) -> None:
        """One field that says what the tensor is."""
        if number == 1:
            self.dims += integers_of(kind, value)
        elif number == 2 and kind == VARINT:
            self.elem_type = signed(value)
        elif number == 8 and kind == BYTES:
            self.name = text(value)
        elif number in (13, 14):
            self.elsewhere = True
        else:
            self.take_data(number, kind, value)

    def take_data(self, number: int, kind: int, value: int | memoryview) -> None:
        """One field of its elements. Dimensions come first, whoever writes them."""
        if number == 9 and kind == BYTES:
            self.raw = view(value)
        elif self.count > SMALL:
            return
        elif number in _INTEGER_LISTS:
            found = self.integers.setdefault(number, [])
            found.extend(integers_of(kind, value, _TOO_MANY - len(found)))
        elif number in _FLOAT_LISTS:
            most = _TOO_MANY - len(self.floats)
            self.floats += floats_of(kind, value, _FLOAT_LISTS[number], most)

    def constant(self) -> Constant:
        made = Constant(self.elem_type, None, tuple(self.dims))
        if not self.elsewhere and 0 <= self.count <= SMALL:
            listed = self.integers.get(_LIST_OF.get(self.elem_type, 5), [])
            made.values = self._known(_INTEGERS, [_cut(one, self.elem_type) for one in listed])
            made.floats = self._known(_FLOATS, self.floats) if self.count <= FEW else None
        return made

    def _known(self, dtypes: dict[int, str], listed: list[Any]) -> tuple[Any, ...] | None:
        """The elements where they are all there, and of such a type."""
        dtype = dtypes.get(self.elem_type)
        if dtype is None:
            return None
        if self.raw is None:
            return tuple(listed) if len(listed) == self.count else None
        if len(self.raw) != self.count * np.dtype(dtype).itemsize:
            return None
        return tuple(np.frombuffer(self.raw, dtype).tolist())


def _cut(number: int, elem_type: int) -> int:
    """What is left of a listed number in an element of this type."""
    if elem_type == BOOL:
        return int(number % 2**32 != 0)
    dtype = np.dtype(_INTEGERS.get(elem_type, "<i8"))
    size = 1 << 8 * dtype.itemsize
    number %= size
    return number - size if dtype.kind == "i" and number >= size // 2 else number


def tensor_of(data: memoryview) -> tuple[str, Constant]:
    """(name, constant) of a TensorProto."""
    tensor = _Tensor()
    for number, kind, value in fields(data, _LISTS):
        tensor.take(number, kind, value)
    return tensor.name, tensor.constant()


def sparse_of(data: memoryview) -> tuple[str, Constant]:
    """A sparse tensor goes by the name of its values; of its shape only the rank is used."""
    values, dims = list[memoryview](), list[int]()
    for number, kind, value in fields(data):
        if number == 1 and kind == BYTES:
            values.append(view(value))
        elif number == 3:
            dims += integers_of(kind, value)
    name, constant = tensor_of(merged(values))
    return name, Constant(constant.elem_type, None, tuple(dims))


def float_of(value: int | memoryview) -> float:
    """A single float."""
    found = floats_of(FIXED32, value, "<f4")
    return found[0] if found else 0.0


def floats_of(kind: int, value: int | memoryview, dtype: str, most: int = _TOO_MANY) -> list[float]:
    """A repeated field of floats: packed, one of several, or a run of them."""
    width = np.dtype(dtype).itemsize
    data = np.frombuffer(view(value), np.uint8)
    if kind & RUN:
        data = np.ascontiguousarray(data.reshape(-1, width + 1)[:most, 1:]).reshape(-1)
    whole = min(len(data) // width, most) * width
    found: list[float] = data[:whole].view(dtype).astype(float).tolist()
    return found


def floats_in(kind: int, value: int | memoryview, width: int) -> int:
    """How many ``floats_of`` there are."""
    return len(view(value)) // (width + 1 if kind & RUN else width)


def integers_of(kind: int, value: int | memoryview, most: int = _TOO_MANY) -> list[int]:
    """A repeated integer field: packed, one of several, or a run of them."""
    if kind == VARINT:
        return [signed(value)]
    found: list[int] = []
    if kind == BYTES or kind == VARINT | RUN:
        data, at = view(value), 0
        while at < len(data) and len(found) < most:
            # A run has a key of one byte before each number.
            number, at = varint(data, at if kind == BYTES else at + 1)
            found.append(signed(number))
    return found


def integers_in(kind: int, value: int | memoryview) -> int:
    """How many ``integers_of`` there are. Raises IndexError where the last breaks off."""
    if kind == VARINT:
        return 1
    if kind == VARINT | RUN:
        return varints_in(view(value)) // 2
    return varints_in(view(value)) if kind == BYTES else 0


def signed(value: int | memoryview) -> int:
    """A number as 64 bits with a sign."""
    assert isinstance(value, int)
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >= 1 << 63 else value
