"""Thrift's compact protocol, in which a Parquet file says what is in it.

Read here before a library reads it, which takes memory for whatever it is told that there is:
nothing is kept of lists, and all of a file together has a bounded number of values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

# Thrift's types.
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY = 1, 2, 3, 4, 5, 6, 7, 8
_LIST, _SET, _STRUCT = 9, 10, 12
_DEEPEST = 12
# Values of a file, at about half a microsecond each.
MOST_VALUES = 2_000_000

# The fields that lead to a list, from the outermost struct (0: through a list), and its number of
# elements; whether they are structs.
OnList = Callable[[tuple[int, ...], int, bool], None]


class Body(Protocol):
    """A file's bytes by their places: ``bytes`` are one."""

    def __len__(self) -> int: ...

    def __getitem__(self, at: int, /) -> int: ...


class ThriftError(ValueError):
    """The file is damaged, or holds more than is read here."""


class Reader:
    """Of ``body``; its methods begin at a place and say where they ended. They raise ThriftError.

    ``on_list`` is told of each list before its elements are read. ``most_values``: of everything
    that is read; None: as many as the body has bytes for.
    """

    def __init__(
        self,
        body: Body,
        on_list: OnList = lambda path, count, structs: None,
        most_values: int | None = MOST_VALUES,
    ) -> None:
        self._body = body
        self._on_list = on_list
        self._most = self._left = len(body) if most_values is None else most_values

    def struct(self, at: int, path: tuple[int, ...] = ()) -> tuple[dict[int, Any], int]:
        """The numbers of 32 bits and the structs in a struct by their fields, and where it ends."""
        found: dict[int, Any] = {}
        field = 0
        if len(path) > _DEEPEST:
            raise ThriftError("it is nested too deep")
        while True:
            byte, at = self._byte(at)
            if byte == 0:
                return found, at
            self._count()
            kind = byte & 15
            if byte >> 4:
                field += byte >> 4
            else:
                field, at = self._number(at)
            if kind == _STRUCT:
                found[field], at = self.struct(at, (*path, field))
            elif kind == _I32:
                found[field], at = self._number_of_32_bits(at)
            elif kind not in (_TRUE, _FALSE):
                at = self._skipped(at, kind, (*path, field))

    def _number_of_32_bits(self, at: int) -> tuple[int, int]:
        number, at = self._number(at)
        if not -(2**31) <= number < 2**31:
            raise ThriftError("a number is out of range")
        return number, at

    def _skipped(self, at: int, kind: int, path: tuple[int, ...]) -> int:
        if kind in (_TRUE, _FALSE, _BYTE):  # in a list; as a field a truth takes no byte
            return at + 1
        if kind in (_I16, _I32, _I64):
            return self._number(at)[1]
        if kind == _DOUBLE:
            return at + 8
        if kind == _BINARY:
            length, at = self._varint(at)
            return at + length
        if kind == _STRUCT:
            return self.struct(at, path)[1]
        if kind in (_LIST, _SET):
            return self._after_list(at, path)
        raise ThriftError("it has a field of an unknown type")

    def _after_list(self, at: int, path: tuple[int, ...]) -> int:
        if len(path) > _DEEPEST:
            raise ThriftError("it is nested too deep")
        byte, at = self._byte(at)
        count, kind = byte >> 4, byte & 15
        if count == 15:
            count, at = self._varint(at)
        self._on_list(path, count, kind == _STRUCT)
        for _ in range(count):
            self._count()
            at = self._skipped(at, kind, (*path, 0))
            if at > len(self._body):
                raise ThriftError("it is cut off")
        return at

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise ThriftError(f"it has more than {self._most} values beside its data")

    def _number(self, at: int) -> tuple[int, int]:
        raw, at = self._varint(at)
        return (raw >> 1) ^ -(raw & 1), at

    def _varint(self, at: int) -> tuple[int, int]:
        found = 0
        for place in range(10):
            byte, at = self._byte(at)
            found |= (byte & 127) << (7 * place)
            if byte < 128:
                return found, at
        raise ThriftError("a number does not end")

    def _byte(self, at: int) -> tuple[int, int]:
        if not 0 <= at < len(self._body):
            raise ThriftError("it is cut off")
        return self._body[at], at + 1
