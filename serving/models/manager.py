"""The loop that makes what is served match what is on disk.

One thread, the loop, owns every slot and decides; it waits only for its mailbox.
Loads and closes run in threads of their own and report by mail, so nothing here
takes a lock: the loop is the only writer, and readers get frozen views, swapped
by one reference.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from serving.errors import LoadError
from serving.events import log
from serving.model_config import ModelConfig, VersionPolicy, load_model_config
from serving.models import policy
from serving.models.configs import Configs, KnownConfig
from serving.models.history import History
from serving.models.picture import Loaded, Served, model_view
from serving.models.wishes import Wish, Wishes
from serving.models.state import PENDING, Event, Slot, SlotKey, State
from serving.models.views import ModelView, VersionView
from serving.registry.directory import DirectorySource, FoundModel, Snapshot
from serving.settings import Settings

if TYPE_CHECKING:
    from serving import _core

# The share of time that scans may take; beyond it they come less often, but never so
# seldom that a new version misses its five seconds (settle time 3 s).
_SCAN_SHARE = 0.003
_LONGEST_STRETCH_S = 1.5
# Scans hurried because something is about to settle keep this distance.
_SHORTEST_WAIT_S = 0.05
# Hurried scans may take at most this share of a core.
_HURRIED_SHARE = 0.05
# More rounds than any change needs; a policy that does not come to rest is a bug.
_MOST_ROUNDS = 100
_NO_LONGER_WANTED = "no longer wanted"
_MOVED = "its files changed while it was loaded"


class Load(Protocol):
    """The loader: raises LoadError; may return early or late once ``cancelled()``."""

    def __call__(
        self,
        *,
        name: str,
        version: int,
        path: Path,
        config: ModelConfig,
        settings: Settings,
        stats: _core.Stats | None,
        cancelled: Callable[[], bool],
        on_warming: Callable[[], None],
    ) -> Loaded: ...


class Source(Protocol):
    def scan(self, closely: frozenset[str] = ...) -> Snapshot: ...
    def fingerprint(self, version: Path) -> str: ...


@dataclass(slots=True)
class _Work:
    """What belongs to a slot outside the state machine."""

    slot: Slot
    config: ModelConfig | None
    stats: _core.Stats | None
    cancelled: threading.Event = field(default_factory=threading.Event)
    loaded: Loaded | None = None


def in_thread(name: str, work: Callable[[], None]) -> None:
    """Daemon threads: a load that never ends must not keep the process from ending."""
    threading.Thread(target=work, name=name, daemon=True).start()


class Manager:
    """Keeps versions loaded as the directories and their configurations say.

    ``publish`` gets every new picture before anything that it leaves out is closed.
    The other arguments are for tests: ``spawn`` runs loads and closes, ``source``
    replaces the directories, and the clocks are monotonic, epoch and CPU seconds.
    """

    def __init__(
        self,
        settings: Settings,
        roots: Sequence[Path],
        publish: Callable[[tuple[ModelView, ...]], None],
        load: Load | None = None,
        *,
        source: Source | None = None,
        read_config: Callable[[Path], ModelConfig] = load_model_config,
        new_stats: Callable[[str, int], _core.Stats] | None = None,
        mono: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        cpu: Callable[[], float] = time.thread_time,
        spawn: Callable[[str, Callable[[], None]], None] = in_thread,
    ) -> None:
        self._settings = settings
        self._publish = publish
        self._load = load or _loader(settings)
        self._new_stats = new_stats or _stats()
        self._source = source or DirectorySource(
            roots,
            settings.registry.settle_s,
            wall=wall,
            mono=mono,
            follow_symlinks=settings.registry.follow_symlinks,
        )
        self._configs = Configs(read_config)
        self._mono, self._wall, self._cpu, self._spawn = mono, wall, cpu, spawn
        self._limits = policy.Limits(loads=settings.threads.load)

        # The loop's own.
        self._works: dict[int, _Work] = {}
        self._ids = itertools.count(1)
        self._stats: dict[tuple[str, int], _core.Stats] = {}
        self._snapshot: Snapshot | None = None
        self._wishes: dict[str, Wishes] = {}
        self._told: set[tuple[str, Path, str]] = set()
        self._history = History()
        self._next_scan = float("-inf")
        self._soonest_scan = float("-inf")
        self._undecided = True
        self._next_retry = float("inf")
        # Models to draw anew, and whether the newest picture has been published.
        self._stale: set[str] = set()
        self._drawn: dict[str, ModelView] = {}
        self._unshown = True
        self._to_close: list[_Work] = []
        self._on_disk: frozenset[tuple[str, int]] = frozenset()
        self._first: frozenset[tuple[str, int]] | None = None
        self._start_by = float("inf")
        self._stopping = False
        self._close_timeout = settings.shutdown.drain_timeout_s

        # Shared: a mailbox, two events, and references that are swapped whole.
        self._mail: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._started = threading.Event()
        self._stopped = threading.Event()
        self._views: tuple[ModelView, ...] = ()
        self._by_name: Mapping[str, ModelView] = {}
        self._events: tuple[Event, ...] = ()
        self._listeners: tuple[Callable[[tuple[ModelView, ...]], None], ...] = ()
        self._thread: threading.Thread | None = None

    # From any thread.

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="models", daemon=True)
        self._thread.start()

    def wait_started(self, timeout: float | None = None) -> bool:
        """Whether every version wanted at start is READY or FAILED; waits ``timeout`` seconds.

        An empty registry has started at once; a version that was still being copied at
        the start is waited for a little longer than the settle time.
        """
        return self._started.wait(timeout)

    def stop(self, timeout: float | None = None) -> bool:
        """Close every slot; False when that took longer than ``timeout`` seconds.

        Default: the drain timeout, and a moment for the sessions to be freed.
        """
        drain_s = self._settings.shutdown.drain_timeout_s if timeout is None else timeout
        self._mail.put(partial(self._begin_stop, drain_s))
        if self._thread is None:
            self.tick()
        else:
            self._thread.join(drain_s + 1.0 if timeout is None else timeout)
        return self._stopped.is_set()

    def hurry(self) -> None:
        """Something changed in the directories: look soon, not when it is due."""
        self._mail.put(self._scan_soon)

    def views(self) -> tuple[ModelView, ...]:
        """The models as they stand, by name; frozen."""
        return self._views

    def lookup(self, model: str, version: int | None = None) -> VersionView | None:
        """A version, or the one that answers unnamed requests."""
        view = self._by_name.get(model)
        number = version if version is not None or view is None else view.default
        versions = view.versions if view is not None else ()
        return next((v for v in versions if v.number == number), None)

    def history(self) -> tuple[Event, ...]:
        """The last transitions, oldest first."""
        return self._events

    def on_change(self, listener: Callable[[tuple[ModelView, ...]], None]) -> None:
        """Call ``listener`` from the loop with every new picture, after it is published."""
        self._listeners = (*self._listeners, listener)

    # The loop. Everything below runs in its thread only.

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._wait_for_mail(self.tick())
            except Exception:  # noqa: BLE001 - what serves must outlive a bug in here
                log.exception("models_loop_failed")
                self._stopped.wait(self._settings.registry.scan_interval_s)

    def _wait_for_mail(self, timeout: float) -> None:
        with contextlib.suppress(queue.Empty):
            self._mail.get(timeout=timeout)()

    def tick(self) -> float:
        """One turn: mail, scan if due, decide, act, publish. Seconds until the next is due."""
        self._read_mail()
        if self._stopping:
            self._leave_all()
        else:
            if self._mono() >= self._next_scan:
                self._scan()
            if self._undecided or self._mono() >= self._next_retry:
                self._reconcile()
        self._show()
        self._close_left()
        self._note_progress()
        if self._stopping:
            return 0.0 if self._stopped.is_set() else self._close_timeout + 1.0
        return max(0.0, min(self._next_scan, self._next_retry) - self._mono())

    def _read_mail(self) -> None:
        while True:
            try:
                message = self._mail.get_nowait()
            except queue.Empty:
                return
            message()

    def _touch(self, model: str) -> None:
        """Something about the model changed: decide again, and show it."""
        self._undecided = self._unshown = True
        self._stale.add(model)

    # What is on disk.

    def _scan_soon(self) -> None:
        self._next_scan = min(self._next_scan, max(self._soonest_scan, self._mono()))

    def _scan(self) -> None:
        before, cpu_before = self._mono(), self._cpu()
        failed = (w.slot.model for w in self._works.values() if w.slot.state is State.FAILED)
        snapshot = self._source.scan(closely=frozenset(failed))
        cost = self._cpu() - cpu_before
        interval = self._settings.registry.scan_interval_s
        interval = max(interval, min(cost / _SCAN_SHARE, _LONGEST_STRETCH_S))
        if snapshot.settles_in is not None:
            interval = min(interval, max(snapshot.settles_in, _SHORTEST_WAIT_S))
        self._next_scan = before + interval
        self._soonest_scan = before + max(_SHORTEST_WAIT_S, cost / _HURRIED_SHARE)
        if snapshot is not self._snapshot:
            self._snapshot = snapshot
            self._read(snapshot)

    def _read(self, snapshot: Snapshot) -> None:
        self._tell(snapshot)
        with_slots = {work.slot.model for work in self._works.values()}
        self._configs.keep_only({found.name for found in snapshot.models} | with_slots)
        self._wishes = {found.name: self._wish(found) for found in snapshot.models}
        on_disk = {(w.model, v.version) for w in self._wishes.values() for v in w.versions}
        self._on_disk = frozenset(on_disk)
        self._undecided = self._unshown = True
        self._stale.update(self._wishes, self._drawn)
        self._refresh_configs()
        self._drop_stats()
        if self._first is None:
            self._first = self._on_disk
            registry = self._settings.registry
            self._start_by = self._mono() + registry.settle_s + 2 * registry.scan_interval_s

    def _tell(self, snapshot: Snapshot) -> None:
        """Each thing that is wrong once, until it is right again."""
        wrong = {
            *(("registry_unreadable", e.root, e.reason) for e in snapshot.errors),
            *(("registry_entry_ignored", i.path, i.reason) for i in snapshot.ignored),
            *(("model_unreadable", m.path, m.error) for m in snapshot.models if m.error),
        }
        for event, path, reason in sorted(wrong - self._told):
            log.warning(event, path=str(path), reason=reason)
        self._told = wrong

    def _wish(self, found: FoundModel) -> Wishes:
        if found.error:
            return Wishes(found.name, unknown=True)
        known = self._configs.of(found)
        config = known.fingerprint if known else ""
        wishes = tuple(
            Wish(
                SlotKey(found.name, version.number, version.fingerprint, config),
                version.path,
                version.whole and known is not None,
            )
            for version in found.versions
        )
        return Wishes(found.name, wishes, _version_policy(known, wishes))

    def _refresh_configs(self) -> None:
        """What does not make a new slot (the version policy) changes in place."""
        for work in self._works.values():
            known = self._configs.known(work.slot.model)
            if known is not None and known.fingerprint == work.slot.key.config:
                work.config = known.config

    # Deciding and acting.

    def _reconcile(self) -> None:
        if self._snapshot is None:
            return
        for _ in range(_MOST_ROUNDS):
            slots = [work.slot for work in self._works.values()]
            actions = policy.next_actions(self._all_wishes(), slots, self._mono(), self._limits)
            if not actions:
                self._undecided = False
                self._next_retry = self._earliest_retry()
                return
            for action in actions:
                self._do(action)
        log.error("models_policy_restless", actions=[str(action) for action in actions])

    def _all_wishes(self) -> list[Wishes]:
        """Models on disk, and those that have slots only: absent, or out of sight."""
        out_of_sight = self._snapshot is not None and bool(self._snapshot.errors)
        rest = {work.slot.model for work in self._works.values()} - self._wishes.keys()
        return [
            *self._wishes.values(),
            *(Wishes(model, unknown=out_of_sight) for model in sorted(rest)),
        ]

    def _do(self, action: policy.Action) -> None:
        match action:
            case policy.Add(wish):
                self._add(wish)
            case policy.Load(slot):
                self._begin_load(self._works[slot])
            case policy.Cancel(slot):
                self._cancel(self._works[slot])
            case policy.Unload(slot):
                self._begin_leave(self._works[slot])
            case policy.Forget(slot):
                self._gone(self._works[slot])
            case policy.Remark(slot, words):
                self._works[slot].slot.remark = words
                self._touch(self._works[slot].slot.model)

    def _add(self, wish: Wish) -> None:
        known = self._configs.known(wish.key.model)
        slot = Slot(next(self._ids), wish.key, wish.path, self._mono())
        work = _Work(slot, known.config if known else None, self._stats_of(slot))
        self._works[slot.id] = work
        self._touch(slot.model)
        self._history.record(slot, None, self._wall())
        if known is not None and known.config is None:
            self._fail(work, known.error, may_heal=False)

    def _begin_load(self, work: _Work) -> None:
        self._move(work, State.LOADING)
        assert work.config is not None  # else it failed when it was added
        load = partial(self._load_in_thread, work, work.config)
        self._spawn(f"load-{work.slot.model}-{work.slot.version}", load)

    def _cancel(self, work: _Work) -> None:
        """A load in progress ends as soon as its loader notices."""
        work.slot.cancelled = True
        work.cancelled.set()
        if work.slot.state is State.NEW:
            self._end_cancelled(work)
        self._touch(work.slot.model)

    def _end_cancelled(self, work: _Work) -> None:
        self._move(work, State.FAILED, _NO_LONGER_WANTED)
        self._gone(work)

    def _begin_leave(self, work: _Work) -> None:
        """Closed only after a table without it is out, see ``_close_left``."""
        self._move(work, State.DRAINING)
        self._to_close.append(work)

    def _gone(self, work: _Work) -> None:
        self._move(work, State.GONE)
        del self._works[work.slot.id]
        self._drop_stats()

    def _fail(self, work: _Work, reason: str, *, may_heal: bool, detail: str = "") -> None:
        work.slot.attempts += 1
        work.slot.may_heal = may_heal
        self._move(work, State.FAILED, reason, detail=detail)

    def _move(self, work: _Work, to: State, reason: str = "", **facts: object) -> None:
        """``facts`` are for the log."""
        was = work.slot.state
        work.slot.move(to, self._mono(), reason)
        self._history.record(work.slot, was, self._wall(), **facts)
        self._touch(work.slot.model)

    def _stats_of(self, slot: Slot) -> _core.Stats:
        """Counters outlive reloads: they belong to the version, not to the slot."""
        pair = (slot.model, slot.version)
        if pair not in self._stats:
            self._stats[pair] = self._new_stats(*pair)
        return self._stats[pair]

    def _drop_stats(self) -> None:
        """Those of versions that are neither on disk nor in a slot."""
        in_slots = {(work.slot.model, work.slot.version) for work in self._works.values()}
        for pair in self._stats.keys() - self._on_disk - in_slots:
            del self._stats[pair]

    def _earliest_retry(self) -> float:
        """The next time that a retry falls due, as far as it is not waiting for a place."""
        times = (policy.retry_at(work.slot, self._limits) for work in self._works.values())
        return min(
            (at for at in times if at is not None and at > self._mono()), default=float("inf")
        )

    # Loading: the first function runs in a thread of its own, the others in the loop.

    def _load_in_thread(self, work: _Work, config: ModelConfig) -> None:
        slot = work.slot
        try:
            loaded = self._load(
                name=slot.model,
                version=slot.version,
                path=slot.path,
                config=config,
                settings=self._settings,
                stats=work.stats,
                cancelled=work.cancelled.is_set,
                on_warming=lambda: self._mail.put(partial(self._on_warming, work)),
            )
            moved = self._source.fingerprint(slot.path) != slot.key.files
        except BaseException as error:  # noqa: BLE001 - every failure is this version's alone
            self._mail.put(partial(self._on_failed, work, error))
        else:
            report = self._on_moved if moved else self._on_loaded
            self._mail.put(partial(report, work, loaded))

    def _on_warming(self, work: _Work) -> None:
        if work.slot.state is State.LOADING:
            self._move(work, State.WARMING)

    def _on_loaded(self, work: _Work, loaded: Loaded) -> None:
        if work.slot.cancelled:
            self._end_cancelled(work)
            self._close_unused(work, loaded)
            return
        self._on_warming(work)
        work.loaded = loaded
        work.slot.attempts = 0
        work.slot.ready_since = self._wall()
        self._move(
            work,
            State.READY,
            provider=loaded.provider,
            threads=loaded.threads,
            batching=loaded.verdict.words,
            load_seconds=round(loaded.load_seconds, 3),
        )

    def _on_moved(self, work: _Work, loaded: Loaded) -> None:
        """What was read may be half old, half new."""
        if work.slot.cancelled:
            self._end_cancelled(work)
        else:
            self._fail(work, _MOVED, may_heal=True)
        self._close_unused(work, loaded)

    def _on_failed(self, work: _Work, error: BaseException) -> None:
        if work.slot.cancelled:
            self._end_cancelled(work)
            return
        reason, detail = _reason(error)
        self._fail(work, reason, may_heal=_may_heal(error), detail=detail)

    # Leaving.

    def _close_left(self) -> None:
        """Only what the published picture no longer routes to: ``_show`` came before."""
        if self._unshown and not self._stopping:
            return
        for work in self._to_close:
            self._spawn(f"close-{work.slot.model}", partial(self._close_in_thread, work))
        self._to_close = []

    def _close_in_thread(self, work: _Work) -> None:
        if work.loaded is not None:
            self._close(work.slot, work.loaded)
        self._mail.put(partial(self._gone, work))

    def _close_unused(self, work: _Work, loaded: Loaded) -> None:
        self._spawn(f"close-{work.slot.model}", lambda: self._close(work.slot, loaded))

    def _close(self, slot: Slot, loaded: Loaded) -> None:
        try:
            if not loaded.close(self._close_timeout):
                log.warning("close_cut_off", model=slot.model, version=slot.version)
        except Exception:  # noqa: BLE001 - it is out of service either way
            log.exception("close_failed", model=slot.model, version=slot.version)

    def _begin_stop(self, timeout: float) -> None:
        self._stopping = self._unshown = True
        self._close_timeout = timeout

    def _leave_all(self) -> None:
        for work in list(self._works.values()):
            match work.slot.state:
                case State.READY:
                    self._begin_leave(work)
                case State.FAILED:
                    self._gone(work)
                case State.NEW | State.LOADING | State.WARMING if not work.slot.cancelled:
                    self._cancel(work)
        self._wishes = {}
        self._stale.update(self._drawn)

    # Telling others.

    def _show(self) -> None:
        """Publish a new picture if there is one; kept for the next turn when that fails."""
        if not self._unshown:
            return
        self._draw()
        views = tuple(self._drawn[name] for name in sorted(self._drawn))
        self._views, self._events = views, self._history.snapshot()
        self._by_name = dict(self._drawn)
        try:
            self._publish(views)
        except Exception:  # noqa: BLE001 - the old table goes on answering
            log.exception("publish_failed")
            return
        self._unshown = False
        for listener in self._listeners:
            try:
                listener(views)
            except Exception:  # noqa: BLE001 - a listener's trouble is its own
                log.exception("listener_failed")

    def _draw(self) -> None:
        """Anew, the models that something changed about."""
        served: dict[str, list[Served]] = {}
        for work in self._works.values():
            if work.slot.model in self._stale:
                one = Served(work.slot, work.config, work.loaded, work.stats)
                served.setdefault(work.slot.model, []).append(one)
        found = {f.name: f for f in self._snapshot.models} if self._snapshot else {}
        for model in self._stale:
            self._drawn.pop(model, None)
        for wishes in self._all_wishes():
            if (model := wishes.model) in self._stale:
                words = self._words(wishes, found.get(model))
                notes = _notes(found.get(model))
                self._drawn[model] = model_view(wishes, served.get(model, []), notes, words)
        self._stale.clear()

    def _words(self, wishes: Wishes, found: FoundModel | None) -> str:
        if found is not None and found.error:
            return found.error
        if wishes.unknown:
            return policy.UNREADABLE
        known = self._configs.known(wishes.model)
        return known.error if known is not None else ""

    def _note_progress(self) -> None:
        if self._stopping and not self._works:
            self._stopped.set()
        if not self._started.is_set() and self._has_started():
            self._started.set()

    def _has_started(self) -> bool:
        if self._first is None or self._unshown:
            return False
        slots: Iterable[Slot] = (work.slot for work in self._works.values())
        if any(s.state in PENDING and (s.model, s.version) in self._first for s in slots):
            return False
        return self._mono() >= self._start_by or not self._settling()

    def _settling(self) -> bool:
        models = self._snapshot.models if self._snapshot else ()
        return any(
            not found.config_settled or any(version.settling for version in found.versions)
            for found in models
        )


def _version_policy(known: KnownConfig | None, wishes: Sequence[Wish]) -> VersionPolicy:
    """With a configuration that is wrong no lower version would do any better."""
    if known is None:
        return VersionPolicy()
    if known.config is not None or known.policy.kind != "latest":
        return known.policy
    newest = sorted((w.version for w in wishes if w.whole), reverse=True)[: known.policy.latest]
    return VersionPolicy("specific", specific=tuple(newest))


def _notes(found: FoundModel | None) -> dict[int, str]:
    if found is None:
        return {}
    unsettled = "" if found.config_settled else "its configuration is still changing"
    return {v.number: v.why_not or unsettled for v in found.versions}


def _reason(error: BaseException) -> tuple[str, str]:
    """What clients may read, and the original for the log."""
    if isinstance(error, LoadError):
        return error.reason, error.detail
    if isinstance(error, MemoryError):
        return "not enough memory", repr(error)
    if isinstance(error, OSError):
        return "its files could not be read", repr(error)
    return "an internal error while it was loaded", repr(error)


def _may_heal(error: BaseException) -> bool:
    """Whether another try may go better with the same files."""
    marked = getattr(error, "may_heal", None)
    if isinstance(marked, bool):
        return marked
    causes = [e for e in (error, error.__cause__) if isinstance(e, OSError | MemoryError)]
    # A file that was missing comes as a change of files.
    return bool(causes) and not isinstance(causes[-1], FileNotFoundError)


def _loader(settings: Settings) -> Load:
    # Here: it brings onnxruntime with it.
    from serving.models.loader import Loader

    return Loader(settings)


def _stats() -> Callable[[str, int], _core.Stats]:
    from serving import _core

    return _core.Stats
