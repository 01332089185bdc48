"""All sources of a gateway: asked together, and what each last said joined to one snapshot."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial

from serving.registry.configs import Configs
from serving.registry.snapshot import (
    IN_TWO_SOURCES,
    MODEL_LIST,
    Closely,
    FoundModel,
    Snapshot,
)
from serving.registry.source import Posted, Request, Source
from serving.registry.source_thread import SourceThread


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, by the number that each source answers it under."""

    numbers: tuple[int, ...]


class Sources:
    """One that fails or does not answer is named among the snapshot's errors, so that nobody
    takes its models for gone; the others go on.

    ``post`` takes mail to the loop that uses this. The other arguments are ``SourceThread``'s.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        configs: Callable[[], Configs],
        interval_s: float,
        post: Callable[[Callable[[], None]], None],
        mono: Callable[[], float],
        cpu: Callable[[], float],
    ) -> None:
        self._mono = mono
        self.threads = tuple(
            SourceThread(source, configs(), interval_s, self._taking(at, post), mono, cpu)
            for at, source in enumerate(sources)
        )
        # The loop's own: what each has posted last, and what these are together.
        self._parts: list[Posted | None] = [None for _ in sources]
        self._stuck: tuple[bool, ...] = tuple(False for _ in sources)
        self._joined: Snapshot | None = None

    def _taking(
        self, at: int, post: Callable[[Callable[[], None]], None]
    ) -> Callable[[Posted], None]:
        return lambda posted: post(partial(self._take, at, posted))

    # From any thread.

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        for thread in self.threads:
            thread.stop()

    def hurry(self, touched: Collection[str] | None = None) -> None:
        """Something changed: look soon, not when it is due. ``touched``: in these folders; None:
        anywhere."""
        for thread in self.threads:
            thread.hurry(touched)

    def reports(self, reported: bool) -> None:
        """Whether ``hurry`` tells of every change, so far as the system knows."""
        for thread in self.threads:
            thread.reports(reported)

    def looked(self) -> float | None:
        """When the source that was looked at the longest ago was (monotonic seconds); None where
        one was not yet."""
        times = [thread.looked for thread in self.threads]
        seen = [time for time in times if time is not None]
        return min(seen, default=None) if len(seen) == len(times) else None

    # The loop's.

    def ask(self, request: Request) -> Asked:
        """Have every source look now; of a model that another one has it knows nothing."""
        asked = (self._asked_of(at, request) for at in range(len(self.threads)))
        return Asked(tuple(t.ask(one) for t, one in zip(self.threads, asked, strict=True)))

    def _asked_of(self, at: int, request: Request) -> Request:
        ours, others = self._names(at), set[str]()
        for other in range(len(self.threads)):
            others |= self._names(other) if other != at else set()
        theirs = others - ours
        at_once = {one for one in request.at_once if _model(one) not in theirs}
        return replace(request, at_once=at_once) if theirs else request

    def _names(self, at: int) -> set[str]:
        part = self._parts[at]
        return {found.name for found in part.snapshot.models} if part is not None else set()

    def has_answered(self, asked: Asked) -> bool:
        """Whether every source has, but those that are stuck: nobody waits for them."""
        states = zip(asked.numbers, self._parts, self._stuck, strict=True)
        return all(
            stuck or (part is not None and part.answers >= number) for number, part, stuck in states
        )

    def pending(self) -> Collection[str]:
        """The models that a source still finds out more about, which somebody asked for."""
        snapshot = self.snapshot()
        return snapshot.pending if snapshot is not None else ()

    def watch(self, closely: Closely) -> None:
        for thread in self.threads:
            thread.watch(closely)

    def stuck_at(self) -> float:
        """Before when no other source is found to be stuck, monotonic seconds."""
        states = zip(self.threads, self._stuck, strict=True)
        return min((one.stuck_at() for one, stuck in states if not stuck), default=float("inf"))

    @property
    def complete(self) -> bool:
        """Whether every source has said something."""
        return all(part is not None for part in self._parts)

    @property
    def heard(self) -> bool:
        """Whether every source has said something, or is stuck."""
        states = zip(self._parts, self._stuck, strict=True)
        return all(part is not None or stuck for part, stuck in states)

    def snapshot(self) -> Snapshot | None:
        """What they say together: the same object as last time when nothing changed; None
        before the first word."""
        now = self._mono()
        stuck = tuple(now >= thread.stuck_at() for thread in self.threads)
        if stuck != self._stuck:
            self._stuck, self._joined = stuck, None
        if self._joined is None:
            parts = [one for one in map(self._part, range(len(stuck))) if one is not None]
            self._joined = joined(parts) if parts else None
        return self._joined

    def _part(self, at: int) -> Snapshot | None:
        if self._stuck[at]:
            return self.threads[at].stuck()
        part = self._parts[at]
        return part.snapshot if part is not None else None

    def _take(self, at: int, posted: Posted) -> None:
        before = self._parts[at]
        self._parts[at] = posted
        if before is None or posted.snapshot is not before.snapshot:
            self._joined = None


def _model(one: str | tuple[str, int]) -> str:
    return one if isinstance(one, str) else one[0]


def joined(parts: Sequence[Snapshot]) -> Snapshot:
    """Pure. A model that two of them have is an error of that model alone; one that a model config
    list names is the list's."""
    if len(parts) == 1:
        return parts[0]
    models: dict[str, FoundModel] = {}
    for found in (found for part in parts for found in part.models):
        other = models.get(found.name)
        models[found.name] = found if other is None else _one_of(other, found)
    settles = [part.settles_in for part in parts if part.settles_in is not None]
    return Snapshot(
        models=tuple(models[name] for name in sorted(models)),
        ignored=tuple(one for part in parts for one in part.ignored),
        errors=tuple(one for part in parts for one in part.errors),
        passed_over=tuple(one for part in parts for one in part.passed_over),
        settles_in=min(settles, default=None),
        withdrawn=frozenset().union(*(part.withdrawn for part in parts)),
        pending=frozenset().union(*(part.pending for part in parts)),
    )


def _one_of(first: FoundModel, second: FoundModel) -> FoundModel:
    both = (first, second)
    listed = [found for found in both if found.listed and found.listed.by == MODEL_LIST]
    if len(listed) == 1:
        return listed[0]
    return FoundModel(first.name, first.path, error=IN_TWO_SOURCES)
