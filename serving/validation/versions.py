"""One version's data against another's: a canary's, against the version it may follow. Pure.

Both answer parts of the same traffic at the same time, so their inputs should be alike (else the
comparison of the two is unfair), and their outputs may be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from serving.validation.compare import Comparison, Kind, against
from serving.validation.views import INPUTS, OUTPUTS, DatasetView


def farthest(
    statistics: Any, base: Any, requests: int, base_requests: int, chance: float
) -> Mapping[str, Comparison]:
    """Of the features of ``inputs`` and of ``outputs`` that both have, the one that is surely
    farthest; none of a kind where nothing could be compared.

    ``statistics``, ``base``: ``DatasetFeatureStatisticsList`` with both datasets, made of so many
    ``requests`` and ``base_requests``: the examples of one request count as one together.
    ``chance``: of an alarm in any feature where nothing differs.
    """
    here, there = _by_request(statistics, requests), _by_request(base, base_requests)
    found: dict[str, Comparison] = {}
    for one in against(here, there, None, Kind.VERSIONS, chance=chance):
        kind = OUTPUTS if here.features[one.path].output else INPUTS
        if kind not in found or _far(one) > _far(found[kind]):
            found[kind] = one
    return found


def sure(one: Comparison) -> float:
    """What of its distance neither chance nor values' places within buckets explain."""
    return one.distance.least if one.distance.sure > 0 else 0.0


def _far(one: Comparison) -> tuple[float, float]:
    return sure(one), one.distance.value


def _by_request(statistics: Any, requests: int) -> DatasetView:
    view = DatasetView.of(statistics)
    worth = min(1.0, requests / view.examples) if view.examples else 1.0
    features = {path: replace(each, worth=worth) for path, each in view.features.items()}
    return replace(view, features=features)
