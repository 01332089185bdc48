"""How much memory each loaded version took over the last hour and day: one with a process of its
own what that has taken, any other what was set aside for it, for all in one process share it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from serving.loading.memory import resident
from serving.models.views import ModelView, VersionView
from serving.observe.curves.levels import Levels
from serving.observe.curves.ring import DAY, HOUR, Span
from serving.observe.figures import Key


@dataclass(slots=True)
class _Kept:
    """Of one version. ``most``: the largest in the day's step that goes on; ``measured``: whether
    its process says so."""

    hour: Levels = field(default_factory=Levels)
    day: Levels = field(default_factory=Levels)
    most: int = 0
    measured: bool = False

    def levels(self, span: Span) -> Levels:
        return self.hour if span is HOUR else self.day

    @property
    def is_over(self) -> bool:
        """Whether it took none in the whole day."""
        return not (self.hour.nbytes or self.day.nbytes or self.most)


@dataclass(frozen=True, slots=True)
class MemoryCurve:
    """``changes``: (step, bytes since then), oldest first, 0: it was not loaded any more.
    ``measured``: what its own process takes, else an estimate."""

    changes: list[tuple[int, int]]
    measured: bool


class MemoryCurves:
    """Of ``most`` versions; one that is new takes the place of one that is gone. ``views``: of all
    models; ``measure``: the bytes that a process has taken for itself, 0 where it is gone. Read
    from any thread."""

    def __init__(
        self,
        views: Callable[[], Sequence[ModelView]],
        most: int,
        measure: Callable[[int], int] = resident,
    ) -> None:
        self._views, self._most, self._measure = views, most, measure
        self._kept: dict[Key, _Kept] = {}
        self._lock = threading.Lock()

    def look(self, step: int, day: int | None) -> set[Key]:
        """Note what the hour's ``step`` ends with; ``day``: the day's step that ends with it. Tells
        whose memory changed."""
        now = self._now()
        with self._lock:
            self._take_in(now)
            changed = {key for key in tuple(self._kept) if self._note(key, now, step)}
            if day is not None:
                self._close_day(day)
            self._forget(step)
        return changed

    def of(self, model: str, span: Span, first: int) -> dict[int, MemoryCurve]:
        """Version -> its curve from the step ``first`` on."""
        with self._lock:
            found = {
                version: MemoryCurve(kept.levels(span).changes(first), kept.measured)
                for (name, version), kept in self._kept.items()
                if name == model
            }
        return {version: found[version] for version in sorted(found) if found[version].changes}

    @property
    def nbytes(self) -> int:
        """Of all changes."""
        with self._lock:
            return sum(one.hour.nbytes + one.day.nbytes for one in self._kept.values())

    def _now(self) -> Mapping[Key, tuple[int, bool]]:
        return {
            (view.name, one.number): self._of(one)
            for view in self._views()
            for one in view.versions
            if one.queue is not None
        }

    def _of(self, version: VersionView) -> tuple[int, bool]:
        """A version that answers in this process can't be told from others there."""
        estimate = version.facts.memory_bytes
        if not version.facts.isolated or version.process is None:
            return estimate, False
        pid = version.process.pid
        return (self._measure(pid) if pid is not None else 0), True

    def _take_in(self, now: Mapping[Key, tuple[int, bool]]) -> None:
        """Those that are new, as far as there is room: what is loaded makes none."""
        new = [key for key, (level, _) in now.items() if level and key not in self._kept]
        if not new:
            return
        wanted = len(self._kept) + len(new) - self._most
        gone = [key for key in self._kept if key not in now]
        for key in gone[: max(0, wanted)]:
            del self._kept[key]
        for key in new[: self._most - len(self._kept)]:
            self._kept[key] = _Kept()

    def _note(self, key: Key, now: Mapping[Key, tuple[int, bool]], step: int) -> bool:
        kept = self._kept[key]
        level, kept.measured = now.get(key, (0, kept.measured))
        kept.most = max(kept.most, level)
        if not kept.hour.set(step, level):
            return False
        # The one that changed last is last.
        self._kept[key] = self._kept.pop(key)
        return True

    def _close_day(self, day: int) -> None:
        for kept in self._kept.values():
            kept.day.set(day, kept.most)
            kept.day.forget(day - DAY.kept)
            kept.most = kept.hour.last

    def _forget(self, step: int) -> None:
        for kept in self._kept.values():
            kept.hour.forget(step - HOUR.kept)
        for key in [key for key, kept in self._kept.items() if kept.is_over]:
            del self._kept[key]
