"""The last errors that clients of each model were told, out of the core's records."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

KEPT = 20
# Those that failed last; a name that no model has is kept nowhere.
MOST_MODELS = 1000
_LONGEST = 512


@dataclass(frozen=True, slots=True)
class RecentError:
    """``at``: seconds since the epoch. ``word``: of ``ErrorCode``. ``message``: what the client was
    told, its beginning."""

    at: float
    protocol: str
    word: str
    message: str
    request_id: str


class RecentErrors:
    """Noted by one thread, read by any. ``is_known``: whether a model has that name."""

    def __init__(self, is_known: Callable[[str], bool]) -> None:
        self._is_known = is_known
        self._models: dict[str, deque[RecentError]] = {}
        self._lock = threading.Lock()

    def note(self, record: Mapping[str, Any]) -> None:
        """Any record of the core's; all but ``request_failed`` are passed over."""
        if record.get("event") != "request_failed":
            return
        model = str(record.get("model", ""))
        if not model or not self._is_known(model):
            return
        error = RecentError(
            at=float(record.get("at", 0.0)),
            protocol=str(record.get("protocol", "")),
            word=str(record.get("word", "")),
            message=str(record.get("message", ""))[:_LONGEST],
            request_id=str(record.get("request_id", ""))[:_LONGEST],
        )
        with self._lock:
            # The one that failed last is last.
            kept = self._models.pop(model, None) or deque(maxlen=KEPT)
            kept.append(error)
            self._models[model] = kept
            while len(self._models) > MOST_MODELS:
                del self._models[next(iter(self._models))]

    def of(self, model: str) -> tuple[RecentError, ...]:
        """The newest first."""
        with self._lock:
            return tuple(reversed(self._models.get(model, ())))
