"""What a random graph grows by: values with their sizes for one row and for four."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from .build import D, Graph, rng

Shape = tuple[int, ...]
Draw = Callable[[Any], Any]
INPUTS: dict[str, Shape] = {"x": (3, 2), "z": (2,)}
MANY = 4
LARGEST = 4096


@dataclass(frozen=True)
class Traced:
    """A value, and its shape for one row and for four."""

    name: str
    one: Shape
    many: Shape

    @property
    def rank(self) -> int:
        return len(self.one)

    def inner(self) -> list[int]:
        """The axes that don't follow the batch."""
        return [axis for axis in range(self.rank) if self.one[axis] == self.many[axis]]


class UnfitError(Exception):
    """The operator can't take what was drawn."""


class Grower:
    """Adds drawn operators to a graph."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.g = Graph(opset=17)
        self.values = [
            Traced(self.g.input(name, "n", *inner, kind=D), (1, *inner), (MANY, *inner))
            for name, inner in INPUTS.items()
        ]

    def grow(self, operators: Sequence[Operator]) -> None:
        operator = self.draw(st.sampled_from(operators))
        value = self.pick()
        try:
            made = operator(self, value)
        except UnfitError:
            return
        if made.rank and max(math.prod(made.one), math.prod(made.many)) <= LARGEST:
            self.values.append(made)

    def pick(self) -> Traced:
        """Mostly the newest, so that graphs grow deep."""
        back = self.draw(st.sampled_from((1, 1, 1, 2, 3)))
        return self.values[-min(back, len(self.values))]

    def axis(self, value: Traced) -> int:
        """Mostly an inner axis: what runs along the batch is soon no batch any more."""
        inner = value.inner()
        if inner and self.draw(st.integers(0, 7)):
            return int(self.draw(st.sampled_from(inner)))
        return int(self.draw(st.integers(0, value.rank - 1)))

    def made(self, name: str, shape: Callable[[Shape], Shape], *values: Traced) -> Traced:
        return Traced(name, shape(values[0].one), shape(values[0].many))

    def const(self, *shape: int) -> np.ndarray:
        return rng(sum(shape)).normal(size=shape)


Operator = Callable[[Grower, Traced], Traced]
