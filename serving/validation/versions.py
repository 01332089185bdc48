"""One version's data against another's: a canary's, against the version it may follow. Pure.

Meant for the judge of rollouts: both answer parts of the same traffic at the same time, so their
inputs should be alike (else the comparison of the two is unfair), and their outputs may be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from serving.validation.compare import Comparison, Kind, compare, measured
from serving.validation.counts import CHANCE
from serving.validation.schemas import SchemaView
from serving.validation.views import DatasetView


@dataclass(frozen=True, slots=True)
class Figure:
    """The features of two versions that differ most. ``inputs``, ``outputs``: None where nothing
    could be compared. ``high``: those above their threshold, beyond chance."""

    inputs: Comparison | None
    outputs: Comparison | None
    high: tuple[Comparison, ...]

    @property
    def too_few(self) -> bool:
        known = [each for each in (self.inputs, self.outputs) if each is not None]
        return not known or any(each.too_few for each in known)


def against(
    statistics: Any, base: Any, schema: Any | None = None, chance: float = CHANCE
) -> list[Comparison]:
    """Each feature that both have: by the measures that ``drift_comparator`` of ``schema`` has a
    threshold for, else by the one that suits it, without a threshold."""
    here, there = DatasetView.of(statistics), DatasetView.of(base)
    features = SchemaView(schema).features if schema is not None else {}
    common = [path for path in here.features if path in there.features]
    each = chance / max(len(common), 1)
    found: list[Comparison] = []
    for path in common:
        view, other = here.features[path], there.features[path]
        feature = features.get(path)
        rows = (
            compare(view, other, Kind.VERSIONS, feature.drift_comparator, each)
            if feature is not None
            else []
        )
        plain = measured(view, other, Kind.VERSIONS, each) if not rows else None
        found += rows or ([plain] if plain is not None else [])
    return found


def figure(statistics: Any, base: Any, schema: Any | None = None, chance: float = CHANCE) -> Figure:
    """How far a canary's inputs and outputs are from the base's since the rollout began.

    For a rollout's judge: one more field of ``serving.rollout.evidence.Evidence``, filled where
    ``serving.delivery`` gathers a window. A judge that looks ``k`` times passes ``chance / k``.
    """
    rows = against(statistics, base, schema, chance)
    view = DatasetView.of(statistics)
    outputs = {feature.name for feature in view.features.values() if feature.output}
    return Figure(
        _farthest([row for row in rows if row.name not in outputs]),
        _farthest([row for row in rows if row.name in outputs]),
        tuple(row for row in rows if row.high),
    )


def _farthest(rows: Sequence[Comparison]) -> Comparison | None:
    """By what of the distance is sure."""
    return max(rows, key=lambda row: (row.distance.sure, row.distance.value), default=None)
