"""The slots, and what is done to them: loads and closes, in threads of their own."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Collection
from collections.abc import Set as AbstractSet
from functools import partial
from typing import TYPE_CHECKING

from serving import machine
from serving.cancellation import Cancellation
from serving.errors import LoadError, Retry
from serving.model_config import ModelConfig
from serving.models.actual.beside import Looks
from serving.models.actual.closing import close_all, close_one
from serving.models.actual.drawing import Loaded, SlotFacts
from serving.models.actual.history import History
from serving.models.actual.outside import Outside
from serving.models.actual.works import Beside, VersionStats, Work, Works
from serving.models.desired import places, policy
from serving.models.desired.candidates import Candidate
from serving.models.state import IN_LOADER, PENDING, Slot, SlotKey, State
from serving.registry.snapshot import Fetching, KnownConfig

if TYPE_CHECKING:
    from serving import _core

_NO_LONGER_WANTED = "no longer wanted"
_MOVED = "its files changed while they were loaded"
_STOPPING = "the server is stopping"
_GAVE_WAY = "its trial takes long; others are loaded first"


class Slots:
    """All slots. Only the loop calls this; threads report to it by ``post``."""

    def __init__(self, outside: Outside) -> None:
        self._outside, self._looks = outside, Looks(outside)
        self.history = History()
        self._works, self._stats = Works(), VersionStats()
        # Whether other slots than before are FAILED.
        self._failures_changed = False
        self._ids = itertools.count(1)
        self._to_close: list[Work] = []
        self.close_timeout = outside.settings.shutdown.drain_timeout_s

    @property
    def any(self) -> bool:
        return len(self._works) > 0

    def all(self) -> list[Slot]:
        return [work.slot for work in self._works.all()]

    def of(self, model: str) -> list[Slot]:
        return [work.slot for work in self._works.of(model)]

    def slot(self, id_: int) -> Slot:
        return self._works[id_].slot

    def models(self) -> AbstractSet[str]:
        return self._works.models()

    def loading(self) -> list[Slot]:
        """Those in the loader, the oldest first."""
        slots = (work.slot for work in self._works.in_state(*IN_LOADER))
        return sorted(slots, key=lambda slot: slot.id)

    def take_failures(self) -> frozenset[tuple[str, int]] | None:
        """The versions that have failed; None: no others than when that was last asked."""
        if not self._failures_changed:
            return None
        self._failures_changed = False
        failed = self._works.in_state(State.FAILED)
        return frozenset((work.slot.model, work.slot.version) for work in failed)

    def served(self, model: str) -> list[SlotFacts]:
        """The model's slots with what belongs to them."""
        works = self._works.of(model)
        return [SlotFacts(work.slot, work.config, work.loaded, work.stats) for work in works]

    # What the policy decided.

    def do(self, action: policy.Action, known: Callable[[str], KnownConfig | None]) -> str:
        """The model that it touched. ``known``: a model's configuration in force."""
        if isinstance(action, policy.Add):
            model = action.candidate.key.model
            self._add(action.candidate, known(model), action.words)
            return model
        work = self._works[action.slot]
        match action:
            case places.Load():
                self._begin_load(work)
            case places.MoveOver():
                work.slot.gave_way += 1
            case places.GiveWay():
                work.slot.told = True
                work.gives_way = True
                work.ending.cancel()
            case policy.Cancel():
                self._cancel(work)
            case policy.Unload(words=words):
                self._begin_leave(work, words)
            case policy.Discard():
                self._gone(work)
            case policy.Annotate(words=words):
                work.slot.remark = words
        return work.slot.model

    def forget_failed(self, model: str, version: int | None) -> None:
        """A command asks for them again: the next try is a new slot, at once."""
        for work in self._works.of(model):
            if work.slot.state is State.FAILED and version in (None, work.slot.version):
                self._gone(work)

    def remark(self, model: str, version: int, words: str) -> None:
        """For the history of a READY version."""
        for slot in self.of(model):
            if slot.version == version and slot.state is State.READY:
                self.history.remark(slot, words, self._outside.wall())

    def reconfigure(self, model: str, latest: KnownConfig | None) -> None:
        """What does not make a new slot (the version policy, the schema) changes in place.
        ``latest``: the model's configuration in force."""
        if latest is None:
            return
        for work in self._works.of(model):
            if latest.fingerprint == work.slot.key.config:
                work.config = latest.config
            work.beside = Beside(latest.stamp, latest.folder)
            self._looks.look(work)

    def _add(self, candidate: Candidate, known: KnownConfig | None, words: str) -> None:
        now = self._outside.mono()
        slot = Slot(next(self._ids), candidate.key, candidate.origin, now)
        work = Work(slot, known.config if known else None, self._stats_of(slot))
        if known is not None:
            work.beside = Beside(known.stamp, known.folder)
        self._works.add(work)
        self.history.record(slot, None, self._outside.wall(), words)
        if known is not None and known.config is None:
            self._fail(work, LoadError(known.error))

    def _begin_load(self, work: Work) -> None:
        work.gives_way, work.ending = False, Cancellation()
        work.slot.told, work.slot.trying_since = False, None
        work.seen_beside = work.beside
        self._move(work, State.LOADING, why=_try_words(work.slot))
        assert work.config is not None  # else it failed when it was added
        load = partial(self._load_in_thread, work, work.config, work.ending)
        try:
            self._outside.spawn(f"load-{work.slot.model}-{work.slot.version}", load)
        except (RuntimeError, MemoryError) as error:
            # No thread: nobody else would ever say what became of it.
            self._on_failed(work, error, moved=False)

    def _cancel(self, work: Work) -> None:
        """A load in progress ends as soon as its loader notices."""
        work.slot.cancelled = True
        work.ending.cancel()
        if work.slot.state is State.NEW:
            self._end_cancelled(work)

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
        self._works.remove(work)

    def _fail(self, work: Work, error: LoadError) -> None:
        work.slot.attempts += 1
        work.slot.retry = error.retry
        self._move(work, State.FAILED, error.reason, detail=error.detail)

    def _move(
        self, work: Work, to: State, reason: str = "", why: str = "", **facts: object
    ) -> None:
        """``why`` is for the history, where there is no ``reason``; ``facts`` are for the log."""
        was = work.slot.state
        work.slot.move(to, self._outside.mono(), reason)
        self._works.moved(work, was)
        self._failures_changed |= State.FAILED in (was, to)
        self.history.record(work.slot, was, self._outside.wall(), why, **facts)

    def _stats_of(self, slot: Slot) -> _core.Stats:
        mine = self._stats.of(slot.model)
        if slot.version not in mine:
            mine[slot.version] = self._outside.new_stats(slot.model, slot.version)
        return mine[slot.version]

    def drop_stats(self, model: str, on_disk: Collection[int]) -> None:
        """Those of its versions that are neither on disk nor in a slot."""
        self._stats.keep_only(model, {*on_disk, *(slot.version for slot in self.of(model))})

    # Loading: the first function runs in a thread of its own, the others in the loop.

    def _load_in_thread(self, work: Work, config: ModelConfig, ending: Cancellation) -> None:
        slot, outside = work.slot, self._outside
        try:
            begins = partial(outside.mention, partial(self._note_trying, work))
            fetched = slot.origin.fetch(Fetching(partial(_check, ending), begins))
            loaded = outside.load(
                name=slot.model,
                version=slot.version,
                path=fetched.version,
                folder=fetched.model,
                fingerprint=_fingerprint(slot.key),
                config=config,
                settings=outside.settings,
                stats=work.stats,
                cancelled=ending,
                on_trying=lambda: outside.mention(partial(self._note_trying, work)),
                on_warming=lambda: outside.mention(partial(self._note_warming, work)),
                on_changed=lambda: outside.post(partial(outside.changed, slot.model)),
            )
        except BaseException as error:  # noqa: BLE001 - every failure is this version's alone
            self._report(work, self._on_failed, error, self._has_moved(slot))
        else:
            done = self._on_moved if self._has_moved(slot) else self._on_loaded
            self._report(work, done, loaded)

    def _report(self, work: Work, what: Callable[..., None], *args: object) -> None:
        """Have the loop take up what a thread came to."""

        def take_up() -> None:
            try:
                what(work, *args)
            finally:
                self._outside.changed(work.slot.model)

        self._outside.post(take_up)

    def _has_moved(self, slot: Slot) -> bool:
        """Whether its files are others than when the load began."""
        return slot.origin.fingerprint() != slot.key.files

    def _note_trying(self, work: Work) -> None:
        work.slot.trying_since = self._outside.mono()
        self._outside.changed(work.slot.model)

    def _note_warming(self, work: Work) -> None:
        """On its way still: it waits for no place, and gives none back."""
        self._on_warming(work)
        self._outside.shown(work.slot.model)

    def _on_warming(self, work: Work) -> None:
        if work.slot.state is State.LOADING:
            self._move(work, State.WARMING)

    def _on_loaded(self, work: Work, loaded: Loaded) -> None:
        if work.slot.cancelled:
            self._end_cancelled(work)
            self._close_unused(work, loaded)
            return
        facts = loaded.facts
        work.slot.signature = facts.signature
        if words := self._outside.objection(work.slot):
            self._fail(work, LoadError(words))
            self._close_unused(work, loaded)
            return
        self._on_warming(work)
        work.loaded = loaded
        work.slot.attempts = 0
        work.slot.ready_since = self._outside.wall()
        self._move(
            work,
            State.READY,
            provider=facts.provider,
            threads=facts.threads,
            batching=facts.batching,
            load_seconds=round(facts.load_seconds or 0.0, 3),
        )
        self._looks.look(work)

    def _on_moved(self, work: Work, loaded: Loaded) -> None:
        """What was read may be half old, half new."""
        if work.slot.cancelled:
            self._end_cancelled(work)
        else:
            self._fail(work, LoadError(_MOVED, retry=Retry.LATER))
        self._close_unused(work, loaded)

    def _on_failed(self, work: Work, error: BaseException, moved: bool) -> None:
        if work.slot.cancelled:
            self._end_cancelled(work)
            return
        if work.gives_way:
            work.slot.gave_way += 1
            self._move(work, State.NEW, _GAVE_WAY)
            return
        failure = _as_load_error(error)
        if moved:
            # Half a file says nothing about the whole one.
            failure = LoadError(_MOVED, failure.detail or failure.reason, Retry.LATER)
        self._fail(work, failure)

    # Leaving.

    def close_left(self) -> None:
        """To be called once the published views route to none of them any more. Raises
        RuntimeError where no thread can be had; they are closed by the next call then."""
        if self._to_close:
            spawn, works = self._outside.spawn, tuple(self._to_close)
            close = partial(close_all, works, self._close_in_thread, spawn)
            spawn(f"close-{works[0].slot.model}", close)
            self._to_close.clear()

    def _close_in_thread(self, work: Work) -> None:
        if work.loaded is not None:
            close_one(work.slot, work.loaded, self.close_timeout)
        self._report(work, self._gone)

    def _close_unused(self, work: Work, loaded: Loaded) -> None:
        close = partial(close_one, work.slot, loaded, self.close_timeout)
        try:
            self._outside.spawn(f"close-{work.slot.model}", close)
        except (RuntimeError, MemoryError):
            close()  # here: nothing runs in it that would have to be waited for

    def leave_all(self) -> set[str]:
        """The server stops. The models that it touched."""
        touched: set[str] = set()
        leave: dict[State, Callable[[Work], None]] = {
            **dict.fromkeys(PENDING, self._cancel),
            State.READY: partial(self._begin_leave, words=_STOPPING),
            State.FAILED: self._gone,
        }
        for state, act in leave.items():
            works = [work for work in self._works.in_state(state) if not work.slot.cancelled]
            for work in works:
                act(work)
            touched.update(work.slot.model for work in works)
        return touched


def _try_words(slot: Slot) -> str:
    return f"another try, after {slot.attempts} that failed" if slot.attempts else ""


def _fingerprint(key: SlotKey) -> str:
    text = f"{key.files}\0{key.config}".encode()
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def _check(ending: Cancellation) -> None:
    """Of files that come from elsewhere."""
    if ending():
        raise LoadError(_NO_LONGER_WANTED, retry=Retry.LATER)


def _as_load_error(error: BaseException) -> LoadError:
    if isinstance(error, LoadError):
        return error
    if isinstance(error, MemoryError):
        return LoadError.after(error, "not enough memory", repr(error))
    if isinstance(error, OSError):
        return LoadError.after(error, "its files could not be read", repr(error))
    if machine.is_thread_shortage(error):
        words = "no thread could be started for it"
        return LoadError(words, machine.thread_shortage_words(), Retry.LATER)
    return LoadError("an internal error while it was loaded", repr(error))
