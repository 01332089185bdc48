"""Requests of the versions that answer, kept in memory for new ones to run.

They are never written anywhere. A model's are of one version: as soon as another answers, those of
the former one go.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from serving.gates.recorded import Recorded, of_sample

if TYPE_CHECKING:
    from serving import _core


class Replay:
    """At most ``most`` of each model, and ``most_bytes`` of all together; the newest stay. Safe
    from any thread."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._lock = threading.Lock()
        self._kept: dict[str, deque[Recorded]] = {}
        # The versions whose requests are wanted, by model.
        self._wanted: dict[str, int] = {}
        # Models that had as many as may be kept, by number or by bytes.
        self._enough: set[str] = set()
        self._bytes = 0

    @property
    def held_bytes(self) -> int:
        return self._bytes

    def want(self, model: str, version: int | None) -> bool:
        """From now on requests that ``version`` answered; None: none of this model. Whether that
        is another than before, so that none is kept now."""
        with self._lock:
            if self._wanted.get(model) == version:
                return False
            self._drop(model)
            if version is None:
                self._wanted.pop(model, None)
            else:
                self._wanted[model] = version
            return True

    def is_full(self, model: str) -> bool:
        """Whether no more of its requests than now would be kept, whoever takes their place."""
        return model in self._enough

    def take(self, sample: _core.Sample) -> None:
        """Keep it, where it was answered well by a version that is wanted."""
        if sample.word or self._wanted.get(sample.model) != sample.version:
            return
        recorded = of_sample(sample)
        if recorded.size > self._most_bytes // 2:
            return
        with self._lock:
            if self._wanted.get(sample.model) == recorded.version:
                self._keep(sample.model, recorded)

    def _keep(self, model: str, recorded: Recorded) -> None:
        mine = self._kept.setdefault(model, deque())
        mine.append(recorded)
        self._bytes += recorded.size
        if len(mine) >= self._most or self._bytes > self._most_bytes:
            self._enough.add(model)
        while len(mine) > self._most or (self._bytes > self._most_bytes and len(mine) > 1):
            self._bytes -= mine.popleft().size
        while self._bytes > self._most_bytes:
            # Who has most gives first.
            largest = max(self._kept, key=lambda one: sum(r.size for r in self._kept[one]))
            if not self._kept[largest]:
                return
            self._enough.add(largest)
            self._bytes -= self._kept[largest].popleft().size

    def _drop(self, model: str) -> None:
        self._enough.discard(model)
        self._bytes -= sum(one.size for one in self._kept.pop(model, ()))

    def counts(self) -> dict[str, int]:
        """How many there are of each model that they are wanted of."""
        with self._lock:
            return {model: len(self._kept.get(model, ())) for model in sorted(self._wanted)}

    def of(self, model: str, version: int) -> Sequence[Recorded]:
        """The oldest first."""
        with self._lock:
            return [one for one in self._kept.get(model, ()) if one.version == version]
