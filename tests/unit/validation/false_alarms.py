"""How often windows raise an alarm that are drawn from what they are compared with.

The table in ``docs/insight.md`` is what ``python -m tests.unit.validation.false_alarms`` prints.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.statistics.sketch import FeatureSketch
from serving.validation.compare import Kind, compare
from serving.validation.views import FeatureView
from tests.unit.validation.builders import schema

Draw = Callable[[np.random.Generator, int], np.ndarray]
BASELINE = 20_000


def _letters(share: list[float]) -> Draw:
    values = np.array([f"v{index}" for index in range(len(share))])
    return lambda chance, count: chance.choice(values, count, p=np.array(share) / sum(share))


def _mostly_zeros(chance: np.random.Generator, count: int) -> np.ndarray:
    return np.where(chance.random(count) < 0.9, 0.0, chance.normal(size=count))


NUMBERS: Mapping[str, Draw] = {
    "normal": lambda chance, count: chance.normal(size=count),
    "log-normal": lambda chance, count: chance.lognormal(size=count),
    "Cauchy": lambda chance, count: chance.standard_cauchy(count),
    "nine in ten 0": _mostly_zeros,
    "whole, 0 to 9": lambda chance, count: chance.integers(0, 10, count),
}
TEXTS: Mapping[str, Draw] = {
    "two values": _letters([9, 1]),
    "30 values": _letters([1 / (rank + 1) for rank in range(30)]),
    "1000 values": _letters([1 / (rank + 1) for rank in range(1000)]),
}
MEASURES = {
    "standard": "jensen_shannon_divergence { threshold: %g }",
    "quantiles": "jensen_shannon_divergence { threshold: %g source { type: QUANTILES } }",
    "L-infinity": "infinity_norm { threshold: %g }",
}


@dataclass(frozen=True)
class Rates:
    """Shares of windows with an alarm: ``tfx`` by the distance alone, ``ours``. ``too_few``: told
    so."""

    tfx: float
    ours: float
    too_few: float


def seen(draw: Draw, chance: np.random.Generator, count: int) -> FeatureView:
    """What a window's statistics say of so many examples."""
    values = draw(chance, count)
    kind = {"i": "INT", "f": "FLOAT"}.get(values.dtype.kind, "STRING")
    sketch = FeatureSketch(kind)
    sketch.add(values)
    return FeatureView(("f",), sketch.message("f", count))


def comparator(measure: str, threshold: float) -> Any:
    says = MEASURES[measure] % threshold
    return (
        schema(f'feature {{ name: "f" skew_comparator {{ {says} }} }}').feature[0].skew_comparator
    )


def rates(
    here: Draw,
    there: Draw,
    measure: str,
    count: int,
    *,
    threshold: float = 0.05,
    windows: int = 200,
    seed: int = 1,
) -> Rates:
    """Of ``windows`` windows with ``count`` examples each, against one baseline."""
    chance = np.random.default_rng(seed)
    baseline = seen(there, chance, BASELINE)
    wanted = comparator(measure, threshold)
    found = []
    for _ in range(windows):
        view = seen(here, chance, count)
        (plain,) = compare(view, baseline, Kind.SKEW, wanted, None)
        (careful,) = compare(view, baseline, Kind.SKEW, wanted)
        found.append((plain.high, careful.high, careful.too_few))
    tfx, ours, too_few = np.mean(found, axis=0)
    return Rates(float(tfx), float(ours), float(too_few))


def _line(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _table() -> None:
    sizes = (10, 30, 100, 300, 1000, 10_000)
    _line("| data, measure | " + " | ".join(f"{size:,}" for size in sizes) + " |")
    _line("|---|" + "---|" * len(sizes))
    rows = [
        (name, draw, measure) for name, draw in NUMBERS.items() for measure in list(MEASURES)[:2]
    ]
    rows += [(name, draw, "L-infinity") for name, draw in TEXTS.items()]
    for name, draw, measure in rows:
        found = [rates(draw, draw, measure, size) for size in sizes]
        cells = [f"{100 * each.tfx:.0f} / {100 * each.ours:.1f}" for each in found]
        _line(f"| {name}, {measure} | " + " | ".join(cells) + " |")
    moved = {
        "normal, moved by 1": (lambda c, n: c.normal(1, size=n), NUMBERS["normal"]),
        "normal, moved by 0.5": (lambda c, n: c.normal(0.5, size=n), NUMBERS["normal"]),
        "log-normal, times 2": (lambda c, n: 2 * c.lognormal(size=n), NUMBERS["log-normal"]),
        "nine in ten 0, now half": (
            lambda c, n: np.where(c.random(n) < 0.5, 0.0, c.normal(size=n)),
            NUMBERS["nine in ten 0"],
        ),
    }
    for name, (here, there) in moved.items():
        for measure in list(MEASURES)[:2]:
            found = [rates(here, there, measure, size) for size in sizes]
            cells = [f"{100 * each.tfx:.0f} / {100 * each.ours:.0f}" for each in found]
            _line(f"| {name}, {measure} | " + " | ".join(cells) + " |")
    found = [rates(_letters([8, 2]), TEXTS["two values"], "L-infinity", size) for size in sizes]
    cells = [f"{100 * each.tfx:.0f} / {100 * each.ours:.0f}" for each in found]
    _line("| two values, a tenth moved, L-infinity | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    _table()
