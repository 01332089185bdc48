"""From what is on disk and what commands said to slots: looks, decides, acts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial

from serving.errors import ErrorCode
from serving.events import log
from serving.models.actual.disk import Disk
from serving.models.actual.drawing import ModelFacts, model_view
from serving.models.actual.slots import Slots
from serving.models.actual.startup import has_started
from serving.models.answering import Answering
from serving.models.commands import changes, progress
from serving.models.commands.command import (
    AcceptVersion,
    Command,
    LoadModel,
    Outcome,
    SetDefault,
)
from serving.models.commands.progress import Facts
from serving.models.commands.tickets import Order
from serving.models.desired import policy
from serving.models.desired.candidates import ModelTarget
from serving.models.desired.reloading import Reloading
from serving.models.desired.store import DesiredState
from serving.models.state import State
from serving.models.views import ModelView
from serving.registry.sources import Sources
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
            settings.threads.load,
            loading.slow_after_s,
            loading.retry_first_s,
            loading.retry_max_s,
        )
        self.slots: Slots
        self._targets: dict[str, ModelTarget] = {}
        self.answering = Answering(desired, settings.rollout.hold_signature_changes, wall)
        self._reloading = Reloading(sources, desired)
        # Models that something changed about since they were drawn.
        self._stale: set[str] = set()
        self._undecided = True
        self._next_due = float("inf")
        # Whether a look at the start could see everything.
        self._begun = False
        # The versions on disk at the start, as far as they are wanted.
        self._first: frozenset[tuple[str, int]] | None = None
        self._start_by = float("inf")

    def turn(self, take: Callable[[], Sequence[Order]]) -> None:
        """See what is on disk, ``take`` the orders that may be carried out by that, and do what
        follows."""
        if self._disk.refresh():
            self._read()
        self._reloading.end()
        for order in take():
            self._take(order)
        for model in self._desired.take_expired(self._wall()):
            self._retarget(model)
        if self._undecided or self._mono() >= self._next_due:
            self._reconcile()

    def due_in(self) -> float:
        """Seconds until a turn has something to do that no mail announces."""
        now = self._mono()
        start_by = self._start_by if self._start_by > now else float("inf")
        due = min(self._sources.stuck_at(), self._next_due, start_by) - now
        return max(0.0, min(due, self._desired.due() - self._wall()))

    def touch(self, model: str) -> None:
        """Something about the model changed: decide again, and show it."""
        self._undecided = True
        self._stale.add(model)

    def leave_all(self) -> None:
        """The server stops."""
        self._stale.update(self.slots.leave_all(), self._targets, self.answering.end())
        self._targets = {}

    # What is on disk.

    def _read(self) -> None:
        names = {found.name for found in self._disk.models}
        if not self._begun:
            self._desired.begin(names)
            self._begun = not self._disk.unseen
        loaded, uploaded = self.slots.models(), self._desired.uploaded().keys()
        self._desired.keep_only(names | loaded)
        everything = names | loaded | uploaded
        self.answering.keep_only(everything)
        self._stale.update(self._targets, everything)
        for name in everything:
            self._see(name)
        self._targets = {name: self._target_now(name) for name in sorted(names | uploaded)}
        self._undecided = True
        self.slots.reconfigure(self._desired.known)
        if self._first is None and self._disk.complete:
            self._first = frozenset(
                (target.model, candidate.version)
                for target in self._targets.values()
                for candidate in target.versions
                if not target.dismissed(candidate.version)
            )
            registry = self._settings.registry
            self._start_by = self._mono() + registry.settle_s + 2 * registry.scan_interval_s

    def reload(self) -> None:
        """Have every model's configuration read again; the log says what that changed."""
        self._reloading.begin({found.name for found in self._disk.models})

    def reconsider(self, models: Collection[str]) -> None:
        """What is desired of them may be another thing now."""
        for model in models:
            self._retarget(model)

    def _see(self, model: str) -> None:
        self._desired.see(model, self._disk.find(model), self._disk.unseen)

    def _target_now(self, model: str) -> ModelTarget:
        target = self._desired.target(model, self._disk.unseen, self._wall())
        return replace(target, held=self.answering.held(model))

    def _retarget(self, model: str) -> None:
        """What is desired of the model may be another thing now."""
        self._see(model)
        if self._disk.find(model) is not None or model in self._desired.uploaded():
            self._targets[model] = self._target_now(model)
        else:
            self._targets.pop(model, None)
        self.slots.reconfigure(self._desired.known)
        self.touch(model)

    def _target_of(self, model: str) -> ModelTarget:
        return self._targets.get(model) or self._target_now(model)

    def _all_targets(self) -> list[ModelTarget]:
        """Models on disk, and those that have slots only: absent, or out of sight."""
        rest = self.slots.models() - self._targets.keys()
        return [*self._targets.values(), *(self._target_now(model) for model in sorted(rest))]

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
        by = order.ticket.by
        said = _in_words(order.command, command, facts.default)
        log.info("model_command", model=model, **said, **({"by": by} if by else {}))
        self.answering.record(model, changes.of_command(order.command, command, facts, by))
        self._desired.apply(command, order.upload, facts.target, facts.slots)
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

        near = _core.nearest(facts.model, tuple(self._targets))
        words = f"; did you mean '{near}'?" if near is not None else ""
        return replace(refused, message=refused.message + words)

    def outcome(self, command: Command) -> Outcome | None:
        """What came of a command that was taken; None while it goes on."""
        return progress.outcome(command, self._facts(command.model))

    def _facts(self, model: str) -> Facts:
        found = self._disk.find(model)
        current = self._desired.overrides_of(model)
        return Facts(
            target=self._target_of(model),
            slots=self.slots.of(model),
            default=self.answering.default(model),
            previous=current.previous,
            found=found is not None or model in self._desired.uploaded(),
            overridden=bool(current.out or current.versions or current.whole is not None),
            error=found.error if found is not None else "",
            disk=frozenset(v.number for v in found.versions) if found is not None else frozenset(),
        )

    # Deciding and acting.

    def _reconcile(self) -> None:
        if not self._disk.seen:
            return
        for _ in range(_MOST_ROUNDS):
            self._note_answers()
            everything = self._all_targets()
            actions = policy.next_actions(everything, self.slots.all(), self._mono(), self._limits)
            if not actions:
                self._come_to_rest(everything)
                return
            for action in actions:
                self.touch(self.slots.do(action, self._desired.known))
        self._note_answers()
        log.error("models_policy_restless", actions=[str(action) for action in actions])

    def _come_to_rest(self, everything: Sequence[ModelTarget]) -> None:
        self._undecided = False
        self.slots.drop_stats(
            {(target.model, one.version) for target in everything for one in target.versions}
        )
        now = self._mono()
        # A retry that is due and waits for a place comes with the mail that frees one.
        times = (at for at in self.slots.due_times(self._limits) if at > now)
        self._next_due = min(times, default=float("inf"))
        failed = {(s.model, s.version) for s in self.slots.all() if s.state is State.FAILED}
        self._sources.watch(failed)
        asked = self._desired.asked_exactly()
        for target in everything:
            model = target.model
            if model in asked and self._desired.settle_exact(target, self.slots.of(model)):
                self._retarget(model)

    def _note_answers(self) -> None:
        """Who answers now: before anything is decided about versions that answer no more."""
        for model in sorted(self._stale):
            if self._note_answer(model):
                # What others are compared with may be another now.
                self._note_answer(model)

    def _note_answer(self, model: str) -> bool:
        """Whether another version, or another signature, has taken over."""
        if self.answering.compare(self._target_of(model)):
            self._retarget(model)
        news = self.answering.decide(self._target_of(model))
        if news:
            self._retarget(model)
        return news

    # Telling others.

    def draw(self) -> dict[str, ModelView | None]:
        """The models that something changed about; None: there is nothing of it any more."""
        served = self.slots.served(self._stale)
        drawn: dict[str, ModelView | None] = dict.fromkeys(self._stale)
        for target in self._all_targets():
            if (model := target.model) in self._stale:
                drawn[model] = model_view(self._model_facts(target), served.get(model, []))
        self._stale.clear()
        return drawn

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
        known = self._desired.known(target.model)
        return known.error if known is not None else ""

    def has_started(self) -> bool:
        """Whether what was wanted at the start has come as far as ``readiness`` asks; or as far
        as it will, where nothing is ready and ``require_models`` has no use for that."""
        if self._first is None:
            return False
        late = self._mono() >= self._start_by
        slots = self.slots.all()
        started = partial(
            has_started,
            wanted=self._first,
            slots=slots,
            settling=() if late else self._disk.settling(),
            wrong=self._disk.wrong,
        )
        if self._settings.require_models and all(s.state is not State.READY for s in slots):
            return started("settled")
        return started(self._settings.readiness)


def _in_words(given: Command, resolved: Command, default: int | None) -> dict[str, object]:
    """``given`` as it came, ``resolved`` with the version that it amounts to, if any;
    ``default``: what answered before it."""
    kind = type(given).__name__.removesuffix("Model").lower()
    named = {"version": getattr(resolved, "version", None)}
    if isinstance(resolved, SetDefault):
        named["was"] = default
    return {"command": kind, **{key: version for key, version in named.items() if version}}
