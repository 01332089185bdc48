"""How the tables of witnesses are written: a pair of models for an operator."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tests.batching.witness import Case

INPUT = "float[n,4] x"
OUTPUT = "float[n,k] y"


@dataclass(frozen=True)
class Pair:
    """``passes``: rows go through ``operator``; ``joins``: it brings them together, or does
    not give them back. A text instead is the reason why there is none."""

    operator: str
    passes: Case | str
    joins: Case | str


def case(
    nodes: str, constants: str = "", inputs: str = INPUT, output: str = OUTPUT, **options: Any
) -> Case:
    """A model with the input x, [n, 4] unless said, and the output y, [n, k] unless said."""
    held = f"<{constants}>" if constants else ""
    return Case(f"({inputs}) => ({output}) {held} {{ {nodes} }}", **options)


def beside(nodes: str, constants: str = "", **options: Any) -> Case:
    """What the nodes make, r, is added to x: rows come out whatever r is."""
    return case(f"{nodes} y = Add(x, r)", constants, **options)


def at_opset(opset: int, pair: Pair) -> Pair:
    def moved(one: Case | str) -> Case | str:
        return one if isinstance(one, str) else replace(one, opset=opset)

    return Pair(pair.operator, moved(pair.passes), moved(pair.joins))


# The number of rows, [n] of x, as an element and as a list.
COUNT = "s = Shape(x) z0 = Constant<value_int=0>() n = Gather(s, z0) "
COUNTS = "s = Shape(x) z1 = Constant<value_ints=[0]>() ns = Gather(s, z1) "
