"""What stands out in a version's windows: told once, as long as it lasts. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from serving.observe.statistics.damaged import DamagedError
from serving.observe.statistics.rollup import Span

# Of a version: told lately, and standing at once.
_REMEMBERED = 100
_MOST_STANDING = 1000


@dataclass(frozen=True, slots=True)
class Anomaly:
    """``at``: when its window ended, in seconds since the epoch; ``type``: TFX's name of it;
    ``severity``: TFX's too."""

    at: float
    feature: str
    type: str
    description: str
    severity: str
    window: Span

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "window": str(self.window)}

    @classmethod
    def from_json(cls, given: Any) -> Self:
        """Raises DamagedError."""
        try:
            names = ("feature", "type", "description", "severity")
            feature, kind, description, severity = (str(given[name]) for name in names)
            window = Span(given["window"])
            return cls(float(given["at"]), feature, kind, description, severity, window)
        except (ValueError, LookupError, TypeError) as error:
            raise DamagedError("an anomaly that was kept can't be read") from error


class Alarms:
    """One for each feature and type, whichever window shows it."""

    def __init__(self) -> None:
        # By feature and type, and in which windows it stands.
        self._standing: dict[tuple[str, str], dict[Span, Anomaly]] = {}
        self._recent: deque[Anomaly] = deque(maxlen=_REMEMBERED)
        self._counts: dict[str, int] = {}

    def note(self, span: Span, found: Iterable[Anomaly]) -> tuple[list[Anomaly], int]:
        """What a closed window shows: those that are new, and how many are over now."""
        now = {(one.feature, one.type): one for one in found}
        over = 0
        for key, spans in list(self._standing.items()):
            if key not in now and spans.pop(span, None) is not None and not spans:
                del self._standing[key]
                over += 1
        return [one for key, one in now.items() if self._stands(key, span, one)], over

    def _stands(self, key: tuple[str, str], span: Span, one: Anomaly) -> bool:
        spans = self._standing.get(key)
        if spans is not None:
            spans[span] = one
            return False
        if len(self._standing) >= _MOST_STANDING:
            return False
        self._standing[key] = {span: one}
        self._recent.append(one)
        self._counts[one.type] = self._counts.get(one.type, 0) + 1
        return True

    @property
    def standing(self) -> list[Anomaly]:
        """Each as its last window showed it."""
        return [max(spans.values(), key=lambda one: one.at) for spans in self._standing.values()]

    @property
    def recent(self) -> list[Anomaly]:
        """As they began, oldest first."""
        return list(self._recent)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many began since the process did, by type."""
        return dict(self._counts)

    def to_json(self) -> dict[str, Any]:
        standing = [one.to_json() for spans in self._standing.values() for one in spans.values()]
        return {"standing": standing, "recent": [one.to_json() for one in self._recent]}

    def take(self, given: Any) -> None:
        """What ``to_json`` made. Raises DamagedError, and is as it was then."""
        if not isinstance(given, dict):
            raise DamagedError("it is no object")
        lists = [given.get("standing"), given.get("recent")]
        if not all(isinstance(one, list) for one in lists):
            raise DamagedError("it lacks its anomalies")
        standing, recent = ([Anomaly.from_json(one) for one in many or ()] for many in lists)
        for one in standing[:_MOST_STANDING]:
            self._standing.setdefault((one.feature, one.type), {})[one.window] = one
        self._recent.extend(recent)
