"""Which requests are traced, as calls may change it while the server runs: one rule for all, and
what differs from it for single models. It lasts until the server ends."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, TypedDict

from serving import _core
from serving.errors import ErrorCode, ServingError
from serving.events import log
from serving.settings import Settings

UNLIMITED = -1
# Models with rules of their own.
MOST_MODELS = 1024

# A share of all requests, whether a caller's trace goes on here, how many may yet be drawn.
CoreRule = tuple[float, bool, _core.TraceCount]


class Server(Protocol):
    """What this needs of ``_core.Server``."""

    def trace(self, all_models: CoreRule, models: Mapping[str, CoreRule]) -> None: ...


@dataclass(frozen=True, slots=True)
class TraceRule:
    """``on``: requests whose caller traces them are traced. Of the others a ``share``, 0 to 1, is
    drawn as well, as long as ``count`` has some left (below zero: for ever)."""

    on: bool
    share: float
    count: _core.TraceCount

    def core(self) -> CoreRule:
        return (self.share if self.on else 0.0, self.on, self.count)


class TraceChange(TypedDict, total=False):
    """Keys that are missing leave things as they are, None stands for what holds above."""

    on: bool | None
    share: float | None
    count: int | None


@dataclass(frozen=True, slots=True)
class _Overrides:
    on: bool | None = None
    share: float | None = None
    count: _core.TraceCount | None = None

    def over(self, rule: TraceRule) -> TraceRule:
        return TraceRule(
            rule.on if self.on is None else self.on,
            rule.share if self.share is None else self.share,
            rule.count if self.count is None else self.count,
        )

    def changed(self, change: TraceChange) -> _Overrides:
        after = self
        if "on" in change:
            after = replace(after, on=change["on"])
        if "share" in change:
            after = replace(after, share=change["share"])
        if "count" in change:
            count = change["count"]
            after = replace(after, count=None if count is None else _core.TraceCount(count))
        return after


_NOTHING = _Overrides()


class TraceControl:
    """Tells the core. Safe from any thread."""

    def __init__(self, server: Server, settings: Settings) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._has_target = bool(settings.tracing.endpoint)
        # As the core was told at the start.
        self._start = TraceRule(
            self._has_target, settings.tracing.rate, _core.TraceCount(UNLIMITED)
        )
        self._all = _NOTHING
        self._models: dict[str, _Overrides] = {}

    @property
    def has_target(self) -> bool:
        """Whether traces can go anywhere."""
        return self._has_target

    def rule(self, model: str = "") -> TraceRule:
        """What holds for requests of ``model``, or of all that have no rule of their own."""
        with self._lock:
            return self._rule(model)

    def change(self, change: TraceChange, model: str = "", known: Collection[str] = ()) -> None:
        """``model``: "" for all that differ in nothing; ``known``: the models that there are.

        Raises ServingError: UNIMPLEMENTED where traces could go nowhere, FULL for one model more
        than there is room for.
        """
        with self._lock:
            before = self._models.get(model, _NOTHING) if model else self._all
            after = before.changed(change)
            above = self._all.over(self._start) if model else self._start
            rule = after.over(above)
            if rule.on and not self._has_target:
                raise ServingError(
                    ErrorCode.UNIMPLEMENTED,
                    "traces can go nowhere: the setting tracing.endpoint is not set",
                )
            self._keep(model, after, known)
            self._tell()
        log.info(
            "trace_settings",
            model=model,
            traced=rule.on,
            share=rule.share,
            count=rule.count.left,
        )

    def _rule(self, model: str) -> TraceRule:
        return self._models.get(model, _NOTHING).over(self._all.over(self._start))

    def _keep(self, model: str, after: _Overrides, known: Collection[str]) -> None:
        if not model:
            self._all = after
        elif after == _NOTHING:
            self._models.pop(model, None)
        else:
            if model not in self._models:
                self._make_room(known)
            self._models[model] = after

    def _make_room(self, known: Collection[str]) -> None:
        """Models that are gone keep their rules, for they may come back, until others need room."""
        if len(self._models) >= MOST_MODELS:
            self._models = {name: one for name, one in self._models.items() if name in known}
        if len(self._models) >= MOST_MODELS:
            raise ServingError(
                ErrorCode.FULL, f"{MOST_MODELS} models have trace settings of their own already"
            )

    def _tell(self) -> None:
        models = {name: self._rule(name).core() for name in self._models}
        self._server.trace(self._rule("").core(), models)
