"""What the analysis knows of one tensor, whatever the rows that run together.

The kinds, and what they claim:

- ``SAME``: equal for each row alone and for every batch of requests with equal inner
  dimensions.
- ``ROWS``: axis ``axis`` has length N * ``block``, rows outermost; block i is f(row i of every
  input), one f for every i and every N >= 1; no other dimension depends on N or on a row.
- ``COUNT``: small integers, each a polynomial in N with coefficients that are the same
  everywhere; all of them are known (``data``).
- ``PLACE``: as ``ROWS`` with ``block`` 1; each element is its row's number, counted from 0.
- ``PLACE_FIRST``: as ``ROWS``; along the last axis stand indices, of which the first is the
  row's number.
- ``PADDED``: as ``ROWS``, but along the last axis each row is filled up with ``fill`` to the
  longest of the batch.
- ``MIXED``: rows influence each other. ``LOST``: the rules can't tell. ``NEVER``: the rows do
  not come out as they went in, whoever shares the batch. ``blame`` says where and why.

Inputs' own dimensions are taken to be at least 1: a request without any data shares no run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np

from serving.loading.batching.symbols import Dim, N, Poly, has_rows

Shape = tuple[Dim, ...]
# Numbers, truth values, texts; or polynomials for numbers that are not known.
Element = int | float | bool | str | Poly
Objects = np.ndarray[Any, Any]

# Contents of more elements are not followed.
MOST_ELEMENTS = 4096


# What calculating one element costs, where carrying one along costs 1.
STEP = 10


class TooManyError(ArithmeticError):
    """More contents than are followed, or than one analysis calculates with in all."""


class Kind(Enum):
    SAME = "same"
    ROWS = "rows"
    COUNT = "count"
    PLACE = "place"
    PLACE_FIRST = "place first"
    PADDED = "padded"
    MIXED = "mixed"
    LOST = "lost"
    NEVER = "never"


_WITH_ROWS = (Kind.ROWS, Kind.PLACE, Kind.PLACE_FIRST)


@dataclass(frozen=True, slots=True)
class Blame:
    """Where a value was spoilt: the node by name, its operator, and why."""

    node: str
    operator: str
    why: str


@dataclass(frozen=True, slots=True)
class Value:
    """``shape``: None where not even the rank is known. ``axis`` and ``block``: of kinds with
    rows. ``data``: the elements in row-major order, where they are known. ``fill``: what every
    element is, where they are all one."""

    kind: Kind
    shape: Shape | None = None
    axis: int = 0
    block: Dim = 1
    data: tuple[Element, ...] | None = None
    fill: Element | None = None
    blame: Blame | None = None

    @property
    def has_rows(self) -> bool:
        return self.kind in _WITH_ROWS

    @property
    def spoilt(self) -> bool:
        return self.blame is not None

    @property
    def rank(self) -> int | None:
        return None if self.shape is None else len(self.shape)

    @property
    def from_right(self) -> int:
        """The row axis counted from the right: 1 for the last."""
        assert self.shape is not None
        return len(self.shape) - self.axis

    def objects(self) -> Objects | None:
        """The known elements in their shape."""
        if self.data is None or self.shape is None:
            return None
        array = np.empty(len(self.data), object)
        array[:] = self.data
        return array.reshape([int(size) for size in self.shape if isinstance(size, int)])

    def numbers(self) -> list[Dim] | None:
        """The elements of a tensor of integers of rank 0 or 1; None where not all are known."""
        if self.data is None or self.rank is None or self.rank > 1:
            return None
        found = [one for one in self.data if not isinstance(one, float | str)]
        return found if len(found) == len(self.data) else None

    def ints(self) -> list[int] | None:
        """As ``numbers``, where none depends on anything."""
        numbers = self.numbers()
        if numbers is None or not all(isinstance(one, int) for one in numbers):
            return None
        return [int(one) for one in numbers if isinstance(one, int)]

    def with_sizes(self, changed: Callable[[Dim], Dim]) -> Value:
        """With every size and number that is not known put in other words."""
        if self.shape is None:
            return self
        data = self.data and tuple(
            changed(one) if isinstance(one, Poly) else one for one in self.data
        )
        shape = tuple(map(changed, self.shape))
        return replace(self, shape=shape, block=changed(self.block), data=data)

    def rows_like(self, shape: Shape, axis: int) -> Value:
        """The same rows in another shape, of elements among those that each has."""
        return replace(self, shape=shape, axis=axis, data=None)

    def other_rows(self, shape: Shape, axis: int) -> Value:
        """As many rows, of other elements."""
        return Value(Kind.ROWS, shape, axis, self.block)


def same(shape: Shape | None = None, data: Sequence[Element] | None = None) -> Value:
    """The same everywhere; ``data`` only where the shape is known and no element has rows."""
    known = None if data is None or len(data) > MOST_ELEMENTS else tuple(data)
    return Value(Kind.SAME, shape, data=known)


def fits(count: Dim, values: Iterable[Value]) -> bool:
    """Whether ``count`` elements, made of ``values``, are followed; asked before they are made.

    Raises TooManyError where not and without them nothing can be told: of numbers of rows.
    """
    if isinstance(count, int) and count <= MOST_ELEMENTS:
        return True
    if any(value.kind is Kind.COUNT for value in values):
        raise TooManyError
    return False


def known(shape: Shape, data: Sequence[Element]) -> Value:
    """``SAME`` or ``COUNT``, as the elements say. Raises TooManyError."""
    if len(data) > MOST_ELEMENTS:
        raise TooManyError
    counted = any(isinstance(one, Poly) and has_rows(one) for one in data)
    return Value(Kind.COUNT if counted else Kind.SAME, shape, data=tuple(data))


def from_objects(array: Objects | Element) -> Value:
    """Of an array of elements, or of the single one that NumPy makes of such an array.
    Raises TooManyError."""
    if not isinstance(array, np.ndarray):
        return known((), [array])
    if array.size > MOST_ELEMENTS:
        raise TooManyError
    return known(tuple(array.shape), array.ravel().tolist())


def rows(shape: Sequence[Dim], axis: int, block: Dim = 1) -> Value:
    """Rows along ``axis``, whose size in ``shape`` does not matter."""
    whole = (*shape[:axis], N if block == 1 else N * block, *shape[axis + 1 :])
    return Value(Kind.ROWS, whole, axis, block)
