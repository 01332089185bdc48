"""The slots, and what is done to them: loads and closes, in threads of their own."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from serving import machine
from serving.errors import LoadError
from serving.events import log
from serving.model_config import ModelConfig
from serving.models.actual.drawing import Loaded, SlotFacts
from serving.models.actual.history import History
from serving.models.desired import places, policy
from serving.models.desired.candidates import Candidate
from serving.models.state import Slot, SlotKey, State
from serving.registry.snapshot import KnownConfig
from serving.settings import Settings
from serving.signature import Signature

if TYPE_CHECKING:
    from serving import _core

_NO_LONGER_WANTED = "no longer wanted"
_MOVED = "its files changed while they were loaded"
_STOPPING = "the server is stopping"
_GAVE_WAY = "its trial takes long; others are loaded first"


class Load(Protocol):
    """The loader: raises LoadError; may return early or late once ``cancelled()``.

    ``path``: the version's folder; ``folder``: the model's, with its configuration.
    ``fingerprint``: of both its files and its configuration. ``on_trying``: a trial, which
    ends when ``cancelled``, does its own work from now on. ``on_changed``: what it says of
    itself is another, long after it was loaded.
    """

    def __call__(
        self,
        *,
        name: str,
        version: int,
        path: Path,
        folder: Path,
        fingerprint: str,
        config: ModelConfig,
        settings: Settings,
        stats: _core.Stats | None,
        cancelled: Callable[[], bool],
        on_trying: Callable[[], None],
        on_warming: Callable[[], None],
        on_changed: Callable[[], None],
    ) -> Loaded: ...


@dataclass(frozen=True, slots=True)
class Outside:
    """What slots need of the world. ``post`` runs something in the loop; ``changed``: something
    about a model did; ``mono`` and ``wall``: seconds, monotonic and since the epoch;
    ``spawn``: (name, work) in a thread;
    ``objection``: why a slot that was loaded with this signature may not serve, "" where it may."""

    settings: Settings
    load: Load
    new_stats: Callable[[str, int], _core.Stats]
    mono: Callable[[], float]
    wall: Callable[[], float]
    spawn: Callable[[str, Callable[[], None]], None]
    post: Callable[[Callable[[], None]], None]
    changed: Callable[[str], None]
    objection: Callable[[Slot, Signature], str]


@dataclass(slots=True)
class Work:
    """What belongs to a slot outside the state machine."""

    slot: Slot
    config: ModelConfig | None
    stats: _core.Stats | None
    cancelled: threading.Event = field(default_factory=threading.Event)
    gives_way: threading.Event = field(default_factory=threading.Event)
    loaded: Loaded | None = None

    def is_to_end(self) -> bool:
        """Whether a load under way is of no use any more, or not now."""
        return self.cancelled.is_set() or self.gives_way.is_set()


class Slots:
    """All slots. Only the loop calls this; threads report to it by ``post``."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self.history = History()
        self._works: dict[int, Work] = {}
        self._ids = itertools.count(1)
        self._stats: dict[tuple[str, int], _core.Stats] = {}
        self._to_close: list[Work] = []
        self.close_timeout = outside.settings.shutdown.drain_timeout_s

    def all(self) -> list[Slot]:
        return [work.slot for work in self._works.values()]

    def of(self, model: str) -> list[Slot]:
        return [work.slot for work in self._works.values() if work.slot.model == model]

    def models(self) -> set[str]:
        return {work.slot.model for work in self._works.values()}

    def served(self, models: Collection[str]) -> dict[str, list[SlotFacts]]:
        """The slots of some models with what belongs to them."""
        found: dict[str, list[SlotFacts]] = {}
        for work in self._works.values():
            if work.slot.model in models:
                one = SlotFacts(work.slot, work.config, work.loaded, work.stats)
                found.setdefault(work.slot.model, []).append(one)
        return found

    # What the policy decided.

    def do(self, action: policy.Action, known: Callable[[str], KnownConfig | None]) -> None:
        """``known``: a model's configuration in force."""
        match action:
            case policy.Add(candidate):
                self._add(candidate, known(candidate.key.model))
            case places.Load(slot):
                self._begin_load(self._works[slot])
            case places.MoveOver(slot):
                self._works[slot].slot.gave_way += 1
                self._outside.changed(self._works[slot].slot.model)
            case places.GiveWay(slot):
                self._works[slot].slot.told = True
                self._works[slot].gives_way.set()
            case policy.Cancel(slot):
                self._cancel(self._works[slot])
            case policy.Unload(slot, words):
                self._begin_leave(self._works[slot], words)
            case policy.Discard(slot):
                self._gone(self._works[slot])
            case policy.Annotate(slot, words):
                self._works[slot].slot.remark = words
                self._outside.changed(self._works[slot].slot.model)

    def forget_failed(self, model: str, version: int | None) -> None:
        """A command asks for them again: the next try is a new slot, at once."""
        for work in list(self._works.values()):
            slot = work.slot
            failed = slot.model == model and slot.state is State.FAILED
            if failed and version in (None, slot.version):
                self._gone(work)

    def remark(self, model: str, version: int, words: str) -> None:
        """For the history of a READY version."""
        for slot in self.of(model):
            if slot.version == version and slot.state is State.READY:
                self.history.remark(slot, words, self._outside.wall())

    def reconfigure(self, known: Callable[[str], KnownConfig | None]) -> None:
        """What does not make a new slot (the version policy) changes in place."""
        for work in self._works.values():
            latest = known(work.slot.model)
            if latest is not None and latest.fingerprint == work.slot.key.config:
                work.config = latest.config

    def _add(self, candidate: Candidate, known: KnownConfig | None) -> None:
        now = self._outside.mono()
        slot = Slot(next(self._ids), candidate.key, candidate.origin, now)
        work = Work(slot, known.config if known else None, self._stats_of(slot))
        self._works[slot.id] = work
        self._outside.changed(slot.model)
        self.history.record(slot, None, self._outside.wall())
        if known is not None and known.config is None:
            self._fail(work, known.error, may_heal=False)

    def _begin_load(self, work: Work) -> None:
        work.gives_way.clear()
        work.slot.told, work.slot.trying_since = False, None
        self._move(work, State.LOADING)
        assert work.config is not None  # else it failed when it was added
        load = partial(self._load_in_thread, work, work.config)
        self._outside.spawn(f"load-{work.slot.model}-{work.slot.version}", load)

    def _cancel(self, work: Work) -> None:
        """A load in progress ends as soon as its loader notices."""
        work.slot.cancelled = True
        work.cancelled.set()
        if work.slot.state is State.NEW:
            self._end_cancelled(work)
        self._outside.changed(work.slot.model)

    def _end_cancelled(self, work: Work) -> None:
        self._move(work, State.FAILED, _NO_LONGER_WANTED)
        self._gone(work)

    def _begin_leave(self, work: Work, words: str) -> None:
        """Closed only after a table without it is out, see ``close_left``."""
        work.slot.remark = ""
        self._move(work, State.DRAINING, words)
        self._to_close.append(work)

    def _gone(self, work: Work) -> None:
        drained = work.slot.state is State.DRAINING
        self._move(work, State.GONE, work.slot.reason if drained else "")
        del self._works[work.slot.id]

    def _fail(self, work: Work, reason: str, *, may_heal: bool, detail: str = "") -> None:
        work.slot.attempts += 1
        work.slot.may_heal = may_heal
        self._move(work, State.FAILED, reason, detail=detail)

    def _move(self, work: Work, to: State, reason: str = "", **facts: object) -> None:
        """``facts`` are for the log."""
        was = work.slot.state
        work.slot.move(to, self._outside.mono(), reason)
        self.history.record(work.slot, was, self._outside.wall(), **facts)
        self._outside.changed(work.slot.model)

    # Counters outlive reloads: they belong to the version, not to the slot.

    def _stats_of(self, slot: Slot) -> _core.Stats:
        pair = (slot.model, slot.version)
        if pair not in self._stats:
            self._stats[pair] = self._outside.new_stats(*pair)
        return self._stats[pair]

    def drop_stats(self, on_disk: Collection[tuple[str, int]]) -> None:
        """Those of versions that are neither on disk nor in a slot."""
        in_slots = {(work.slot.model, work.slot.version) for work in self._works.values()}
        for pair in self._stats.keys() - set(on_disk) - in_slots:
            del self._stats[pair]

    # Loading: the first function runs in a thread of its own, the others in the loop.

    def _load_in_thread(self, work: Work, config: ModelConfig) -> None:
        slot, outside = work.slot, self._outside
        try:
            fetched = slot.origin.fetch()
            loaded = outside.load(
                name=slot.model,
                version=slot.version,
                path=fetched.version,
                folder=fetched.model,
                fingerprint=_fingerprint(slot.key),
                config=config,
                settings=outside.settings,
                stats=work.stats,
                cancelled=work.is_to_end,
                on_trying=lambda: outside.post(partial(self._on_trying, work)),
                on_warming=lambda: outside.post(partial(self._on_warming, work)),
                on_changed=lambda: outside.post(partial(outside.changed, slot.model)),
            )
        except BaseException as error:  # noqa: BLE001 - every failure is this version's alone
            outside.post(partial(self._on_failed, work, error, self._has_moved(slot)))
        else:
            report = self._on_moved if self._has_moved(slot) else self._on_loaded
            outside.post(partial(report, work, loaded))

    def _has_moved(self, slot: Slot) -> bool:
        """Whether its files are others than when the load began."""
        return slot.origin.fingerprint() != slot.key.files

    def _on_trying(self, work: Work) -> None:
        work.slot.trying_since = self._outside.mono()
        self._outside.changed(work.slot.model)

    def _on_warming(self, work: Work) -> None:
        if work.slot.state is State.LOADING:
            self._move(work, State.WARMING)

    def _on_loaded(self, work: Work, loaded: Loaded) -> None:
        if work.slot.cancelled:
            self._end_cancelled(work)
            self._close_unused(work, loaded)
            return
        work.slot.signature = loaded.signature
        if words := self._outside.objection(work.slot, loaded.signature):
            self._fail(work, words, may_heal=False)
            self._close_unused(work, loaded)
            return
        self._on_warming(work)
        work.loaded = loaded
        work.slot.attempts = 0
        work.slot.ready_since = self._outside.wall()
        self._move(
            work,
            State.READY,
            provider=loaded.provider,
            threads=loaded.threads,
            batching=loaded.verdict.words,
            load_seconds=round(loaded.load_seconds, 3),
        )

    def _on_moved(self, work: Work, loaded: Loaded) -> None:
        """What was read may be half old, half new."""
        if work.slot.cancelled:
            self._end_cancelled(work)
        else:
            self._fail(work, _MOVED, may_heal=True)
        self._close_unused(work, loaded)

    def _on_failed(self, work: Work, error: BaseException, moved: bool) -> None:
        if work.slot.cancelled:
            self._end_cancelled(work)
            return
        if work.gives_way.is_set():
            work.slot.gave_way += 1
            self._move(work, State.NEW, _GAVE_WAY)
            return
        reason, detail = _reason(error)
        if moved:
            # Half a file says nothing about the whole one.
            self._fail(work, _MOVED, may_heal=True, detail=detail or reason)
        else:
            self._fail(work, reason, may_heal=_may_heal(error), detail=detail)

    # Leaving.

    def close_left(self) -> None:
        """To be called once the published picture routes to none of them any more."""
        for work in self._to_close:
            self._outside.spawn(f"close-{work.slot.model}", partial(self._close_in_thread, work))
        self._to_close = []

    def _close_in_thread(self, work: Work) -> None:
        if work.loaded is not None:
            self._close(work.slot, work.loaded)
        self._outside.post(partial(self._gone, work))

    def _close_unused(self, work: Work, loaded: Loaded) -> None:
        close = partial(self._close, work.slot, loaded)
        self._outside.spawn(f"close-{work.slot.model}", close)

    def _close(self, slot: Slot, loaded: Loaded) -> None:
        try:
            if not loaded.close(self.close_timeout):
                log.warning("close_cut_off", model=slot.model, version=slot.version)
        except Exception:  # noqa: BLE001 - it is out of service either way
            log.exception("close_failed", model=slot.model, version=slot.version)

    def leave_all(self) -> None:
        """The server stops."""
        for work in list(self._works.values()):
            match work.slot.state:
                case State.READY:
                    self._begin_leave(work, _STOPPING)
                case State.FAILED:
                    self._gone(work)
                case State.NEW | State.LOADING | State.WARMING if not work.slot.cancelled:
                    self._cancel(work)

    def due_times(self, limits: policy.Limits) -> Iterator[float]:
        """When something is to be decided again: retries, and trials that then take long."""
        for work in self._works.values():
            retry = policy.retry_at(work.slot, limits)
            overdue = places.overdue_at(work.slot, limits.slow_after_s)
            yield from (at for at in (retry, overdue) if at is not None)


def _fingerprint(key: SlotKey) -> str:
    text = f"{key.files}\0{key.config}".encode()
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def _reason(error: BaseException) -> tuple[str, str]:
    """What clients may read, and the original for the log."""
    if isinstance(error, LoadError):
        return error.reason, error.detail
    if isinstance(error, MemoryError):
        return "not enough memory", repr(error)
    if isinstance(error, OSError):
        return "its files could not be read", repr(error)
    if machine.is_thread_shortage(error):
        return "no thread could be started for it", machine.thread_shortage_words()
    return "an internal error while it was loaded", repr(error)


def _may_heal(error: BaseException) -> bool:
    """Whether another try may go better with the same files."""
    marked = getattr(error, "may_heal", None)
    if isinstance(marked, bool):
        return marked
    if machine.is_thread_shortage(error):
        return True
    causes = [e for e in (error, error.__cause__) if isinstance(e, OSError | MemoryError)]
    # A file that was missing comes as a change of files.
    return bool(causes) and not isinstance(causes[-1], FileNotFoundError)
