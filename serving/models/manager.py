"""The loop that makes what is served match what is on disk and what commands said.

One thread, the loop, owns every slot and decides; it waits only for its mailbox.
Loads and closes run in threads of their own and report by mail, so nothing here
takes a lock: the loop is the only writer, and readers get frozen views, swapped
by one reference.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from serving.errors import Word
from serving.events import log
from serving.model_config import ModelConfig, load_model_config
from serving.models import policy, progress
from serving.models.answers import answering
from serving.models.commands import Command, LoadModel, Outcome, SetDefault, Ticket
from serving.models.configs import Configs
from serving.models.disk import Disk, Source
from serving.models.intents import Intents
from serving.models.picture import Standing, model_view
from serving.models.progress import Facts
from serving.models.slots import Load, Outside, Slots
from serving.models.startup import has_started
from serving.models.state import PENDING, Event, State
from serving.models.tickets import Order, Tickets
from serving.models.uploads import UploadError, Uploads
from serving.models.views import ModelView, VersionView
from serving.models.wishes import Wishes
from serving.registry.directory import DirectorySource
from serving.settings import Settings
from serving.state_dir import StateDir

if TYPE_CHECKING:
    from serving import _core

# More rounds than any change needs; a policy that does not come to rest is a bug.
_MOST_ROUNDS = 100


def in_thread(name: str, work: Callable[[], None]) -> None:
    """Daemon threads: a load that never ends must not keep the process from ending."""
    threading.Thread(target=work, name=name, daemon=True).start()


class Manager:
    """Keeps versions loaded as the directories, their configurations and commands say.

    ``publish`` gets every new picture before anything that it leaves out is closed. ``state``
    keeps pins, and what else outlives the process (default: nothing does).
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
        state: StateDir | None = None,
        source: Source | None = None,
        read_config: Callable[[Path], ModelConfig] = load_model_config,
        new_stats: Callable[[str, int], _core.Stats] | None = None,
        mono: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        cpu: Callable[[], float] = time.thread_time,
        spawn: Callable[[str, Callable[[], None]], None] = in_thread,
    ) -> None:
        self._settings, self._publish = settings, publish
        self._mono, self._wall = mono, wall
        source = source or DirectorySource(
            roots,
            settings.registry.settle_s,
            wall=wall,
            mono=mono,
            follow_symlinks=settings.registry.follow_symlinks,
        )
        loading = settings.loading
        self._limits = policy.Limits(
            settings.threads.load, loading.retry_first_s, loading.retry_max_s
        )

        # The loop's own.
        self._disk = Disk(source, settings.registry.scan_interval_s, mono, cpu)
        self._intents = Intents(settings, state, Configs(read_config))
        self._slots = Slots(
            Outside(
                settings=settings,
                load=load or _loader(settings, state),
                new_stats=new_stats or _stats(),
                fingerprint=source.fingerprint,
                mono=mono,
                wall=wall,
                spawn=spawn,
                post=self._post,
                changed=self._touch,
            )
        )
        self._wishes: dict[str, Wishes] = {}
        self._defaults: dict[str, int] = {}
        self._undecided = True
        self._next_retry = float("inf")
        # Models to draw anew, and whether the newest picture has been published.
        self._stale: set[str] = set()
        self._drawn: dict[str, ModelView] = {}
        self._unshown = True
        # Whether a look at the start could see everything.
        self._begun = False
        # The versions on disk at the start, as far as they are wanted.
        self._first: frozenset[tuple[str, int]] | None = None
        self._start_by = float("inf")
        self._stopping = False

        # Shared: a mailbox, tickets, two events, and references that are swapped whole.
        self._mail: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._tickets = Tickets(wake=partial(self._post, _nothing))
        folder = state.path if state is not None else None
        self._uploads = Uploads(folder / "uploads" if folder is not None else None, spawn)
        self._started = threading.Event()
        self._stopped = threading.Event()
        self._views: tuple[ModelView, ...] = ()
        self._by_name: Mapping[str, ModelView] = {}
        self._listeners: tuple[Callable[[tuple[ModelView, ...]], None], ...] = ()
        self._thread: threading.Thread | None = None

    # From any thread.

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="models", daemon=True)
        self._thread.start()

    def wait_started(self, timeout: float | None = None) -> bool:
        """Whether what was wanted at start has come as far as the setting ``readiness`` asks;
        waits ``timeout`` seconds.

        An empty registry has started at once; a version that was still being copied at
        the start is waited for a little longer than the settle time.
        """
        return self._started.wait(timeout)

    def stop(self, timeout: float | None = None) -> bool:
        """Close every slot; False when that took longer than ``timeout`` seconds.

        Default: the drain timeout, and a moment for the sessions to be freed.
        """
        drain_s = self._settings.shutdown.drain_timeout_s if timeout is None else timeout
        self._post(partial(self._begin_stop, drain_s))
        if self._thread is None:
            self.tick()
        else:
            self._thread.join(drain_s + 1.0 if timeout is None else timeout)
        self._uploads.close()
        return self._stopped.is_set()

    def command(self, command: Command) -> Ticket:
        """Have the command carried out; see ``commands``. Never waits for a load.

        Files that come with a load are written in the caller's thread.
        """
        upload = None
        if isinstance(command, LoadModel) and command.files:
            try:
                if command.override is None:
                    raise UploadError("files need a configuration to go with them")
                upload = self._uploads.write(command.model, command.files)
            except (UploadError, OSError) as error:
                return _refused(command, error)
            self._uploads.hand_over(upload)
        return self._tickets.give(command, upload)

    def hurry(self) -> None:
        """Something changed in the directories: look soon, not when it is due."""
        self._post(self._disk.hurry)

    def views(self) -> tuple[ModelView, ...]:
        """The models as they stand, by name; frozen."""
        return self._views

    def lookup(self, model: str, version: int | None = None) -> VersionView | None:
        """A version, or the one that answers unnamed requests."""
        view = self._by_name.get(model)
        number = version if version is not None or view is None else view.default
        versions = view.versions if view is not None else ()
        return next((v for v in versions if v.number == number), None)

    def history(self, model: str | None = None) -> tuple[Event, ...]:
        """The last transitions of a model, or of all together; oldest first, bounded."""
        return self._slots.history.snapshot(model)

    def on_change(self, listener: Callable[[tuple[ModelView, ...]], None]) -> None:
        """Call ``listener`` from the loop with every new picture, after it is published."""
        self._listeners = (*self._listeners, listener)

    def _post(self, message: Callable[[], None]) -> None:
        self._mail.put(message)

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
        """One turn: mail, commands, scan if due, decide, act, publish. Seconds until the next
        is due."""
        self._read_mail()
        if self._stopping:
            self._leave_all()
        else:
            self._take_orders()
            if self._mono() >= self._disk.next_scan:
                self._look()
            self._expire()
            if self._undecided or self._mono() >= self._next_retry:
                self._reconcile()
        self._show()
        if self._stopping or not self._unshown:
            self._slots.close_left()
        self._note_progress()
        return self._rest()

    def _rest(self) -> float:
        if self._stopping:
            return 0.0 if self._stopped.is_set() else self._slots.close_timeout + 1.0
        due = min(self._disk.next_scan, self._next_retry) - self._mono()
        return max(0.0, min(due, self._intents.due() - self._wall()))

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

    def _look(self, asked: Collection[str] = ()) -> None:
        """``asked``: models that a command is about."""
        slots = self._slots.all()
        failed = {(slot.model, slot.version) for slot in slots if slot.state is State.FAILED}
        if self._disk.scan({*failed, *asked}):
            self._read()

    def _read(self) -> None:
        names = {found.name for found in self._disk.models}
        if not self._begun:
            self._intents.begin(names)
            self._begun = not self._disk.unseen
        self._intents.keep_only(names | self._slots.models())
        uploaded = self._intents.uploaded().keys()
        self._wishes = {name: self._wish(name) for name in sorted(names | uploaded)}
        self._undecided = self._unshown = True
        self._stale.update(self._wishes, self._drawn)
        self._slots.reconfigure(self._intents.known)
        if self._first is None:
            wanted = ((m, v) for m, v in self._versions_on_disk() if self._is_wanted(m, v))
            self._first = frozenset(wanted)
            registry = self._settings.registry
            self._start_by = self._mono() + registry.settle_s + 2 * registry.scan_interval_s

    def _wish(self, model: str) -> Wishes:
        found, unseen = self._disk.find(model), self._disk.unseen
        return self._intents.wishes(model, found, unseen, self._wall())

    def _wish_anew(self, model: str) -> None:
        if self._disk.find(model) is not None or model in self._intents.uploaded():
            self._wishes[model] = self._wish(model)
        else:
            self._wishes.pop(model, None)
        self._slots.reconfigure(self._intents.known)
        self._touch(model)

    def _wishes_of(self, model: str) -> Wishes:
        return self._wishes.get(model) or self._wish(model)

    def _versions_on_disk(self) -> set[tuple[str, int]]:
        return {(w.model, v.version) for w in self._wishes.values() for v in w.versions}

    def _is_wanted(self, model: str, version: int) -> bool:
        return not self._wishes[model].dismissed(version)

    def _all_wishes(self) -> list[Wishes]:
        """Models on disk, and those that have slots only: absent, or out of sight."""
        rest = self._slots.models() - self._wishes.keys()
        return [*self._wishes.values(), *(self._wish(model) for model in sorted(rest))]

    # What commands say.

    def _take_orders(self) -> None:
        orders = self._tickets.take()
        if not orders:
            return
        self._look({order.command.model for order in orders})
        for order in orders:
            self._take(order)
        self._intents.save(self._wall())
        self._sweep_uploads()

    def _take(self, order: Order) -> None:
        """An order whose ticket has ended was superseded before it was looked at; what it
        says counts all the same, and the newer ones come after it."""
        model = order.command.model
        facts = self._facts(model)
        command = progress.resolved(order.command, facts)
        sent = None
        if order.upload is not None:
            sent = frozenset(found.number for found in order.upload.found.versions)
        refused = progress.refusal(command or order.command, facts, sent)
        if refused is not None or command is None:
            order.ticket.end(refused or Outcome(Word.INTERNAL, "not understood"))
            return
        log.info("model_command", model=model, **_in_words(order.command))
        self._intents.apply(command, order.upload, facts.wishes, facts.slots)
        if isinstance(command, LoadModel) or (isinstance(command, SetDefault) and command.version):
            self._slots.forget_failed(model, command.version)
        self._wish_anew(model)

    def _facts(self, model: str) -> Facts:
        found = self._disk.find(model)
        said = self._intents.said(model)
        return Facts(
            wishes=self._wishes_of(model),
            slots=self._slots.of(model),
            default=self._defaults.get(model),
            previous=said.previous,
            found=found is not None or model in self._intents.uploaded(),
            heard=bool(said.out or said.versions or said.whole is not None),
            error=found.error if found is not None else "",
        )

    def _finish_tickets(self) -> None:
        """Outcomes are told once they show in the published picture."""
        for ticket in self._tickets.under_way():
            facts = self._facts(ticket.command.model)
            outcome = progress.outcome(ticket.command, facts)
            if outcome is not None:
                ticket.end(outcome)

    def _sweep_uploads(self) -> None:
        if not self._uploads.any:
            return
        waiting = [upload.root for upload in self._tickets.waiting_uploads()]
        used = {*waiting, *self._intents.upload_folders()}
        self._uploads.sweep(used | {slot.folder.parent for slot in self._slots.all()})

    # Deciding and acting.

    def _expire(self) -> None:
        for model in self._intents.expired(self._wall()):
            self._wish_anew(model)

    def _reconcile(self) -> None:
        if not self._disk.seen:
            return
        for _ in range(_MOST_ROUNDS):
            self._note_answers()
            everything = self._all_wishes()
            actions = policy.next_actions(everything, self._slots.all(), self._mono(), self._limits)
            if not actions:
                self._come_to_rest(everything)
                return
            for action in actions:
                self._slots.do(action, self._intents.known)
        log.error("models_policy_restless", actions=[str(action) for action in actions])

    def _come_to_rest(self, everything: Sequence[Wishes]) -> None:
        self._undecided = False
        self._slots.drop_stats(self._versions_on_disk())
        now = self._mono()
        # A retry that is due and waits for a place comes with the mail that frees one.
        times = (at for at in self._slots.retry_times(self._limits) if at > now)
        self._next_retry = min(times, default=float("inf"))
        for wishes in everything:
            if self._intents.settle_exact(wishes, self._slots.of(wishes.model)):
                self._wish_anew(wishes.model)

    def _note_answers(self) -> None:
        """Who answers now: before anything is decided about versions that answer no more."""
        for model in sorted(self._stale):
            slots = self._slots.of(model)
            ready = {slot.version for slot in slots if slot.state is State.READY}
            wishes, before = self._wishes_of(model), self._intents.said(model).answered
            chosen = {wish.version for wish in policy.desired(wishes, slots)}
            default = answering(wishes, ready, chosen, before)
            if default is None:
                self._defaults.pop(model, None)
                continue
            self._defaults[model] = default
            # One that only stands in while another is on its way has not taken over.
            coming = {slot.version for slot in slots if slot.state in PENDING}
            if before not in coming and self._intents.answers(model, default, self._wall()):
                self._wish_anew(model)

    # Telling others.

    def _show(self) -> None:
        """Publish a new picture if there is one; kept for the next turn when that fails."""
        if not self._unshown:
            return
        self._draw()
        views = tuple(self._drawn[name] for name in sorted(self._drawn))
        self._views = views
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
        served = self._slots.served(self._stale)
        for model in self._stale:
            self._drawn.pop(model, None)
        for wishes in self._all_wishes():
            if (model := wishes.model) in self._stale:
                self._drawn[model] = model_view(self._standing(wishes), served.get(model, []))
        self._stale.clear()

    def _standing(self, wishes: Wishes) -> Standing:
        model = wishes.model
        return Standing(
            wishes,
            self._words(wishes),
            self._defaults.get(model),
            self._intents.said(model).previous,
            self._intents.is_held_out(wishes),
        )

    def _words(self, wishes: Wishes) -> str:
        found = self._disk.find(wishes.model)
        if wishes.unknown:
            return found.error if found is not None and found.error else policy.UNREADABLE
        known = self._intents.known(wishes.model)
        return known.error if known is not None else ""

    def _note_progress(self) -> None:
        self._intents.save(self._wall(), at_once=self._stopping)
        if self._stopping:
            if not self._slots.all():
                self._stopped.set()
            return
        if not self._unshown:
            self._finish_tickets()
            if not self._started.is_set() and self._has_started():
                self._started.set()
        self._sweep_uploads()

    def _has_started(self) -> bool:
        if self._first is None:
            return False
        late = self._mono() >= self._start_by
        return has_started(
            self._settings.readiness,
            self._first,
            self._slots.all(),
            settling=() if late else self._disk.settling(),
            wrong=self._disk.wrong,
        )

    # Leaving.

    def _begin_stop(self, timeout: float) -> None:
        self._stopping = self._unshown = True
        self._slots.close_timeout = timeout
        self._tickets.close()

    def _leave_all(self) -> None:
        self._slots.leave_all()
        self._wishes, self._defaults = {}, {}
        self._stale.update(self._drawn)


def _nothing() -> None:
    """Mail that only wakes the loop."""


def _in_words(command: Command) -> dict[str, object]:
    version = getattr(command, "version", None)
    kind = type(command).__name__.removesuffix("Model").lower()
    return {"command": kind, **({"version": version} if version is not None else {})}


def _refused(command: Command, error: UploadError | OSError) -> Ticket:
    ticket = Ticket(command)
    if isinstance(error, UploadError):
        ticket.end(Outcome(Word.BAD_REQUEST, f"failed to load '{command.model}': {error}"))
    else:
        log.warning("upload_not_written", model=command.model, reason=error.strerror)
        words = f"failed to load '{command.model}': its files could not be kept"
        ticket.end(Outcome(Word.UNAVAILABLE, words))
    return ticket


def _loader(settings: Settings, state: StateDir | None) -> Load:
    # Here: it brings onnxruntime with it.
    from serving.models.loader import Loader

    return Loader(settings, state)


def _stats() -> Callable[[str, int], _core.Stats]:
    from serving import _core

    return _core.Stats
