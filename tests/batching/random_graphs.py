"""Random graphs over inputs [n, ...], for the analysis to be wrong about.

Everything is FP64 and no operator takes a step, so that what moves by more than a rounding
error moved because rows met. Sizes are followed for one row and for four, so that most graphs
run with both.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from serving.signature import Signature, Tensor

from .build import D, Feeds, rng
from .random_growth import INPUTS, Draw, Grower
from .random_operators import OPERATORS


@dataclass(frozen=True)
class Random:
    model: bytes
    signature: Signature
    nodes: str


@st.composite
def graphs(draw: Draw) -> Random:
    """3 to 10 operators; the last value of at least one axis is served."""
    grower = Grower(draw)
    for _ in range(draw(st.integers(3, 10))):
        grower.grow(OPERATORS)
    g, last = grower.g, grower.values[-1]
    served = g.op("Identity", last.name)
    g.output(served, "n", *[None] * (last.rank - 1), kind=D)
    inputs = [Tensor(name, "FP64", (-1, *inner)) for name, inner in INPUTS.items()]
    outputs = [Tensor(served, "FP64", (-1,) * last.rank)]
    nodes = " ".join(one.op_type for one in g.nodes)
    return Random(g.model().SerializeToString(), Signature(tuple(inputs), tuple(outputs)), nodes)


def callers() -> list[list[Feeds]]:
    """Ordinary rows alone, rows with outliers, and requests of several rows."""
    numbers = rng(3)

    def request(rows: int, scale: float) -> Feeds:
        return {name: numbers.normal(size=(rows, *inner)) * scale for name, inner in INPUTS.items()}

    singles = [request(1, scale) for scale in (1, 1, 1e3, 1)]
    return [singles, [request(2, 1), request(1, 1e6), request(3, 1), request(1, 0)]]
