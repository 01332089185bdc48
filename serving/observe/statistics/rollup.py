"""Which window a moment is in: short ones, hours and days, by UTC. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Span(StrEnum):
    """MINUTE: the shortest, as long as ``statistics.window_s`` says."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


_HOUR_S, _DAY_S = 3600.0, 86400.0


@dataclass(frozen=True, slots=True)
class Lengths:
    """``window_s``: of the shortest. ``keep``: how many of each are kept."""

    window_s: float
    keep: Mapping[Span, int]

    def seconds(self, span: Span) -> float:
        return {Span.MINUTE: self.window_s, Span.HOUR: _HOUR_S, Span.DAY: _DAY_S}[span]

    def start(self, span: Span, at: float) -> float:
        """When the window began that holds ``at`` (seconds since the epoch)."""
        length = self.seconds(span)
        return at // length * length

    def end(self, span: Span, at: float) -> float:
        return self.start(span, at) + self.seconds(span)
