"""Windows that wait to be sent: bounded, oldest dropped first, on disk while that is long."""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from serving.state_dir import StateDir

# Windows of one file. JSON is written with the GIL held: about a millisecond of it.
PER_ENTRY = 32
_NAME = re.compile(r"(\d{12})-(\d{1,6})-(\d{1,9})")


@dataclass(slots=True)
class _Entry:
    """``prepared`` None: it lies in the state directory."""

    name: str
    count: int
    size: int
    prepared: list[dict[str, Any]] | None


class Buffer:
    """First in, first out, for one target. Safe from any thread.

    ``limit``: bytes. What a former process left comes first. Nothing is written until
    ``spill``: as long as the target answers, the disk is not touched.
    """

    def __init__(self, state: StateDir, target: str, limit: int) -> None:
        self._state = state
        self._folder = f"tracking/{target}"
        self._limit = limit
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = self._count = self._next = self._dropped = 0
        for name in sorted(state.names(self._folder)):
            if (match := _NAME.fullmatch(name)) is not None:
                number, count, size = (int(group) for group in match.groups())
                self._add(_Entry(name, count, size, None))
                self._next = number + 1
        self._drop_oldest()

    @property
    def windows(self) -> int:
        return self._count

    @property
    def bytes(self) -> int:
        return self._bytes

    @property
    def dropped(self) -> int:
        """Windows that were given up since the process began."""
        return self._dropped

    def put(self, prepared: Sequence[dict[str, Any]]) -> None:
        for at in range(0, len(prepared), PER_ENTRY):
            part = list(prepared[at : at + PER_ENTRY])
            size = len(json.dumps(part, ensure_ascii=False).encode())
            with self._lock:
                name = f"{self._next:012d}-{len(part)}-{size}"
                self._next += 1
                self._add(_Entry(name, len(part), size, part))
                self._drop_oldest()

    def first(self, most: int) -> tuple[list[str], list[dict[str, Any]]]:
        """The oldest entries, up to ``most``: their names for ``sent``, and all their windows."""
        with self._lock:
            entries = [entry for entry, _ in zip(self._entries.values(), range(most), strict=False)]
        names, windows = [], []
        for entry in entries:
            prepared = entry.prepared
            if prepared is None:
                prepared = self._read(entry.name)
            if prepared is None:
                self._give_up(entry)
                continue
            names.append(entry.name)
            windows.extend(prepared)
        return names, windows

    def sent(self, names: Sequence[str]) -> int:
        """Forget what was sent; how many windows that were, without those dropped meanwhile."""
        with self._lock:
            gone = [self._entries[name] for name in names if name in self._entries]
            for entry in gone:
                self._remove(entry)
            return sum(entry.count for entry in gone)

    def spill(self) -> None:
        """Bring everything to disk. Where that fails the state directory keeps it in memory."""
        with self._lock:
            for entry in self._entries.values():
                if entry.prepared is not None:
                    self._state.write(f"{self._folder}/{entry.name}", entry.prepared)
                    entry.prepared = None

    def _read(self, name: str) -> list[dict[str, Any]] | None:
        found = self._state.read(f"{self._folder}/{name}")
        whole = isinstance(found, list) and all(isinstance(one, dict) for one in found)
        return found if whole else None

    def _give_up(self, entry: _Entry) -> None:
        with self._lock:
            if entry.name in self._entries:
                self._remove(entry)
                self._dropped += entry.count

    def _add(self, entry: _Entry) -> None:
        self._entries[entry.name] = entry
        self._bytes += entry.size
        self._count += entry.count

    def _remove(self, entry: _Entry) -> None:
        del self._entries[entry.name]
        self._bytes -= entry.size
        self._count -= entry.count
        if entry.prepared is None:
            self._state.remove(f"{self._folder}/{entry.name}")

    def _drop_oldest(self) -> None:
        while self._bytes > self._limit and self._entries:
            entry = next(iter(self._entries.values()))
            self._remove(entry)
            self._dropped += entry.count
