"""Whose turn it is to be judged, and the tries that come to nothing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from serving.backoff import wait_s
from serving.cancellation import Cancellation
from serving.events import log
from serving.gates.judge import CalledOffError, NotNowError
from serving.gates.terms import Terms
from serving.gates.verdict import Verdict, unjudged
from serving.models.state import Slot
from serving.models.verdicts import Asked, Bench, Side

WAITS = "waits for its verdict"
# After one that came to nothing, in turn.
_FIRST_S, _LONGEST_S = 2.0, 60.0
# Tries that ended with an error of ours, or in the death of their process, for which nobody but
# the version itself may be to blame.
MOST_BROKEN = 8


@dataclass(slots=True)
class Wait:
    """A slot without a verdict. ``since``: monotonic; ``recalled``: none is
    kept of it; ``tries`` that came to nothing, ``broken`` those of them that ended oddly; and when
    the next is ``due`` (monotonic)."""

    slot: Slot
    terms: Terms
    since: float
    recalled: bool = False
    tries: int = 0
    broken: int = 0
    due: float = 0.0


@dataclass(frozen=True, slots=True)
class Against:
    """What a version is held against: ``base``, its slot, None: nothing; ``answered``: the version
    that answered last; ``first``: none ever has."""

    candidate: Side | None
    base: Slot | None
    side: Side | None
    answered: int | None
    first: bool


@dataclass(slots=True)
class _Running:
    wait: Wait
    base: Slot | None
    called_off: Cancellation = field(default_factory=Cancellation)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is around: ``against`` says what a version is held against now, None: its turn has not
    come; ``default`` the version that answers a model; ``settle`` takes its verdict, and whether it
    is new; ``spawn`` runs what takes long, ``post`` gives it back to the loop."""

    against: Callable[[Wait], Against | None]
    default: Callable[[str], int | None]
    settle: Callable[[Slot, Verdict, bool], None]
    spawn: Callable[[str, Callable[[], None]], None]
    post: Callable[[Callable[[], None]], None]
    touch: Callable[[str], None]
    mono: Callable[[], float]
    wall: Callable[[], float]


class Judging:
    """Used by the manager's loop only. At most ``parallel`` versions are judged at once, one of
    each model, and models take turns."""

    def __init__(self, bench: Bench, parallel: int, around: Surroundings) -> None:
        self.bench, self._parallel, self._around = bench, parallel, around
        # By slot, in the order in which they came.
        self._waiting: OrderedDict[int, Wait] = OrderedDict()
        # The slots of each model that wait, whose turn is next before the others.
        self._turns: OrderedDict[str, dict[int, Wait]] = OrderedDict()
        self._running: dict[str, _Running] = {}
        # Models of which a version got a verdict since they were looked at: who answers them now is
        # decided only then.
        self._unsettled: set[str] = set()

    # Who waits.

    def add(self, slot: Slot, terms: Terms) -> None:
        wait = Wait(slot, terms, self._around.mono())
        self._waiting[slot.id] = wait
        self._turns.setdefault(slot.model, {})[slot.id] = wait

    def drop(self, slot: Slot) -> None:
        """It waits no more; where it is being judged, that is called off."""
        self._remove(slot)
        running = self._running.get(slot.model)
        if running is not None and running.wait.slot is slot:
            running.called_off.cancel()

    def _remove(self, slot: Slot) -> None:
        self._waiting.pop(slot.id, None)
        mine = self._turns.get(slot.model, {})
        mine.pop(slot.id, None)
        if not mine:
            self._turns.pop(slot.model, None)
            self._unsettled.discard(slot.model)

    def waiting(self) -> dict[str, float]:
        """See ``Waiting``."""
        now = self._around.mono()
        oldest: dict[str, float] = {}
        # One step: the loop may change it.
        for wait in list(self._waiting.values()):
            oldest.setdefault(wait.slot.model, wait.since)
        return {model: max(0.0, now - since) for model, since in oldest.items()}

    @property
    def running(self) -> int:
        return len(self._running)

    def due(self, model: str) -> float:
        """When something is to be tried again, monotonic."""
        now = self._around.mono()
        dues = (wait.due for wait in self._turns.get(model, {}).values() if wait.due > now)
        return min(dues, default=float("inf"))

    def end(self) -> None:
        """The server stops."""
        self._waiting.clear()
        self._turns.clear()
        for running in self._running.values():
            running.called_off.cancel()

    def look(self, model: str) -> None:
        """Something about it is other than before, or it is due."""
        self._recall(model)
        if model in self._unsettled:
            self._unsettled.discard(model)
            self._around.touch(model)
        elif model in self._turns:
            self._judge_one(model)

    # Kept verdicts.

    def _recall(self, model: str) -> None:
        for wait in list(self._turns.get(model, {}).values()):
            if not wait.recalled and wait.due <= self._around.mono():
                wait.due = float("inf")
                self._start("recall", wait, partial(self._recall_in_thread, wait))

    def _recall_in_thread(self, wait: Wait) -> None:
        try:
            verdict = self.bench.kept(_asked(wait))
        except Exception as error:  # noqa: BLE001 - a file that can't be read now, or a bug
            log.debug("verdict_not_recalled", model=wait.slot.model, reason=repr(error))
            verdict = None
        self._report(wait, partial(self._on_recalled, wait, verdict))

    def _on_recalled(self, wait: Wait, verdict: Verdict | None) -> None:
        if not self._is_waiting(wait):
            return
        wait.recalled, wait.due = True, 0.0
        if verdict is not None:
            self._settle(wait, verdict, is_new=False)

    # Turns.

    def _go_on(self) -> None:
        """Have as many judged as may be."""
        for model in list(self._turns):
            if len(self._running) >= self._parallel:
                return
            if model not in self._unsettled:
                self._judge_one(model)

    def _judge_one(self, model: str) -> None:
        if len(self._running) >= self._parallel or model in self._running:
            return
        now = self._around.mono()
        for wait in list(self._turns[model].values()):
            if not wait.recalled or wait.due > now:
                continue
            against = self._around.against(wait)
            if against is not None:
                self._judge(wait, against)
                return

    def _judge(self, wait: Wait, against: Against) -> None:
        slot = wait.slot
        running = self._running[slot.model] = _Running(wait, against.base)
        slot.gate_words = "is being judged"
        base = None if against.base is None else against.base.version
        log.info("gates_begin", model=slot.model, version=slot.version, against=base)
        self._around.touch(slot.model)
        asked = _asked(wait, against.candidate)
        self._start("judge", wait, partial(self._judge_in_thread, running, asked, against))

    def _judge_in_thread(self, running: _Running, asked: Asked, against: Against) -> None:
        wait = running.wait
        try:
            verdict = self.bench.judge(
                *(asked, against.side, against.answered, running.called_off), first=against.first
            )
            done = partial(self._on_judged, running, verdict)
        except CalledOffError:
            done = partial(self._on_nothing, running, "")
        except NotNowError as error:
            done = partial(self._on_nothing, running, str(error), broken=error.broken)
        except BaseException as error:  # noqa: BLE001 - no verdict is no blessing
            log.exception("gates_failed", model=wait.slot.model, version=wait.slot.version)
            words = f"an internal error ({type(error).__name__})"
            done = partial(self._on_nothing, running, words, broken=True)
        self._report(wait, done)

    def _on_judged(self, running: _Running, verdict: Verdict) -> None:
        self._ended(running)
        wait, base = running.wait, running.base
        if not self._is_waiting(wait):
            return
        now = self._around.default(wait.slot.model)
        if base is not None and now not in (None, base.version):
            self._again(wait, f"version {base.version}, which it was held against, gave way", 0.0)
            return
        if base is None and now not in (None, wait.slot.version):
            self._again(wait, f"version {now}, which it was not held against, answers now", 0.0)
            return
        self._settle(wait, verdict, is_new=True)

    def _on_nothing(self, running: _Running, words: str, *, broken: bool = False) -> None:
        """No verdict came of it: it was called off, or ``words`` say why."""
        self._ended(running)
        wait = running.wait
        if not words or not self._is_waiting(wait):
            return
        wait.tries += 1
        wait.broken += broken
        if wait.broken >= MOST_BROKEN:
            said = f"it could not be judged in {wait.tries} tries: {words}"
            self._settle(wait, unjudged(said, self._around.wall()), is_new=True)
            return
        self._again(wait, words, wait_s(wait.tries, _FIRST_S, _LONGEST_S))

    def _settle(self, wait: Wait, verdict: Verdict, *, is_new: bool) -> None:
        model = wait.slot.model
        self._remove(wait.slot)
        if model in self._turns:
            self._unsettled.add(model)
        self._around.settle(wait.slot, verdict, is_new)

    def _again(self, wait: Wait, words: str, seconds: float) -> None:
        wait.due = self._around.mono() + seconds
        wait.slot.gate_words = f"{WAITS}: it could not be judged: {words}"
        slot = wait.slot
        log.warning("gates_not_now", model=slot.model, version=slot.version, reason=words)

    def _ended(self, running: _Running) -> None:
        model = running.wait.slot.model
        if self._running.get(model) is running:
            del self._running[model]
            if model in self._turns:
                self._turns.move_to_end(model)

    def _is_waiting(self, wait: Wait) -> bool:
        return self._waiting.get(wait.slot.id) is wait

    # Threads.

    def _start(self, what: str, wait: Wait, work: Callable[[], None]) -> None:
        slot = wait.slot
        try:
            self._around.spawn(f"{what}-{slot.model}-{slot.version}", work)
        except (RuntimeError, MemoryError):
            if what == "judge":
                self._running.pop(slot.model, None)
            wait.tries += 1
            self._again(wait, "no thread for it", wait_s(wait.tries, _FIRST_S, _LONGEST_S))

    def _report(self, wait: Wait, done: Callable[[], None]) -> None:
        def take_up() -> None:
            try:
                done()
            finally:
                self._around.touch(wait.slot.model)
                self._go_on()

        self._around.post(take_up)


def _asked(wait: Wait, side: Side | None = None) -> Asked:
    slot = wait.slot
    return Asked(slot.model, slot.key, slot.origin, wait.terms, side)
