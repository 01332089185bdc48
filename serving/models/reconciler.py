"""From what is on disk and what commands said to slots: looks, decides, acts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from serving.errors import ErrorCode
from serving.events import log
from serving.models.actual.disk import Disk
from serving.models.actual.drawing import ModelFacts, model_view
from serving.models.actual.slots import Slots
from serving.models.actual.startup import Startup
from serving.models.answering import Answering
from serving.models.commands import changes, progress
from serving.models.commands.command import (
    AcceptVersion,
    BlessVersion,
    Command,
    LoadModel,
    Outcome,
    SetDefault,
)
from serving.models.commands.facts import Facts
from serving.models.commands.pins_before import PinsBefore
from serving.models.commands.tickets import Order
from serving.models.desired import places, policy
from serving.models.desired.candidates import ModelTarget
from serving.models.desired.reloading import Reloading
from serving.models.desired.store import DesiredState
from serving.models.desired.timers import Timers
from serving.models.desired.waiting import Waiting
from serving.models.gating import Gating
from serving.models.state import State
from serving.models.targets import Targets
from serving.models.views import ModelView
from serving.registry.sources import Sources
from serving.rollout.route import RouteChange
from serving.settings import Settings

# More rounds than any change needs; a policy that does not come to rest is a bug.
_MOST_ROUNDS = 100


class Reconciler:
    """What the manager's loop does. Used by that loop only.

    ``mono`` and ``wall``: seconds, monotonic and since the epoch.
    """

    def __init__(
        self,
        settings: Settings,
        sources: Sources,
        desired: DesiredState,
        mono: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._sources, self._desired = sources, desired
        self.disk = self._disk = Disk(sources, mono)
        self._mono, self._wall = mono, wall
        loading = settings.loading
        self._limits = policy.Limits(
            settings.loads,
            loading.slow_after_s,
            loading.retry_first_s,
            loading.retry_max_s,
        )
        self.slots: Slots
        self.gating: Gating
        self.answering = Answering(desired, settings.rollout.hold_signature_changes, wall)
        self.targets = Targets(self._disk, desired, self.answering, wall)
        self._reloading = Reloading(sources, desired)
        # Models that something changed about since they were drawn, and since it was decided what
        # comes next for them.
        self._stale: set[str] = set()
        self._undecided: set[str] = set()
        self._waiting, self._timers = Waiting(), Timers()
        self._pins_before = PinsBefore(desired, wall)
        # When it was last decided: what falls due later has its timer.
        self._decided_at = float("-inf")
        # Whether everything is to be seen anew: an error of ours met the last turn.
        self._unread = False
        # Of the versions on disk at the start, as far as they are wanted.
        self._startup: Startup | None = None
        self._start_by = float("inf")

    def turn(self, take: Callable[[], Sequence[Order]]) -> None:
        """See what is on disk, ``take`` the orders that may be carried out by that, and do what
        follows: for the models that something changed about, or whose time has come."""
        try:
            self._turn(take)
        except Exception:
            # What it was in the middle of is looked at anew.
            self._unread = True
            raise

    def _turn(self, take: Callable[[], Sequence[Order]]) -> None:
        changed = self._disk.refresh()
        if self._unread and self._disk.seen:
            changed = self._everything()
        if changed is not None:
            self._read(changed)
        self._unread = False
        self._reloading.end()
        self._take_all(take())
        for model in self._desired.take_expired(self._wall()):
            self._retarget(model)
        self._undecided.update(self._timers.take(self._mono()))
        if self._undecided:
            self._reconcile()

    def _take_all(self, orders: Sequence[Order]) -> None:
        """An error of ours costs the order that it met, and no other."""
        failed: Exception | None = None
        for order in orders:
            try:
                self._take(order)
            except Exception as error:  # noqa: BLE001 - raised when the others are taken
                failed = failed or error
                words = "the gateway failed while it carried this out"
                order.ticket.end(Outcome(ErrorCode.INTERNAL, words))
        if failed is not None:
            raise failed

    def due_in(self) -> float:
        """Seconds until a turn has something to do that no mail announces."""
        now = self._mono()
        start_by = self._start_by if self._start_by > now else float("inf")
        due = min(self._sources.stuck_at(), self._timers.next(), start_by) - now
        return max(0.0, min(due, self._desired.due() - self._wall()))

    def touch(self, model: str) -> None:
        """Something about the model changed: decide again, and show it."""
        self._undecided.add(model)
        self._stale.add(model)

    def show_anew(self, model: str) -> None:
        """Something about the model changed that nothing hangs on but how it looks."""
        self._stale.add(model)

    def leave_all(self) -> None:
        """The server stops."""
        left = self.slots.leave_all()
        self._stale.update(left, self.targets.names(), self.answering.end())
        self.targets.clear()
        self.gating.end()

    # What is on disk.

    def _everything(self) -> set[str]:
        """Every model that there is anything of."""
        names = {found.name for found in self._disk.models}
        uploaded = self._desired.contents.uploaded()
        return names.union(self.slots.models(), uploaded, self.targets.names())

    def _read(self, changed: Collection[str]) -> None:
        """``changed``: the models that are there, came or went, and look other than before."""
        for name in sorted(self.targets.look(self.slots.models()).union(changed)):
            self._retarget(name)
        if self._startup is None and self._disk.complete:
            self._begin_startup()

    def _begin_startup(self) -> None:
        self._startup = Startup(
            (target.model, candidate.version)
            for target in self.targets.all()
            for candidate in target.versions
            if not target.dismissed(candidate.version)
        )
        for model in self.slots.models():
            self._startup.note(model, self.slots.of(model))
        registry = self._settings.registry
        self._start_by = self._mono() + registry.settle_s + 2 * registry.scan_interval_s

    def reload(self) -> None:
        """Have every model's configuration read again; the log says what that changed."""
        self._reloading.begin({found.name for found in self._disk.models})

    def reconsider(self, models: Collection[str]) -> None:
        """What is desired of them may be another thing now."""
        for model in models:
            self._retarget(model)

    def _retarget(self, model: str) -> None:
        """What is desired of the model may be another thing now."""
        self.targets.redraw(model)
        self.slots.reconfigure(model, self._desired.contents.known(model))
        self.touch(model)

    def _is_known(self, model: str) -> bool:
        """Whether there is anything of it: one that has slots only is absent, or out of sight."""
        return model in self.targets or model in self.slots.models()

    # What commands say.

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
            refused = refused or Outcome(ErrorCode.INTERNAL, "nothing to go back to")
            order.ticket.end(self._with_right_name(refused, facts))
            return
        by, reason = order.ticket.by, order.ticket.reason
        said = changes.in_words(order.command, command, facts)
        whose = {key: text for key, text in (("by", by), ("reason", reason)) if text}
        log.info("model_command", model=model, **said, **whose)
        changed = changes.of_command(order.command, command, facts, by, reason)
        self.answering.record(model, changed)
        if what := changes.of_route(command, facts):
            self._desired.note_route(model, RouteChange(self._wall(), by, what, reason))
        self._pins_before.take(command, facts)
        self._desired.apply(command, order.upload, facts.target, facts.slots)
        if isinstance(command, BlessVersion):
            self.gating.bless(model, command.version, order.ticket.by, command.reason)
        if isinstance(command, LoadModel):
            self.gating.ask_again(model, command.version)
        if isinstance(command, AcceptVersion):
            log.info("signature_accepted", model=model, version=command.version)
        if isinstance(command, LoadModel | AcceptVersion) or (
            isinstance(command, SetDefault) and command.version
        ):
            self.slots.forget_failed(model, command.version)
        self._retarget(model)

    def _with_right_name(self, refused: Outcome, facts: Facts) -> Outcome:
        if refused.code is not ErrorCode.NOT_FOUND or facts.found:
            return refused
        # Here, so that the loop can be tested without the built core.
        from serving import _core

        near = _core.nearest(facts.model, tuple(sorted(self.targets.names())))
        words = f"; did you mean '{near}'?" if near is not None else ""
        return replace(refused, message=refused.message + words)

    def outcome(self, command: Command) -> Outcome | None:
        """What came of a command that was taken; None while it goes on."""
        facts = self._facts(command.model)
        outcome, back = self._pins_before.end(command, progress.outcome(command, facts), facts)
        if back is not None:
            self._set_back(back, facts)
        return outcome

    def _set_back(self, back: SetDefault, facts: Facts) -> None:
        """A pin as it was, since the version that was to have it is kept from traffic."""
        by = "gates"
        self.answering.record(back.model, changes.of_command(back, back, facts, by))
        if what := changes.of_route(back, facts):
            self._desired.note_route(back.model, RouteChange(self._wall(), by, what, ""))
        self._desired.apply(back, None, facts.target, facts.slots)
        self._retarget(back.model)
        # No mail announces it.
        self._timers.put(back.model, self._mono())

    def _end_pin(self, model: str) -> None:
        """Of a pin that its ticket may wait for no more: another command took its place."""
        facts = self._facts(model)
        pin = SetDefault(model, facts.target.pinned)
        _, back = self._pins_before.end(pin, progress.outcome(pin, facts), facts)
        if back is not None:
            self._set_back(back, facts)

    def _facts(self, model: str) -> Facts:
        found = self._disk.find(model)
        current = self._desired.overrides_of(model)
        return Facts(
            target=self.targets.of(model),
            slots=self.slots.of(model),
            default=self.answering.default(model),
            previous=current.previous,
            found=self.targets.is_there(model),
            overridden=current.whole is not None
            or any((current.out, current.versions, current.aliases, current.split.versions)),
            error=found.error if found is not None else "",
            disk=frozenset(v.number for v in found.versions) if found is not None else frozenset(),
        )

    # Deciding and acting.

    def _reconcile(self) -> None:
        if not self._disk.seen:
            return
        decided: set[str] = set()
        for _ in range(_MOST_ROUNDS):
            actions = self._decide(decided)
            if not actions and not self._undecided:
                self._come_to_rest(decided)
                return
            for action in actions:
                self._act(action)
        log.error("models_policy_restless", actions=[str(action) for action in actions])

    def _act(self, action: policy.Action) -> None:
        """A version that comes to its place for the first time decides nothing else about its
        model: it was on its way before."""
        slot = self.slots.slot(action.slot) if isinstance(action, places.Load) else None
        was = slot.state if slot is not None else None
        model = self.slots.do(action, self._desired.contents.known)
        if slot is not None and was is State.NEW and slot.state is State.LOADING:
            self._waiting.take(model, slot)
            self.show_anew(model)
        else:
            self.touch(model)

    def _decide(self, decided: set[str]) -> Sequence[policy.Action]:
        """What comes next: for each model that something changed about, and in the loader.
        ``decided`` is given these models."""
        models, self._undecided = sorted(self._undecided), set()
        decided.update(models)
        for model in models:
            if self._note_answer(model):
                # What others are compared with may be another now.
                self._note_answer(model)
        actions: list[policy.Action] = []
        now = self._decided_at = self._mono()
        for model in models:
            steps = self._steps(model, now)
            actions += steps.actions
            self._waiting.put(model, steps.turns)
        loading, count = self.slots.loading(), self._limits.loads
        # Nobody who stands farther back makes a difference.
        first = self._waiting.first(count + 2 * len(loading) + 1)
        slow_after = self._limits.slow_after_s
        return [*actions, *places.next_steps(first, loading, now, count, slow_after)]

    def _steps(self, model: str, now: float) -> policy.Steps:
        if not self._is_known(model):
            return policy.NOTHING
        slots = self.slots.of(model)
        return policy.next_actions(self.targets.of(model), slots, now, self._limits)

    def _come_to_rest(self, models: Iterable[str]) -> None:
        """Nothing more is to be done about these now."""
        asked = self._desired.contents.asked_exactly()
        for model in sorted(models):
            slots, target = self.slots.of(model), self.targets.of(model)
            there = target.versions if self._is_known(model) else ()
            self.slots.drop_stats(model, [one.version for one in there])
            # A retry that is due and waits for a place comes with the mail that frees one.
            times = (at for at in policy.times(slots, self._limits) if at > self._decided_at)
            due = min(times, default=float("inf"))
            self._timers.put(model, min(due, self.gating.due(model)))
            if model in asked and self._desired.contents.settle_exact(target, slots):
                self._retarget(model)
            if self._pins_before.waits(model):
                self._end_pin(model)
        if (failed := self.slots.take_failures()) is not None:
            self._sources.watch(failed)

    def _note_answer(self, model: str) -> bool:
        """Who answers now: before anything is decided about versions that answer no more. Whether
        another version, or another signature, has taken over, or an alias has moved."""
        self.gating.look(self.targets.of(model), self.answering.default(model))
        if self.answering.compare(self.targets.of(model)):
            self._retarget(model)
        news = self.answering.decide(self.targets.of(model))
        if news:
            self._retarget(model)
        return news

    # Telling others.

    def draw(self) -> dict[str, ModelView | None]:
        """The models that something changed about; None: there is nothing of it any more."""
        drawn = {model: self._drawn(model) for model in sorted(self._stale)}
        if self._startup is not None:
            for model in drawn:
                self._startup.note(model, self.slots.of(model))
        self._stale.clear()
        return drawn

    def _drawn(self, model: str) -> ModelView | None:
        if not self._is_known(model):
            return None
        return model_view(self._model_facts(self.targets.of(model)), self.slots.served(model))

    def _model_facts(self, target: ModelTarget) -> ModelFacts:
        model = target.model
        return ModelFacts(
            target,
            self._error_of(target),
            self.answering.default(model),
            self._desired.overrides_of(model).previous,
            self._desired.is_held_out(target),
            self.answering.held_words(model),
        )

    def _error_of(self, target: ModelTarget) -> str:
        found = self._disk.find(target.model)
        if target.unknown:
            return found.error if found is not None and found.error else policy.UNREADABLE
        known = self._desired.contents.known(target.model)
        return known.error if known is not None else ""

    def has_started(self) -> bool:
        """Whether what was wanted at the start has come as far as ``readiness`` asks; or as far
        as it will, where nothing is ready and ``require_models`` has no use for that."""
        startup = self._startup
        if startup is None:
            return False
        late = self._mono() >= self._start_by
        settling = () if late else self._disk.settling
        hopeless = self._settings.require_models and not startup.any_ready
        readiness = "settled" if hopeless else self._settings.readiness
        return startup.has_started(readiness, settling=settling, wrong=self._disk.wrong)
