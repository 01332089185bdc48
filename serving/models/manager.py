"""The loop that makes what is served match what is on disk and what commands said.

One thread, the loop, owns every slot and decides; it waits only for its mailbox.
Sources, loads and closes have threads of their own and report by mail, so nothing here
takes a lock: the loop is the only writer, and readers get frozen views, swapped
by one reference.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from serving.errors import ErrorCode
from serving.events import log
from serving.gates.judge import Judge
from serving.gates.verdicts import Verdicts
from serving.kept_threads import KeptThreads
from serving.model_config import ModelConfig, load_model_config
from serving.model_config.gates import GatesConfig
from serving.models.actual.disk import Sight
from serving.models.actual.outside import Load, Outside
from serving.models.actual.published import PublishedViews
from serving.models.actual.slots import Slots
from serving.models.commands.command import (
    LONGEST_REASON,
    Command,
    LoadModel,
    Outcome,
    SetAlias,
    Ticket,
)
from serving.models.commands.line import Line
from serving.models.commands.tickets import Tickets
from serving.models.commands.uploads import Upload, UploadError, Uploads
from serving.models.desired.store import DesiredState
from serving.models.gate_figures import GateFigures
from serving.models.gating import Gating, Listener
from serving.models.mailbox import Mailbox
from serving.models.reconciler import Reconciler
from serving.models.state import Transition
from serving.models.verdicts import Bench
from serving.models.views import Changes, ModelView, VersionView
from serving.registry.aliases import why_no_alias
from serving.registry.configs import Configs
from serving.registry.kinds import Terms, open_sources
from serving.registry.snapshot import Ignored, Origin
from serving.registry.source import Source
from serving.registry.sources import Sources
from serving.rollout.route import RouteChange
from serving.settings import Settings
from serving.state_dir import StateDir

if TYPE_CHECKING:
    from serving import _core


_AGAIN_S = 1.0


class Manager:
    """Keeps versions loaded as the directories, their configurations and commands say.

    ``publish`` gets every change of the views before anything that it leaves out is closed.
    ``state`` keeps pins, and what else outlives the process (default: nothing does).
    ``listed``: the models of a model config list, beside those of ``roots``. ``bench``: what
    judges versions that have gates; ``gates``: those of the file of gates, by model.
    ``listed``: the models of a model config list, beside those of ``roots``; ``elsewhere``: those
    of other sources.
    The other arguments are for tests: ``spawn`` runs loads and closes, ``sources``
    replace the directories, and the clocks are monotonic, epoch and CPU seconds.
    """

    def __init__(
        self,
        settings: Settings,
        roots: Sequence[Path],
        publish: Callable[[Changes], None],
        load: Load | None = None,
        *,
        state: StateDir | None = None,
        listed: Source | None = None,
        bench: Bench | None = None,
        gates: Mapping[str, GatesConfig] | None = None,
        elsewhere: Sequence[Source] = (),
        sources: Sequence[Source] = (),
        read_config: Callable[[Path], ModelConfig] = load_model_config,
        new_stats: Callable[[str, int], _core.Stats] | None = None,
        mono: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        cpu: Callable[[], float] = time.thread_time,
        spawn: Callable[[str, Callable[[], None]], None] | None = None,
    ) -> None:
        self._settings, self._wall = settings, wall
        self._mail = Mailbox()
        spawn = spawn or KeptThreads().spawn
        sources = sources or _sources(
            roots, Terms(settings.registry, wall, mono), listed, elsewhere
        )
        configs, interval_s = partial(Configs, read_config), settings.registry.scan_interval_s
        self._sources = Sources(sources, configs, interval_s, self._mail.post, mono, cpu)

        # The loop's own.
        self._desired = DesiredState(settings, state)
        self._reconciler = Reconciler(settings, self._sources, self._desired, mono, wall)
        self._disk = self._reconciler.disk
        answering = self._reconciler.answering
        self._slots = self._reconciler.slots = answering.slots = Slots(
            Outside(
                settings=settings,
                load=load or _loader(settings, state),
                new_stats=new_stats or _stats(),
                mono=mono,
                wall=wall,
                spawn=spawn,
                post=self._mail.post,
                mention=self._mail.mention,
                changed=self._reconciler.touch,
                shown=self._reconciler.show_anew,
                objection=answering.objection,
            )
        )
        gating = self._gating = self._reconciler.gating = Gating(
            settings,
            bench or Bench(settings, Judge(settings), Verdicts(state or StateDir(None))),
            gates or {},
            spawn,
            self._mail.post,
            self._reconciler.touch,
            mono,
            wall,
        )
        gating.slots = self._slots
        self._stopping = False
        self._failures = 0

        # Shared, each safe in its own way.
        self._tickets = Tickets(wake=partial(self._mail.post, _nothing))
        self._line = Line(self._tickets, self._sources)
        folder = state.path if state is not None else None
        self._uploads = Uploads(folder / "uploads" if folder is not None else None, spawn)
        self._published = PublishedViews(publish)
        self._started = threading.Event()
        self._stopped = threading.Event()
        self._reload_waits = threading.Event()
        self._thread: threading.Thread | None = None

    # From any thread.

    def start(self) -> None:
        self._sources.start()
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
        self._sources.stop()
        self._mail.post(partial(self._begin_stop, drain_s))
        if self._thread is None:
            self.tick()
        else:
            self._thread.join(drain_s + 1.0 if timeout is None else timeout)
        self._uploads.close()
        return self._stopped.is_set()

    def command(self, command: Command, by: str = "", reason: str = "") -> Ticket:
        """Have the command carried out; see ``commands.command``. Never waits for a load.
        ``by``: who or what gave it, and ``reason``: why, of at most ``LONGEST_REASON`` characters;
        both for the history and the log.

        Files that come with a load are written in the caller's thread.
        """
        upload: Upload | None = None
        if isinstance(command, SetAlias) and (why := why_no_alias(command.alias)):
            return _ended(command, Outcome(ErrorCode.BAD_REQUEST, why))
        reason = reason[:LONGEST_REASON]
        if isinstance(command, LoadModel) and command.files:
            try:
                if command.override is None:
                    raise UploadError("files need a configuration to go with them")
                upload = self._uploads.write(command.model, command.files)
            except (UploadError, OSError) as error:
                return _refused(command, error)
        ticket = self._tickets.give(command, upload, by, reason)
        if upload is not None:
            self._uploads.hand_over(upload)
        return ticket

    def refuse_commands(self) -> None:
        """Have nobody wait for a command any more, and take no other: the server is stopping.
        What is loaded goes on until ``stop``."""
        self._tickets.refuse()

    def hurry(self, touched: Collection[str] | None = None) -> None:
        """Something changed in the directories: look soon, not when it is due. ``touched``: in
        these folders; None: anywhere."""
        self._sources.hurry(touched)

    def reports(self, reported: bool) -> None:
        """Whether ``hurry`` tells of every change in the directories, so far as the system
        knows: then they are looked through more seldom."""
        self._sources.reports(reported)

    def reload(self) -> None:
        """Have every model's configuration read again; the log says what that changed."""
        if not self._reload_waits.is_set():
            self._reload_waits.set()
            self._mail.post(self._reload)

    def take_state(
        self, state: StateDir, then: Callable[[StateDir], None] = lambda state: None
    ) -> None:
        """Go on with what another gateway decided, and keep there what is decided from now on.
        ``then`` is called in the loop when that has been taken, and may wait for nothing."""
        self._mail.post(partial(self._take_state, state, then))

    def _take_state(self, state: StateDir, then: Callable[[StateDir], None]) -> None:
        self._reconciler.reconsider(self._desired.take_over(state))
        then(state)

    def _reload(self) -> None:
        self._reload_waits.clear()
        self._reconciler.reload()

    def views(self) -> tuple[ModelView, ...]:
        """The models as they stand, by name; frozen."""
        return self._published.views

    def view(self, model: str) -> ModelView | None:
        """A model as it stands; frozen."""
        return self._published.view(model)

    def lookup(self, model: str, version: int | None = None) -> VersionView | None:
        """A version, or the one that answers unnamed requests."""
        return self._published.lookup(model, version)

    def history(self, model: str | None = None) -> tuple[Transition, ...]:
        """The last transitions of a model, or of all together; oldest first, bounded."""
        return self._slots.history.snapshot(model)

    def route_history(self, model: str) -> tuple[RouteChange, ...]:
        """Who or what changed the model's route lately and why, also in earlier lives; oldest
        first, bounded."""
        return self._desired.overrides_of(model).changes

    def on_change(self, listener: Callable[[Changes], None]) -> None:
        """Call ``listener`` from the loop with the views that changed, after they are published."""
        self._published.listen(listener)

    def on_event(self, listener: Callable[[Transition], None]) -> None:
        """Call ``listener`` from the loop with every transition of a version."""
        self._slots.history.listen(listener)

    def on_verdict(self, listener: Listener) -> None:
        """Call ``listener`` from the loop with the slot and each verdict on it that is new: its
        origin says where the version comes from."""
        self._gating.listen(listener)

    @property
    def gates(self) -> GateFigures:
        """What is counted of gates."""
        return self._gating.figures

    @property
    def sight(self) -> Sight:
        """How well the directories can be seen."""
        return self._disk.sight

    @property
    def ignored(self) -> Sequence[Ignored]:
        """What lies in the directories and could not be made out, each with what to do."""
        return self._disk.ignored

    @property
    def passed_over(self) -> Sequence[Ignored]:
        """Folders that are no models."""
        return self._disk.passed_over

    @property
    def failures(self) -> int:
        """Turns of the loop that ended with an error of its own."""
        return self._failures

    # The loop. Everything below runs in its thread only.

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._mail.wait(self.tick())
            except Exception:  # noqa: BLE001 - what serves must outlive a bug in here
                self._failures += 1
                log.exception("models_loop_failed")
                self._stopped.wait(self._settings.registry.scan_interval_s)

    def tick(self) -> float:
        """One turn: mail, commands, decide, act, publish. Seconds until the next is due."""
        self._mail.read()
        if self._stopping:
            self._reconciler.leave_all()
        else:
            self._reconciler.turn(self._line.take)
        self._desired.save(self._wall(), at_once=self._stopping)
        self._show()
        if self._stopping or self._published.shown:
            self._slots.close_left()
        self._note_progress()
        if self._stopping:
            return 0.0 if self._stopped.is_set() else self._slots.close_timeout + 1.0
        due_in = self._reconciler.due_in()
        # What could not be published is tried again.
        return due_in if self._published.shown else min(due_in, _AGAIN_S)

    def _show(self) -> None:
        if not self._disk.known and not self._stopping:
            # Until a table is published every model is one that may be there.
            return
        changed = self._reconciler.draw()
        if changed or not self._published.shown:
            self._published.shown = False
            self._published.show(changed)

    def _note_progress(self) -> None:
        if self._stopping:
            if not self._slots.any:
                self._stopped.set()
            return
        if self._published.shown and self._disk.seen:
            self._end_tickets()
            if not self._started.is_set() and self._reconciler.has_started():
                self._started.set()
        if self._uploads.any:
            self._uploads.sweep(self._used_uploads)

    def _end_tickets(self) -> None:
        """An outcome is told once it shows in the published views."""
        for ticket in self._tickets.under_way():
            outcome = self._reconciler.outcome(ticket.command)
            if outcome is not None:
                ticket.end(outcome)
            else:
                ticket.begin()

    def _used_uploads(self) -> set[Origin]:
        waiting = [o.upload for o in self._tickets.waiting() if o.upload is not None]
        given = self._desired.contents.uploads()
        slots = (slot for model in self._uploads.models for slot in self._slots.of(model))
        used = {slot.origin for slot in slots}
        return used.union(*(upload.origins for upload in (*waiting, *given)))

    def _begin_stop(self, timeout: float) -> None:
        self._stopping = True
        self._published.shown = False
        self._slots.close_timeout = timeout
        self._tickets.close()


def _sources(
    roots: Sequence[Path], terms: Terms, listed: Source | None, elsewhere: Sequence[Source]
) -> Sequence[Source]:
    """At least one."""
    others = [*([listed] if listed is not None else ()), *elsewhere]
    return [*(open_sources(roots, terms) if roots or not others else ()), *others]


def _nothing() -> None:
    """Mail that only wakes the loop."""


def _refused(command: Command, error: UploadError | OSError) -> Ticket:
    if isinstance(error, UploadError):
        words = f"failed to load '{command.model}': {error}"
        return _ended(command, Outcome(ErrorCode.BAD_REQUEST, words))
    log.warning("upload_not_written", model=command.model, reason=error.strerror)
    words = f"failed to load '{command.model}': its files could not be kept"
    return _ended(command, Outcome(ErrorCode.UNAVAILABLE, words))


def _ended(command: Command, outcome: Outcome) -> Ticket:
    ticket = Ticket(command)
    ticket.end(outcome)
    return ticket


def _loader(settings: Settings, state: StateDir | None) -> Load:
    # Here: it brings onnxruntime with it.
    from serving.loading.loader import Loader

    return Loader(settings, state)


def _stats() -> Callable[[str, int], _core.Stats]:
    from serving import _core

    return _core.Stats
