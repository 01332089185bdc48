"""Samples that are counted together: an array of many rows costs hardly more than one of one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from serving.observe.figures import Key

if TYPE_CHECKING:
    from serving import _core


class Pending:
    """``enough``: samples of one version that are worth it. ``most``, ``most_bytes``: of all
    versions, and of their tensors, that wait at most."""

    def __init__(self, enough: int, most: int, most_bytes: int) -> None:
        self._enough, self._most, self._most_bytes = enough, most, most_bytes
        self._waiting: dict[Key, list[_core.Sample]] = {}
        self._count = self._bytes = 0

    def __len__(self) -> int:
        return self._count

    def add(self, samples: Iterable[_core.Sample]) -> list[Key]:
        """The versions whose samples are to be taken now."""
        due: dict[Key, None] = {}
        for sample in samples:
            key = sample.model, sample.version
            mine = self._waiting.setdefault(key, [])
            mine.append(sample)
            self._count += 1
            self._bytes += sample.size
            if len(mine) >= self._enough:
                due[key] = None
        is_full = self._count > self._most or self._bytes > self._most_bytes
        return self.versions() if is_full else list(due)

    def versions(self) -> list[Key]:
        """Of which any wait."""
        return list(self._waiting)

    def take(self, key: Key) -> list[_core.Sample]:
        found = self._waiting.pop(key, [])
        self._count -= len(found)
        self._bytes -= sum(sample.size for sample in found)
        return found
