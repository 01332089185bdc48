"""The last windows of each version, each made out of two looks at its counters."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from serving.loading.batching.cost import CostCurve
from serving.observe.figures import Counters, Key
from serving.observe.windows import Window, figures

# Of each version; with more than a hundred of them each has fewer, for a window takes some 3 KB.
KEPT = 60
KEPT_TOGETHER = 6000
# Versions, gone ones among them, whose windows and last counters are remembered.
MOST_VERSIONS = 1000
NO_SHARES: Mapping[Key, float] = MappingProxyType({})
NO_MORE: Mapping[Key, Mapping[str, float]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Span:
    """``start`` and ``end`` in seconds since the epoch; ``seconds`` by a clock that is never
    set."""

    start: float
    end: float
    seconds: float


class History:
    """Closed by one thread, read by any."""

    def __init__(self) -> None:
        self._before: dict[Key, Counters] = {}
        self._windows: dict[Key, tuple[Window, ...]] = {}
        self._lock = threading.Lock()

    def close(
        self,
        span: Span,
        counters: Mapping[Key, Counters],
        costs: Mapping[Key, CostCurve | None],
        beside: Mapping[str, float],
        shares: Mapping[Key, float] = NO_SHARES,
        more: Mapping[Key, Mapping[str, float]] = NO_MORE,
    ) -> list[Window]:
        """The windows that end now, of the versions in ``costs`` that have counters. ``beside``:
        what is the same for all of them. ``shares``: of versions among which requests are
        divided. ``more``: further figures of versions."""
        windows = []
        for key in sorted(costs.keys() & counters.keys()):
            found = figures(self._before.get(key), counters[key], span.seconds, costs[key])
            number = self._next_number(key)
            if key in shares:
                found["route_share"] = shares[key]
            found.update(more.get(key, {}))
            windows.append(Window(*key, number, span.start, span.end, {**found, **beside}))
        self._keep(windows)
        # Counters live on where a version goes and comes back: they are not forgotten.
        for key, one in counters.items():
            _put(self._before, key, one)
        return windows

    def windows(self, key: Key) -> tuple[Window, ...]:
        """A version's last ones, oldest first."""
        with self._lock:
            return self._windows.get(key, ())

    def of_model(self, model: str) -> tuple[Window, ...]:
        """Those of all its versions, each version's together and oldest first."""
        with self._lock:
            found = {key: kept for key, kept in self._windows.items() if key[0] == model}
        return tuple(window for key in sorted(found) for window in found[key])

    def _keep(self, windows: Sequence[Window]) -> None:
        with self._lock:
            versions = max(1, len(windows), len(self._windows))
            most = max(1, min(KEPT, KEPT_TOGETHER // versions))
            for window in windows:
                key = (window.model, window.version)
                _put(self._windows, key, (*self._windows.get(key, ()), window)[-most:])

    def _next_number(self, key: Key) -> int:
        kept = self.windows(key)
        return kept[-1].number + 1 if kept else 1


def _put(table: dict[Key, Any], key: Key, value: Any) -> None:
    """Those that changed longest ago make room."""
    table.pop(key, None)
    table[key] = value
    while len(table) > MOST_VERSIONS:
        del table[next(iter(table))]
