"""Which versions wait for a verdict, what they are held against, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import partial

from serving.errors import Retry
from serving.events import log
from serving.gates.terms import Terms, terms_of
from serving.gates.verdict import Verdict, by_person
from serving.model_config.gates import GatesConfig
from serving.models import advice
from serving.models.actual.drawing import SlotFacts
from serving.models.actual.slots import Slots
from serving.models.desired.candidates import ModelTarget
from serving.models.desired.choosing import by_version, choose
from serving.models.gate_figures import GateFigures
from serving.models.judging import WAITS, Against, Judging, Surroundings, Wait
from serving.models.state import Change, Passage, Slot, SlotKey, State
from serving.models.verdicts import Bench, Side
from serving.settings import Settings

# Tries to load the version that answered last, for which new ones wait.
_MOST_AWAITED = 3
# Model, version, where it comes from, and its verdict.
Listener = Callable[[Slot, Verdict], None]


class Gating:
    """Used by the manager's loop only; what takes long is done in threads that ``spawn`` starts.

    ``given``: the gates of the file, by model. ``mono`` and ``wall``: seconds. ``touch``: something
    about a model changed.
    """

    def __init__(
        self,
        settings: Settings,
        bench: Bench,
        given: Mapping[str, GatesConfig],
        spawn: Callable[[str, Callable[[], None]], None],
        post: Callable[[Callable[[], None]], None],
        touch: Callable[[str], None],
        mono: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._settings, self._bench, self._given = settings, bench, given
        self._spawn, self._wall = spawn, wall
        self.slots: Slots
        # By slot: what READY ones were asked, and what gives up a blessing of it that is kept.
        self._terms: dict[int, Terms | None] = {}
        self._held: dict[int, Callable[[], None]] = {}
        # By model, when it was looked at last: what is desired, the version that answers, and of
        # the one that answered what was kept.
        self._targets: dict[str, ModelTarget] = {}
        self._defaults: dict[str, int | None] = {}
        self._remembered: dict[str, SlotKey] = {}
        around = Surroundings(
            self._against,
            self._defaults.get,
            self._settle,
            *(spawn, post, touch, mono, wall),
        )
        self._judging = Judging(bench, settings.judgements, around)
        self._listeners: list[Listener] = []
        self.figures = GateFigures(self._judging)

    def listen(self, listener: Listener) -> None:
        """Call it, in the loop, with each verdict that was not known before."""
        self._listeners.append(listener)

    def terms(self, slot: Slot) -> Terms | None:
        return self._terms.get(slot.id)

    def look(self, target: ModelTarget, default: int | None) -> None:
        """Before anything is decided of the model. ``default``: the version that answers now."""
        model = target.model
        self._targets[model], self._defaults[model] = target, default
        served = self.slots.served(model)
        for one in served:
            if one.slot.state is State.READY:
                self._look(one)
        self._forget(model, served)
        if default is not None and default == target.answered:
            self._remember(self._open(model, default))
        self._judging.look(model)

    def _look(self, one: SlotFacts) -> None:
        slot = one.slot
        if one.config is None:
            return
        terms = terms_of(slot.model, one.config, self._settings, self._given)
        known = slot.id in self._terms
        if known and self._terms[slot.id] == terms:
            return
        self._terms[slot.id] = terms
        self._let_go(slot.id)
        if terms is not None:
            self._held[slot.id] = self._bench.hold(slot.key, terms)
        # What could answer before goes on, whatever is asked from now on.
        if known and slot.passage is Passage.OPEN:
            return
        self._judging.drop(slot)
        if terms is None:
            slot.passage = Passage.OPEN
            return
        slot.passage, slot.gate_words = Passage.PENDING, WAITS
        self._judging.add(slot, terms)

    def ask_again(self, model: str, version: int | None) -> None:
        """A command loads what is there: with another evaluation set by now the verdict on one that
        was not blessed may be another, too. ``version`` None: of all of the model's."""
        for slot in self.slots.of(model):
            shut = slot.state is State.READY and slot.passage is Passage.SHUT
            if shut and version in (None, slot.version):
                self._terms.pop(slot.id, None)
                self._let_go(slot.id)

    def _forget(self, model: str, served: Collection[SlotFacts]) -> None:
        """Slots that are READY no more."""
        for one in served:
            slot = one.slot
            if slot.id in self._terms and slot.state is not State.READY:
                del self._terms[slot.id]
                self._let_go(slot.id)
                self._judging.drop(slot)
        if not served:
            for kept in (self._targets, self._defaults, self._remembered):
                kept.pop(model, None)
            self.figures.forget(model)

    def _let_go(self, slot: int) -> None:
        if (let_go := self._held.pop(slot, None)) is not None:
            let_go()

    def _remember(self, slot: Slot | None) -> None:
        """What answers a model that has gates: after a restart other files under its number are not
        taken for it."""
        if slot is None or self.terms(slot) is None or self._remembered.get(slot.model) == slot.key:
            return
        self._remembered[slot.model] = slot.key
        with suppress(RuntimeError, MemoryError):  # then the next start does not know it
            remember = partial(self._bench.remember, slot.key, slot.origin)
            self._spawn(f"remember-{slot.model}", remember)

    # What one is held against.

    def _against(self, wait: Wait) -> Against | None:
        model = wait.slot.model
        target = self._targets.get(model)
        if target is None or self._waits_for(target, wait):
            return None
        # At a start it may answer in a moment only.
        base = self._open(model, self._defaults.get(model)) or self._open(model, target.answered)
        first = base is None and target.answered in (None, wait.slot.version)
        side = None if base is None else self._side(base)
        return Against(self._side(wait.slot), base, side, target.answered, first)

    def _waits_for(self, target: ModelTarget, wait: Wait) -> bool:
        """Whether the version that answered last is on its way: the new one is held against it."""
        answered = target.answered
        if answered in (None, wait.slot.version) or self._open(target.model, answered):
            return False
        slots = self.slots.of(target.model)
        mine = [slot for slot in slots if slot.version == answered]
        if any(slot.passage is Passage.SHUT or _has_failed(slot) for slot in mine):
            return False
        return answered in choose(target, by_version(slots)).versions

    def _open(self, model: str, version: int | None) -> Slot | None:
        mine = [s for s in self.slots.of(model) if s.version == version and s.takes_traffic]
        return max(mine, key=lambda slot: slot.id, default=None)

    def _side(self, slot: Slot) -> Side | None:
        for one in self.slots.served(slot.model):
            if one.slot is slot and one.config is not None and one.loaded is not None:
                return Side(slot.version, slot.key, slot.origin, one.config, one.loaded.facts)
        return None

    # Verdicts.

    def _settle(self, slot: Slot, verdict: Verdict, is_new: bool) -> None:
        slot.verdict = verdict
        slot.passage = Passage.OPEN if verdict.blessed else Passage.SHUT
        slot.gate_words = "" if verdict.blessed else _refused(slot, verdict)
        if not is_new:
            return
        self.figures.note(slot.model, verdict)
        change = Change.BLESSED if verdict.blessed else Change.NOT_BLESSED
        self.slots.history.changed(slot.model, slot.version, change, verdict.words, self._wall())
        say = log.info if verdict.blessed else log.warning
        about = {"model": slot.model, "version": slot.version, "against": verdict.base}
        say("verdict", **about, verdict=verdict.word, reason=verdict.words)
        for listener in self._listeners:
            try:
                listener(slot, verdict)
            except Exception:  # noqa: BLE001 - a listener's trouble is its own
                log.exception("listener_failed")

    def bless(self, model: str, version: int, by: str, reason: str) -> None:
        """By a person, whatever the gates say."""
        mine = [s for s in self.slots.of(model) if s.version == version and s.state is State.READY]
        slot = max(mine, key=lambda slot: slot.id, default=None)
        terms = self.terms(slot) if slot is not None else None
        if slot is None or terms is None:
            return
        self._judging.drop(slot)
        verdict = by_person(slot.verdict, self._wall(), by, reason)
        self._bench.keep_blessing(slot.key, terms, verdict)
        self._settle(slot, verdict, True)

    # Time.

    def due(self, model: str) -> float:
        """When something is to be tried again, monotonic."""
        return self._judging.due(model)

    def end(self) -> None:
        """The server stops."""
        self._judging.end()


def _has_failed(slot: Slot) -> bool:
    """Whether nobody waits for it: after the first few tries new versions are judged without it."""
    return slot.state is State.FAILED and (
        slot.retry is not Retry.LATER or slot.attempts >= _MOST_AWAITED
    )


def _refused(slot: Slot, verdict: Verdict) -> str:
    cure = f"to let it take traffic all the same: {advice.bless(slot.model, slot.version)}"
    return f"not blessed: {verdict.words} ({cure})"
