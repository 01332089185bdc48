"""From what is on disk and what commands said to slots: looks, decides, acts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial

from serving.errors import Word
from serving.events import log
from serving.models import changes, policy, progress
from serving.models.answers import answering
from serving.models.commands import AcceptVersion, Command, LoadModel, Outcome, SetDefault
from serving.models.comparing import Comparing
from serving.models.configs import is_same
from serving.models.disk import Disk
from serving.models.intents import Intents
from serving.models.on_disk import held_by_pin
from serving.models.picture import Standing, model_view
from serving.models.pins import Pins
from serving.models.progress import Facts
from serving.models.slots import Slots
from serving.models.startup import has_started
from serving.models.state import PENDING, Change, Slot, State
from serving.models.tickets import Order
from serving.models.views import ModelView
from serving.models.wishes import Wishes
from serving.registry.snapshot import Closely
from serving.settings import Settings
from serving.signature import Signature

# More rounds than any change needs; a policy that does not come to rest is a bug.
_MOST_ROUNDS = 100
# Models that the log names at once.
_MOST_NAMED = 20
# A version that there is not: files beside the versions count as settled, no version does.
_CONFIGURATION = -1


class Reconciler:
    """What the manager's loop does. Used by that loop only.

    ``mono`` and ``wall``: seconds, monotonic and since the epoch.
    """

    def __init__(
        self,
        settings: Settings,
        disk: Disk,
        intents: Intents,
        mono: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._disk, self._intents = disk, intents
        self._mono, self._wall = mono, wall
        loading = settings.loading
        self._limits = policy.Limits(
            settings.threads.load,
            loading.slow_after_s,
            loading.retry_first_s,
            loading.retry_max_s,
        )
        self.slots: Slots
        self._wishes: dict[str, Wishes] = {}
        self._defaults: dict[str, int] = {}
        self._comparing = Comparing(intents, settings.rollout.hold_signature_changes)
        self._pins = Pins()
        # Models that something changed about since they were drawn.
        self._stale: set[str] = set()
        self._undecided = True
        self._next_due = float("inf")
        # Whether a look at the start could see everything.
        self._begun = False
        # The versions on disk at the start, as far as they are wanted.
        self._first: frozenset[tuple[str, int]] | None = None
        self._start_by = float("inf")

    def turn(self, orders: Sequence[Order]) -> None:
        """Take up the orders, look if that is due, and do what follows."""
        if orders:
            self._look({order.command.model for order in orders}, _at_once(orders))
            for order in orders:
                self._take(order)
        if self._mono() >= self._disk.next_scan:
            self._look()
        for model in self._intents.expired(self._wall()):
            self._wish_anew(model)
        if self._undecided or self._mono() >= self._next_due:
            self._reconcile()

    def due_in(self) -> float:
        """Seconds until a turn has something to do that no mail announces."""
        due = min(self._disk.next_scan, self._next_due) - self._mono()
        return max(0.0, min(due, self._intents.due() - self._wall()))

    def touch(self, model: str) -> None:
        """Something about the model changed: decide again, and show it."""
        self._undecided = True
        self._stale.add(model)

    def leave_all(self) -> None:
        """The server stops."""
        self.slots.leave_all()
        self._stale.update(self._wishes, self._defaults)
        self._wishes, self._defaults = {}, {}

    # What is on disk.

    def _look(self, asked: Collection[str] = (), at_once: Closely = ()) -> None:
        """``asked``: models that a command is about; ``at_once``: what it says is there."""
        slots = self.slots.all()
        failed = {(slot.model, slot.version) for slot in slots if slot.state is State.FAILED}
        if self._disk.scan({*failed, *asked}, at_once):
            self._read()

    def _read(self) -> None:
        names = {found.name for found in self._disk.models}
        if not self._begun:
            self._intents.begin(names)
            self._begun = not self._disk.unseen
        self._intents.keep_only(names | self.slots.models())
        before, uploaded = self._wishes.keys(), self._intents.uploaded().keys()
        for kept in (self._comparing, self._pins):
            kept.keep_only(names | self.slots.models() | uploaded)
        self._stale.update(before, names, uploaded, self.slots.models())
        self._wishes = {name: self._wish(name) for name in sorted(names | uploaded)}
        self._undecided = True
        self.slots.reconfigure(self._intents.known)
        if self._first is None:
            self._first = frozenset(
                (wishes.model, wish.version)
                for wishes in self._wishes.values()
                for wish in wishes.versions
                if not wishes.dismissed(wish.version)
            )
            registry = self._settings.registry
            self._start_by = self._mono() + registry.settle_s + 2 * registry.scan_interval_s

    def reload(self) -> None:
        """Read every model's configuration again, at once and whatever its files look like, and
        say in the log what that changed."""
        names = {found.name for found in self._disk.models}
        before = {name: self._intents.known(name) for name in names}
        self._intents.read_configurations_again()
        self._disk.scan(names, {(name, _CONFIGURATION) for name in names})
        self._read()
        after = {name: self._intents.known(name) for name in names}
        changed = sorted(name for name in names if not is_same(before[name], after[name]))
        wrong = sorted(name for name, known in after.items() if known is not None and known.error)
        log.info(
            "configurations_reloaded",
            models=len(names),
            changed=changed[:_MOST_NAMED],
            wrong=wrong[:_MOST_NAMED],
        )

    def _wish(self, model: str) -> Wishes:
        found, unseen = self._disk.find(model), self._disk.unseen
        wishes = self._intents.wishes(model, found, unseen, self._wall())
        return replace(wishes, held=self._comparing.held(model))

    def _wish_anew(self, model: str) -> None:
        if self._disk.find(model) is not None or model in self._intents.uploaded():
            self._wishes[model] = self._wish(model)
        else:
            self._wishes.pop(model, None)
        self.slots.reconfigure(self._intents.known)
        self.touch(model)

    def _wishes_of(self, model: str) -> Wishes:
        return self._wishes.get(model) or self._wish(model)

    def _all_wishes(self) -> list[Wishes]:
        """Models on disk, and those that have slots only: absent, or out of sight."""
        rest = self.slots.models() - self._wishes.keys()
        return [*self._wishes.values(), *(self._wish(model) for model in sorted(rest))]

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
            refused = refused or Outcome(Word.INTERNAL, "nothing to go back to")
            order.ticket.end(self._with_right_name(refused, facts))
            return
        log.info("model_command", model=model, **_in_words(order.command, command, facts.default))
        self._keep(model, changes.of_command(order.command, command, facts))
        self._intents.apply(command, order.upload, facts.wishes, facts.slots)
        if isinstance(command, AcceptVersion):
            log.info("signature_accepted", model=model, version=command.version)
        if isinstance(command, LoadModel | AcceptVersion) or (
            isinstance(command, SetDefault) and command.version
        ):
            self.slots.forget_failed(model, command.version)
        self._wish_anew(model)

    def _keep(self, model: str, change: tuple[int, Change, str] | None) -> None:
        if change is not None:
            self.slots.history.changed(model, *change, self._wall())

    def _with_right_name(self, refused: Outcome, facts: Facts) -> Outcome:
        if refused.word is not Word.NOT_FOUND or facts.found:
            return refused
        # Here, so that the loop can be tested without the built core.
        from serving import _core

        near = _core.nearest(facts.model, tuple(self._wishes))
        words = f"; did you mean '{near}'?" if near is not None else ""
        return replace(refused, message=refused.message + words)

    def outcome(self, command: Command) -> Outcome | None:
        """What came of a command that was taken; None while it goes on."""
        return progress.outcome(command, self._facts(command.model))

    def _facts(self, model: str) -> Facts:
        found = self._disk.find(model)
        said = self._intents.said(model)
        return Facts(
            wishes=self._wishes_of(model),
            slots=self.slots.of(model),
            default=self._defaults.get(model),
            previous=said.previous,
            found=found is not None or model in self._intents.uploaded(),
            heard=bool(said.out or said.versions or said.whole is not None),
            error=found.error if found is not None else "",
            disk=frozenset(v.number for v in found.versions) if found is not None else frozenset(),
        )

    # Deciding and acting.

    def _reconcile(self) -> None:
        if not self._disk.seen:
            return
        for _ in range(_MOST_ROUNDS):
            self._note_answers()
            everything = self._all_wishes()
            actions = policy.next_actions(everything, self.slots.all(), self._mono(), self._limits)
            if not actions:
                self._come_to_rest(everything)
                return
            for action in actions:
                self.slots.do(action, self._intents.known)
        log.error("models_policy_restless", actions=[str(action) for action in actions])

    def _come_to_rest(self, everything: Sequence[Wishes]) -> None:
        self._undecided = False
        self.slots.drop_stats({(w.model, v.version) for w in everything for v in w.versions})
        now = self._mono()
        # A retry that is due and waits for a place comes with the mail that frees one.
        times = (at for at in self.slots.due_times(self._limits) if at > now)
        self._next_due = min(times, default=float("inf"))
        for wishes in everything:
            if self._intents.settle_exact(wishes, self.slots.of(wishes.model)):
                self._wish_anew(wishes.model)

    def _note_answers(self) -> None:
        """Who answers now: before anything is decided about versions that answer no more."""
        for model in sorted(self._stale):
            if self._note_answer(model):
                # What others are compared with may be another now.
                self._note_answer(model)

    def _note_answer(self, model: str) -> bool:
        """Whether another version, or another signature, has taken over."""
        slots = self.slots.of(model)
        if self._comparing.compare(self._wishes_of(model), slots):
            self._wish_anew(model)
        ready = {slot.version for slot in slots if slot.state is State.READY}
        wishes, before = self._wishes_of(model), self._intents.said(model).answered
        chosen = {wish.version for wish in policy.desired(wishes, slots)}
        coming = policy.coming(wishes, slots)
        default = answering(wishes, ready, chosen, before, coming)
        self._tell_held(wishes, chosen - coming, default)
        held = held_by_pin(wishes, default)
        self._pins.tell(model, default if default == wishes.pinned else None, held)
        was = self._defaults.get(model)
        self._keep(model, changes.of_default(wishes, was, default, ready))
        if default is None:
            self._defaults.pop(model, None)
            return False
        if was not in (None, default):
            log.info("default_version", model=model, version=default, was=was)
        self._defaults[model] = default
        # One that only stands in while another is on its way has not taken over.
        loading = {slot.version for slot in slots if slot.state in PENDING}
        if before in loading or default in wishes.held:
            return False
        now = self._wall()
        known = self._comparing.answers(model, default, slots, now, alone=not coming)
        news = self._intents.answers(model, default, now) or known
        if news:
            self._wish_anew(model)
        return news

    def objection(self, slot: Slot, signature: Signature) -> str:
        """Why a loaded slot may not take the place of another, "" where it may."""
        return self._comparing.objection(slot, signature, self.slots.of(slot.model))

    def _tell_held(self, wishes: Wishes, chosen: Collection[int], default: int | None) -> None:
        for version, words in self._comparing.news(wishes, chosen, default).items():
            log.warning("signature_held_back", model=wishes.model, version=version, reason=words)
            self.slots.remark(wishes.model, version, words)

    # Telling others.

    def draw(self) -> dict[str, ModelView | None]:
        """The models that something changed about; None: there is nothing of it any more."""
        served = self.slots.served(self._stale)
        drawn: dict[str, ModelView | None] = dict.fromkeys(self._stale)
        for wishes in self._all_wishes():
            if (model := wishes.model) in self._stale:
                drawn[model] = model_view(self._standing(wishes), served.get(model, []))
        self._stale.clear()
        return drawn

    def _standing(self, wishes: Wishes) -> Standing:
        model = wishes.model
        return Standing(
            wishes,
            self._words(wishes),
            self._defaults.get(model),
            self._intents.said(model).previous,
            self._intents.is_held_out(wishes),
            self._comparing.words(model),
        )

    def _words(self, wishes: Wishes) -> str:
        found = self._disk.find(wishes.model)
        if wishes.unknown:
            return found.error if found is not None and found.error else policy.UNREADABLE
        known = self._intents.known(wishes.model)
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


def _at_once(orders: Sequence[Order]) -> set[str | tuple[str, int]]:
    """Whoever says that something be loaded says that its files are there."""
    loads = [o.command for o in orders if isinstance(o.command, LoadModel) and o.upload is None]
    return {c.model if c.version is None else (c.model, c.version) for c in loads}


def _in_words(given: Command, resolved: Command, default: int | None) -> dict[str, object]:
    """``given`` as it came, ``resolved`` with the version that it amounts to, if any;
    ``default``: what answered before it."""
    kind = type(given).__name__.removesuffix("Model").lower()
    named = {"version": getattr(resolved, "version", None)}
    if isinstance(resolved, SetDefault):
        named["was"] = default
    return {"command": kind, **{key: version for key, version in named.items() if version}}
