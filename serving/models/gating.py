"""Which versions wait for a verdict, whose turn it is to be judged, and what came of it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial

from serving.backoff import wait_s
from serving.cancellation import Cancellation
from serving.errors import Retry
from serving.events import log
from serving.gates.judge import CalledOffError, NotNowError
from serving.gates.terms import Terms, terms_of
from serving.gates.verdict import Verdict, by_person
from serving.model_config.gates import GatesConfig
from serving.models import advice
from serving.models.actual.drawing import SlotFacts
from serving.models.actual.slots import Slots
from serving.models.desired.candidates import ModelTarget
from serving.models.desired.choosing import by_version, choose
from serving.models.state import Change, Passage, Slot, State
from serving.models.verdicts import Asked, Bench, Side
from serving.settings import Settings

WAITS = "waits for its verdict"
# Tries to load the version that answered last, for which new ones wait.
_MOST_AWAITED = 3
# After one that came to nothing, in turn.
_FIRST_S, _LONGEST_S = 2.0, 60.0

# Model, version, where it comes from, and its verdict.
Listener = Callable[[Slot, Verdict], None]


@dataclass(slots=True)
class _Wait:
    """A slot without a verdict. ``asked``: what of; ``recalled``: none is kept of it; ``tries``
    that came to nothing, and when the next is due (monotonic)."""

    slot: Slot
    terms: Terms
    recalled: bool = False
    tries: int = 0
    due: float = 0.0


@dataclass(slots=True)
class _Running:
    slot: Slot
    base: Slot | None
    called_off: Cancellation = field(default_factory=Cancellation)


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
        self._spawn, self._post, self._touch = spawn, post, touch
        self._mono, self._wall = mono, wall
        self.slots: Slots
        # By slot: those that wait, in the order of their turns; and what READY ones were asked.
        self._waiting: OrderedDict[int, _Wait] = OrderedDict()
        self._terms: dict[int, Terms | None] = {}
        self._running: _Running | None = None
        # The version that answers, by model, when it was looked at last.
        self._defaults: dict[str, int | None] = {}
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Call it, in the loop, with each verdict that was not known before."""
        self._listeners.append(listener)

    def terms(self, slot: Slot) -> Terms | None:
        return self._terms.get(slot.id)

    def look(self, target: ModelTarget, default: int | None) -> None:
        """Before anything is decided of the model. ``default``: the version that answers now."""
        self._defaults[target.model] = default
        served = self.slots.served(target.model)
        for one in served:
            if one.slot.state is State.READY:
                self._look(one)
        self._forget(target.model, served)
        self._recall(target.model)
        self._judge_next(target, default)

    def _look(self, one: SlotFacts) -> None:
        slot = one.slot
        if one.config is None:
            return
        terms = terms_of(slot.model, one.config, self._settings, self._given)
        known = slot.id in self._terms
        if known and self._terms[slot.id] == terms:
            return
        self._terms[slot.id] = terms
        # What could answer before goes on, whatever is asked from now on.
        if known and slot.passage is Passage.OPEN:
            return
        self._drop(slot.id)
        if terms is None:
            slot.passage = Passage.OPEN
            return
        slot.passage, slot.gate_words = Passage.PENDING, WAITS
        self._waiting[slot.id] = _Wait(slot, terms)

    def ask_again(self, model: str, version: int | None) -> None:
        """A command loads what is there: with another evaluation set by now the verdict on one that
        was not blessed may be another, too. ``version`` None: of all of the model's."""
        for slot in self.slots.of(model):
            shut = slot.state is State.READY and slot.passage is Passage.SHUT
            if shut and version in (None, slot.version):
                self._terms.pop(slot.id, None)

    def _drop(self, slot: int) -> None:
        self._waiting.pop(slot, None)
        if self._running is not None and self._running.slot.id == slot:
            self._running.called_off.cancel()

    def _forget(self, model: str, served: Collection[SlotFacts]) -> None:
        """Slots that are READY no more."""
        for one in served:
            slot = one.slot
            if slot.id in self._terms and slot.state is not State.READY:
                del self._terms[slot.id]
                self._drop(slot.id)
        if not served:
            self._defaults.pop(model, None)

    # Kept verdicts.

    def _recall(self, model: str) -> None:
        for wait in list(self._waiting.values()):
            if wait.slot.model == model and not wait.recalled and wait.due <= self._mono():
                wait.due = float("inf")
                self._start("recall", wait, partial(self._recall_in_thread, wait))

    def _recall_in_thread(self, wait: _Wait) -> None:
        try:
            verdict = self._bench.kept(_asked(wait))
        except Exception as error:  # noqa: BLE001 - a file that can't be read now, or a bug
            log.debug("verdict_not_recalled", model=wait.slot.model, reason=repr(error))
            verdict = None
        self._report(wait, partial(self._on_recalled, wait, verdict))

    def _on_recalled(self, wait: _Wait, verdict: Verdict | None) -> None:
        if self._waiting.get(wait.slot.id) is not wait:
            return
        wait.recalled, wait.due = True, 0.0
        if verdict is not None:
            self._settle(wait.slot, verdict, is_new=False)

    # Judging: one version at a time.

    def _judge_next(self, target: ModelTarget, default: int | None) -> None:
        if self._running is not None:
            return
        now = self._mono()
        for wait in self._waiting.values():
            mine = wait.slot.model == target.model
            if mine and wait.recalled and wait.due <= now and not self._waits_for(target, wait):
                self._judge(wait, target, default)
                return

    def _waits_for(self, target: ModelTarget, wait: _Wait) -> bool:
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

    def _judge(self, wait: _Wait, target: ModelTarget, default: int | None) -> None:
        # At a start it may answer in a moment only.
        base = self._open(target.model, default) or self._open(target.model, target.answered)
        first = base is None and target.answered in (None, wait.slot.version)
        running = self._running = _Running(wait.slot, base)
        wait.slot.gate_words = "is being judged"
        asked = _asked(wait, self._side(wait.slot))
        against = None if base is None else self._side(base)
        work = partial(self._judge_in_thread, running, wait, asked, against, target.answered, first)
        log.info("gates_begin", model=wait.slot.model, version=wait.slot.version, against=default)
        self._touch(target.model)
        self._start("judge", wait, work)

    def _side(self, slot: Slot) -> Side | None:
        for one in self.slots.served(slot.model):
            if one.slot is slot and one.config is not None and one.loaded is not None:
                return Side(slot.version, slot.key, slot.origin, one.config, one.loaded.facts)
        return None

    def _judge_in_thread(
        self,
        running: _Running,
        wait: _Wait,
        asked: Asked,
        against: Side | None,
        answered: int | None,
        first: bool,
    ) -> None:
        try:
            verdict = self._bench.judge(asked, against, answered, running.called_off, first=first)
            done = partial(self._on_judged, running, wait, verdict)
        except CalledOffError:
            done = partial(self._on_nothing, running, wait, "")
        except NotNowError as error:
            done = partial(self._on_nothing, running, wait, str(error))
        except BaseException as error:  # noqa: BLE001 - no verdict is no blessing
            log.exception("gates_failed", model=wait.slot.model, version=wait.slot.version)
            words = f"an internal error ({type(error).__name__})"
            done = partial(self._on_nothing, running, wait, words)
        self._report(wait, done)

    def _on_judged(self, running: _Running, wait: _Wait, verdict: Verdict) -> None:
        self._ended(running)
        if self._waiting.get(wait.slot.id) is not wait:
            return
        base = running.base
        now = self._defaults.get(wait.slot.model)
        if base is not None and now not in (None, base.version):
            self._again(wait, f"version {base.version}, which it was held against, gave way", 0.0)
            return
        if base is None and now not in (None, wait.slot.version):
            self._again(wait, f"version {now}, which it was not held against, answers now", 0.0)
            return
        self._settle(wait.slot, verdict, is_new=True)

    def _on_nothing(self, running: _Running, wait: _Wait, words: str) -> None:
        """No verdict came of it: it was called off, or ``words`` say why."""
        self._ended(running)
        if words and self._waiting.get(wait.slot.id) is wait:
            wait.tries += 1
            self._again(wait, words, wait_s(wait.tries, _FIRST_S, _LONGEST_S))

    def _again(self, wait: _Wait, words: str, seconds: float) -> None:
        wait.due = self._mono() + seconds
        wait.slot.gate_words = f"{WAITS}: it could not be judged: {words}"
        slot = wait.slot
        log.warning("gates_not_now", model=slot.model, version=slot.version, reason=words)

    def _ended(self, running: _Running) -> None:
        if self._running is running:
            self._running = None
        # The others' turn.
        for model in {wait.slot.model for wait in self._waiting.values()}:
            self._touch(model)

    def _start(self, what: str, wait: _Wait, work: Callable[[], None]) -> None:
        slot = wait.slot
        try:
            self._spawn(f"{what}-{slot.model}-{slot.version}", work)
        except (RuntimeError, MemoryError):
            self._running = None if what == "judge" else self._running
            wait.tries += 1
            self._again(wait, "no thread for it", wait_s(wait.tries, _FIRST_S, _LONGEST_S))

    def _report(self, wait: _Wait, done: Callable[[], None]) -> None:
        def take_up() -> None:
            try:
                done()
            finally:
                self._touch(wait.slot.model)

        self._post(take_up)

    # Verdicts.

    def _settle(self, slot: Slot, verdict: Verdict, *, is_new: bool) -> None:
        self._waiting.pop(slot.id, None)
        slot.verdict = verdict
        slot.passage = Passage.OPEN if verdict.blessed else Passage.SHUT
        slot.gate_words = "" if verdict.blessed else _refused(slot, verdict)
        if not is_new:
            return
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
        self._drop(slot.id)
        verdict = by_person(slot.verdict, self._wall(), by, reason)
        self._bench.keep_blessing(slot.key, terms, verdict)
        self._settle(slot, verdict, is_new=True)

    # Time.

    def due(self, model: str) -> float:
        """When something is to be tried again, monotonic."""
        return min(
            (
                wait.due
                for wait in self._waiting.values()
                if wait.slot.model == model and wait.due > self._mono()
            ),
            default=float("inf"),
        )

    def end(self) -> None:
        """The server stops."""
        self._waiting.clear()
        if self._running is not None:
            self._running.called_off.cancel()


def _has_failed(slot: Slot) -> bool:
    """Whether nobody waits for it: after the first few tries new versions are judged without it."""
    return slot.state is State.FAILED and (
        slot.retry is not Retry.LATER or slot.attempts >= _MOST_AWAITED
    )


def _asked(wait: _Wait, side: Side | None = None) -> Asked:
    slot = wait.slot
    return Asked(slot.model, slot.key, slot.origin, wait.terms, side)


def _refused(slot: Slot, verdict: Verdict) -> str:
    cure = f"to let it take traffic all the same: {advice.bless(slot.model, slot.version)}"
    return f"not blessed: {verdict.words} ({cure})"
