"""The windows of all versions, and what they are held against: in memory while requests come, on
disk else; bounded together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from serving.events import log
from serving.observe.figures import Key
from serving.observe.statistics.alarms import Alarms
from serving.observe.statistics.damaged import DamagedError
from serving.observe.statistics.distances import Distance
from serving.observe.statistics.reference import Kept
from serving.observe.statistics.series import Series
from serving.state_dir import StateDir

_FOLDER = "statistics"
_FORMAT = 1
# Of a version, beside its windows: names, anomalies, distances.
_OVERHEAD = 16 * 1024
# Versions that leave memory for one other: each is written down meanwhile.
_MOST_LEAVING = 8
# Until a version without samples leaves memory, and between two times that one is written down.
_IDLE_S, _WRITE_S = 900.0, 600.0
# Of all memory, what schemas and baselines may take of it.
_REFERENCES_PART = 4


@dataclass(slots=True)
class Page:
    """What is known of a version. ``distances``: as its last windows showed them, by kind and
    feature. ``touched``, ``written``: when a sample came, and it was written down, in seconds since
    the epoch; ``size``: bytes in memory, as last counted; ``changed``: something did since it was
    written."""

    series: Series
    alarms: Alarms = field(default_factory=Alarms)
    distances: dict[tuple[str, str], Distance] = field(default_factory=dict)
    touched: float = 0.0
    written: float = 0.0
    size: int = 0
    changed: bool = False
    # The largest distance of each kind, of those that say something.
    farthest: dict[str, float] = field(default_factory=dict)

    def compared(self, distances: Iterable[Distance]) -> None:
        """What a window shows takes the place of what an earlier one did, kind by kind."""
        new = {(one.kind, one.name): one for one in distances}
        kinds = {kind for kind, _ in new}
        kept = {key: one for key, one in self.distances.items() if key[0] not in kinds}
        self.changed |= bool(new)
        self.distances = kept | new
        self.farthest = {}
        for one in self.distances.values():
            if one.distance is not None and not one.too_few:
                self.farthest[one.kind] = max(self.farthest.get(one.kind, 0.0), one.distance)

    def count(self) -> int:
        self.size = self.series.nbytes + _OVERHEAD
        return self.size


class Book:
    """For one thread; what others read of it they read under its owner's lock."""

    def __init__(
        self, state: StateDir, make: Callable[[], Series], most_bytes: int, keep_s: float
    ) -> None:
        self._state, self._make = state, make
        self._most_bytes, self._keep_s = most_bytes, keep_s
        self.pages: dict[Key, Page] = {}
        self._references: dict[Key, Kept] = {}
        # Of pages, and of references.
        self._bytes = self._reference_bytes = 0
        # Samples of versions for which there was no memory.
        self.left_out = 0
        self._full = False

    @property
    def nbytes(self) -> int:
        return self._bytes + self._reference_bytes

    @property
    def most_reference_bytes(self) -> int:
        return self._most_bytes // _REFERENCES_PART

    def reference(self, key: Key) -> Kept | None:
        """What is kept to hold a version's windows against."""
        return self._references.get(key)

    def room_for_reference(self, key: Key) -> int:
        """Bytes that a version's may take: no window leaves memory for it."""
        mine = self._references.get(key)
        there = mine.nbytes if mine is not None else 0
        share = self.most_reference_bytes - self._reference_bytes
        return min(share, self._most_bytes - self.nbytes) + there

    def put_reference(self, key: Key, kept: Kept) -> None:
        """In the place of the one before."""
        self.drop_reference(key)
        self._references[key] = kept
        self._reference_bytes += kept.nbytes

    def drop_reference(self, key: Key) -> None:
        kept = self._references.pop(key, None)
        self._reference_bytes -= kept.nbytes if kept is not None else 0

    def drop_references(self) -> None:
        """Of versions that have no page."""
        for key in self._references.keys() - self.pages.keys():
            self.drop_reference(key)

    def page(self, key: Key, now: float, samples: int) -> Page | None:
        """To add samples to; None where all have as much memory as there may be: those that are
        there grow, too."""
        found = self.pages.get(key)
        if not self._has_room(found) and not self._make_room(key, found, now):
            self.left_out += samples
            return None
        if found is None:
            found = self.pages[key] = self._read(key)
            self._bytes += found.count()
            found.written = now
        found.touched = now
        return found

    def look(self, key: Key) -> Page | None:
        """To read; it does not stay in memory for that. None where nothing is known."""
        found = self.pages.get(key)
        if found is None and self._state.holds(_name(key)):
            found = self._read(key)
        return found

    def recount(self, page: Page) -> None:
        """Its windows have changed."""
        page.changed = True
        self._bytes -= page.size
        self._bytes += page.count()

    def tidy(self, key: Key, now: float) -> None:
        """Write a version down that changed a while ago; let it go if nothing came of it."""
        page = self.pages.get(key)
        if page is None:
            return
        if now - page.touched > _IDLE_S and page.series.live is None:
            self._let_go(key, page, now)
        elif page.touched > page.written and now - page.written > _WRITE_S:
            self._write(key, page, now)

    def to_write(self, key: Key, now: float) -> Callable[[], None] | None:
        """What writes a version down, whether it is time or not: to be called from any thread,
        without the lock. None where nothing has changed."""
        page = self.pages.get(key)
        return self._to_write(key, page, now) if page is not None and page.changed else None

    def drop_old(self, now: float) -> None:
        """What is kept of versions that were last asked too long ago. Without its owner's lock: it
        touches files that no page in memory has."""
        held = {_name(key) for key in list(self.pages)}
        for name in self._state.names(_FOLDER):
            path = f"{_FOLDER}/{name}"
            written = self._state.written_at(path)
            if path not in held and written is not None and now - written > self._keep_s:
                self._state.remove(path)

    def _has_room(self, page: Page | None) -> bool:
        """For more samples of it, or for a new one."""
        return self.nbytes + (_OVERHEAD if page is None else 0) <= self._most_bytes

    def _make_room(self, wanted: Key, page: Page | None, now: float) -> bool:
        """Those of the others that were asked longest ago leave memory, where nothing came in their
        windows."""
        idle = [
            (one.touched, key)
            for key, one in self.pages.items()
            if key != wanted and not one.series.live
        ]
        if not idle:
            if not self._full:
                self._full = True
                log.warning(
                    "statistics_out_of_memory",
                    limit=self._most_bytes,
                    effect="samples beyond are left out until other versions are idle",
                )
            return False
        for _, key in sorted(idle)[:_MOST_LEAVING]:
            self._let_go(key, self.pages[key], now)
            if self._has_room(page):
                return True
        return False

    def _let_go(self, key: Key, page: Page, now: float) -> None:
        if page.changed:
            self._write(key, page, now)
        del self.pages[key]
        self._bytes -= page.size
        self.drop_reference(key)
        self._full = False

    def _write(self, key: Key, page: Page, now: float) -> None:
        self._to_write(key, page, now)()

    def _to_write(self, key: Key, page: Page, now: float) -> Callable[[], None]:
        document = {
            "format": _FORMAT,
            "model": key[0],
            "version": key[1],
            "windows": page.series.to_json(),
            "alarms": page.alarms.to_json(),
            "distances": [one.to_json() for one in page.distances.values()],
        }
        page.written, page.changed = now, False

        def write() -> None:
            # Held in memory it would be beyond the bound here; on a full disk the windows from
            # before are better than none.
            page.changed |= not self._state.write(_name(key), document, hold=False)

        return write

    def _read(self, key: Key) -> Page:
        page = Page(self._make())
        document = self._state.read(_name(key))
        if document is None:
            return page
        try:
            _take(page, document, key)
        except DamagedError as error:
            log.warning(
                "statistics_unreadable",
                model=key[0],
                version=key[1],
                reason=str(error),
                effect="they begin anew",
            )
            return Page(self._make())
        return page


def _take(page: Page, document: Any, key: Key) -> None:
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise DamagedError("it is of another release")
    if (document.get("model"), document.get("version")) != key:
        raise DamagedError("it is another version's")
    page.series.take(document.get("windows"))
    page.alarms.take(document.get("alarms"))
    kept = document.get("distances")
    page.compared(Distance.from_json(one) for one in (kept if isinstance(kept, list) else ()))
    page.changed = False


def _name(key: Key) -> str:
    """Names of models are others' words."""
    return f"{_FOLDER}/{hashlib.sha256(key[0].encode()).hexdigest()[:32]}-{key[1]}"
