"""The core's figures of versions, as plain numbers of one version each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving import _core

# (model, version)
Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Histogram:
    """``counts``: observations at or below each of ``bounds``, then all of them; ``total``:
    what was observed, summed up."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float

    @property
    def count(self) -> int:
        return self.counts[-1] if self.counts else 0


EMPTY = Histogram((), (), 0.0)


@dataclass(frozen=True, slots=True)
class Counters:
    """Of one version, since the process began. ``outcomes``: (protocol, code) -> requests, where
    there were any. Times in seconds, ``batch`` in rows; ``simple``: the counters and gauges
    without labels of their own, as ``_core.Figures.counts`` calls them."""

    outcomes: Mapping[tuple[str, str], int]
    total: Histogram
    queue: Histogram
    compute: Histogram
    batch: Histogram
    simple: Mapping[str, float]


def counters_of(figures: _core.Figures) -> dict[Key, Counters]:
    """Those of each version, in the figures' order. Requests for names that nobody has are
    no version's."""
    outcomes = _outcomes(figures.outcomes)
    simple = _rows(figures.counts)
    times = {name: _histograms(one) for name, one in figures.histograms.items()}
    return {
        key: Counters(
            outcomes[row],
            simple=simple[row],
            **{name: all_of[row] for name, all_of in times.items()},
        )
        for row, key in enumerate(figures.versions)
        if key[1]
    }


def _outcomes(counts: np.ndarray[Any, Any]) -> list[dict[tuple[str, str], int]]:
    """Of each version. Outcomes that share a code are one."""
    found: list[dict[tuple[str, str], int]] = [{} for _ in counts]
    places = np.nonzero(counts)
    for row, protocol, outcome, count in zip(
        *(axis.tolist() for axis in places), counts[places].tolist(), strict=True
    ):
        key = _core.PROTOCOLS[protocol], _core.CODES[protocol][outcome]
        found[row][key] = found[row].get(key, 0) + count
    return found


def _rows(columns: Mapping[str, np.ndarray[Any, Any]]) -> list[dict[str, float]]:
    values = zip(*(column.astype(float).tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in values]


def _histograms(kind: _core.Histograms) -> list[Histogram]:
    """Of each version, its series together."""
    bounds = tuple(kind.bounds.tolist())
    counts, sums = kind.counts.sum(axis=1).tolist(), kind.sums.sum(axis=1).tolist()
    return [Histogram(bounds, tuple(of), total) for of, total in zip(counts, sums, strict=True)]
