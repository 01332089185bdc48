"""The thread that carries rollouts out, and the commands about them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from serving import _core
from serving.delivery import facts, requested
from serving.delivery.counting import Counting
from serving.delivery.features import FeatureLooks, StepStatistics
from serving.delivery.keeping import Keeping
from serving.delivery.measures import Key, answers_of
from serving.delivery.orphans import orphaned
from serving.delivery.routing import commands_of, is_as_it_was, is_refused, stands
from serving.delivery.standing import ChangedModels
from serving.delivery.telling import Listener, Telling
from serving.delivery.usual import rules_for, settings_of
from serving.delivery.windows import Carried, keys_of
from serving.errors import ErrorCode, ServingError
from serving.events import log
from serving.models.commands.command import Command, SetRoute, Ticket
from serving.models.views import Changes, ModelView
from serving.rollout import canary
from serving.rollout.canary import Phase, Rollout
from serving.rollout.documents import MOST_ROLLOUTS
from serving.rollout.figures import Answers
from serving.rollout.rules import Rules
from serving.settings.canary import CanarySettings
from serving.state_dir import StateDir
from serving.step_shares import WHOLE

# Between two looks for what ends a rollout at once.
_GLANCE_S = 0.25
# A model that is not there for so long is gone; after a start it may take a while until it is seen.
_UNSEEN_S = 60.0
# What is lost at most of the proof where the process is killed.
_SAVE_S = 30.0
_AGAIN_S = 1.0
_BY = "rollout"
_JUDGED = frozenset({Phase.RUNNING, Phase.PAUSED})


class Models(Protocol):
    """What is asked of the models' manager."""

    def views(self) -> Sequence[ModelView]: ...
    def view(self, model: str) -> ModelView | None: ...
    def command(self, command: Command, by: str = "", reason: str = "") -> Ticket: ...
    def on_change(self, listener: Callable[[Changes], None]) -> None: ...


@dataclass(frozen=True, slots=True)
class Given:
    """A rollout after a command, and the tickets of what that changes in the route."""

    rollout: Rollout
    tickets: tuple[Ticket, ...] = ()


class Rollouts:
    """The last rollout of each model. Safe from any thread.

    ``figures``: of the versions that are named; ``count_outputs``: of these and no others, of the
    second ones how outputs are distributed, too. ``statistics`` None: they are off. ``mono`` and
    ``wall`` are for tests: monotonic and epoch seconds.
    """

    def __init__(
        self,
        settings: CanarySettings,
        models: Models,
        state: StateDir,
        figures: Callable[[list[Key]], _core.Figures],
        count_outputs: Callable[[list[Key], list[Key]], None],
        statistics: StepStatistics | None = None,
        *,
        mono: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._settings, self._models = settings, models
        self._figures, self._counting = figures, Counting(count_outputs)
        self._looks = FeatureLooks(statistics)
        self._mono, self._wall = mono, wall
        self._telling = Telling()
        self.outcomes = self._telling.outcomes
        self._keeping = Keeping(state, mono)
        self._rollouts = self._keeping.read()
        # Over, by an earlier process, which may not have come to set the route.
        self._unset = {one.model for one in self._rollouts.values() if not one.under_way}
        # Until when routes are looked for that belong to none of them; those that were given back.
        self._orphans_until, self._given_back = mono() + _UNSEEN_S, set[str]()
        self._taken: StateDir | None = None
        self._carried: dict[str, Carried] = {}
        self._unseen_since: dict[str, float] = {}
        self._lock = threading.Lock()
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._changed = ChangedModels()
        self._thread = threading.Thread(target=self._run, name="rollouts", daemon=True)
        models.on_change(self._note)

    # From any thread.

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float = 3.0) -> None:
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._keeping.save(self._copy, at_once=True)

    def listen(self, listener: Listener) -> None:
        """Call it with each rollout that is in another phase or step than before, before that is
        kept. It may not wait."""
        self._telling.listen(listener)

    def take_state(self, state: StateDir) -> None:
        """Go on with the rollouts of another gateway, whose routes have been taken over, and keep
        all there from now on. Waits for nothing."""
        self._taken = state
        self._wake.set()

    def all(self) -> tuple[Rollout, ...]:
        """By model."""
        with self._lock:
            return tuple(self._rollouts[model] for model in sorted(self._rollouts))

    def _copy(self) -> Mapping[str, Rollout]:
        with self._lock:
            return dict(self._rollouts)

    def of(self, model: str) -> Rollout | None:
        with self._lock:
            return self._rollouts.get(model)

    def rules_of(self, model: str) -> Rules:
        """By what its rollouts are judged."""
        return rules_for(self._settings_of(self._models.view(model)))

    def _settings_of(self, view: ModelView | None) -> CanarySettings:
        return self._settings if view is None else settings_of(self._settings, view.canary)

    def begin(self, asked: requested.Start) -> Given:
        """Raises ServingError, in words, where it can't be."""
        with self._lock:
            return self._begin(asked)

    def change(self, model: str, verb: requested.Verb, by: str) -> Given:
        """Pause, resume, promote or abort. Raises ServingError, in words, where it can't be."""
        with self._lock:
            rollout = self._rollouts.get(model)
            if rollout is None:
                raise ServingError(ErrorCode.NOT_FOUND, f"no rollout of '{model}' is known")
            try:
                changed = requested.VERBS[verb](rollout, by, self._wall())
            except ValueError as error:
                raise ServingError(ErrorCode.FAILED_PRECONDITION, str(error)) from None
            return self._put(rollout, changed)

    def _note(self, changed: Changes) -> None:
        """In the manager's loop: waits for nothing."""
        self._changed.note(
            model
            for model, view in changed.items()
            if view is not None and self._settings_of(view).automatic
        )
        self._wake.set()

    # In the thread, and with the lock held.

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                due = self.tick()
            except Exception:  # noqa: BLE001 - it is tried again
                log.exception("rollouts_failed")
                due = _AGAIN_S
            self._wake.wait(due)
            self._wake.clear()

    def tick(self) -> float | None:
        """One turn. Seconds until the next is due; None: when something changes."""
        with self._lock:
            self._take()
            self._take_turns()
            self._catch_up()
            self._give_back()
            self._consider()
            due = self._due()
        self._keeping.save(self._copy)
        return due

    def _take_turns(self) -> None:
        under_way = [one for one in self._rollouts.values() if one.under_way]
        judged = [one for one in under_way if one.phase in _JUDGED]
        self._counting.count(judged, self.rules_of)
        self._looks.follow(judged, self.rules_of)
        now = answers_of(self._figures(keys_of(judged))) if judged else {}
        for rollout in under_way:
            self._try_turn(rollout, now)

    def _due(self) -> float | None:
        phases = {one.phase for one in self._rollouts.values() if one.under_way}
        if phases & _JUDGED:
            return min(_GLANCE_S, self._settings.window_s)
        return _AGAIN_S if phases else None

    def _try_turn(self, rollout: Rollout, now: Mapping[Key, Answers]) -> None:
        try:
            self._turn(rollout, now)
        except Exception:  # noqa: BLE001 - the others' rollouts go on; it is tried again
            log.exception("rollout_failed", model=rollout.model)

    def _turn(self, rollout: Rollout, now: Mapping[Key, Answers]) -> None:
        view = self._models.view(rollout.model)
        if view is None:
            self._unseen(rollout)
            return
        self._unseen_since.pop(rollout.model, None)
        carried = self._carried_of(rollout, view, now)
        refused = self._settle(rollout, view, carried)
        if refused is not None:
            self._put(rollout, canary.refused(rollout, refused, self._wall()))
            return
        seconds = self._mono() - carried.opened
        whole = seconds >= self._settings.window_s
        window = carried.window(rollout, view, now) if rollout.phase in _JUDGED else None
        missing = carried.missing(rollout, view, self._mono())
        known = facts.facts_of(view, rollout, missing, carried.settled)
        rules = rules_for(self._settings_of(view))
        if window is not None and whole:
            window = replace(window, features=self._looks.look(rollout, rules))
        changed = canary.turn(
            rollout, known, window if whole else None, seconds, rules, self._wall()
        )
        if window is not None and changed is rollout:
            changed = canary.at_once(rollout, window, rules, self._wall())
        if changed == rollout:
            return
        if whole or changed.phase is not rollout.phase:
            self._open(changed, view, now)
        self._put(rollout, changed)

    def _catch_up(self) -> None:
        """Set the routes of rollouts that an earlier process ended, where they still are as those
        had them under way."""
        seen = [view for model in self._unset if (view := self._models.view(model)) is not None]
        for view in seen:
            self._unset.discard(view.name)
            rollout = self._rollouts.get(view.name)
            if rollout is not None and not rollout.under_way and is_as_it_was(rollout, view):
                self._commanded(rollout, view)

    def _take(self) -> None:
        """Of models that have had no rollout here."""
        state, self._taken = self._taken, None
        if state is None:
            return
        found = self._keeping.move(state)
        theirs = {model: one for model, one in found.items() if model not in self._rollouts}
        self._rollouts |= theirs
        self._unset |= {model for model, one in theirs.items() if not one.under_way}
        self._orphans_until = self._mono() + _UNSEEN_S

    def _give_back(self) -> None:
        """At a start, what rollouts left that are not known any more."""
        if self._mono() > self._orphans_until:
            return
        known = self._rollouts.keys() | self._given_back
        for model, base in orphaned(self._models.views(), known):
            self._given_back.add(model)
            log.warning("rollout_lost", model=model, base=base)
            reason = "its rollout is not known any more"
            self._models.command(SetRoute(model, {base: WHOLE}, base=base), by=_BY, reason=reason)

    def _unseen(self, rollout: Rollout) -> None:
        """Nobody has looked for the model yet, or it is gone as a whole."""
        since = self._unseen_since.setdefault(rollout.model, self._mono())
        if self._mono() - since >= _UNSEEN_S:
            del self._unseen_since[rollout.model]
            self._put(
                rollout, canary.left(rollout, "the model is not there any more", self._wall())
            )

    def _carried_of(self, rollout: Rollout, view: ModelView, now: Mapping[Key, Answers]) -> Carried:
        if rollout.model not in self._carried:
            self._open(rollout, view, now)
        return self._carried[rollout.model]

    def _open(self, rollout: Rollout, view: ModelView, now: Mapping[Key, Answers]) -> None:
        """A window begins; the figures of ``now`` are none of its."""
        before = self._carried.get(rollout.model)
        deaths = facts.deaths_of(view, rollout.candidate)
        keys = keys_of([rollout])
        # ``now`` has those of rollouts that were judged already.
        fresh = now if all(key in now for key in keys) else answers_of(self._figures(keys))
        own = {key: fresh[key] for key in keys if key in fresh}
        carried = Carried(self._mono(), own, deaths)
        if before is not None:
            carried.tickets, carried.settled = before.tickets, before.settled
        self._carried[rollout.model] = carried

    def _settle(self, rollout: Rollout, view: ModelView, carried: Carried) -> str | None:
        """Once the route is as it is to be, other weights are somebody else's. Why it can't be, in
        words."""
        if stands(rollout, view):
            carried.settled = True
        elif not carried.settled and not carried.tickets:
            # As an earlier process left it: it may not have come to set them.
            carried.tickets = self._commanded(rollout, view)
        elif not carried.settled:
            outcome = carried.tickets[0].wait(0)
            return outcome.message if is_refused(outcome) else None
        return None

    # What changes.

    def _begin(self, asked: requested.Start) -> Given:
        view = self._models.view(asked.model)
        before = self._rollouts.get(asked.model)
        if self._is_full():
            words = f"{MOST_ROLLOUTS} rollouts are under way, the most that there can be"
            raise ServingError(ErrorCode.FAILED_PRECONDITION, words)
        usual = self._settings_of(view)
        rollout = requested.begun(asked, view, before, usual, self._wall())
        self._carried.pop(asked.model, None)
        return self._put(None, rollout)

    def _put(self, before: Rollout | None, rollout: Rollout) -> Given:
        """Keep what became of it, tell of it, and set the route where it is to be another."""
        if rollout.phase is Phase.PROMOTED and not rollout.holds:
            rollout = self._held_where_others_would_answer(rollout)
        self._rollouts[rollout.model] = rollout
        self._forget_oldest()
        moved = before is None or _place(before) != _place(rollout)
        self._keeping.note(0.0 if moved else _SAVE_S)
        tickets: tuple[Ticket, ...] = ()
        if moved:
            self._telling.tell(before, rollout)
            if rollout.weights is not None and (
                before is None or before.weights != rollout.weights
            ):
                tickets = self._set_route(rollout)
        if not rollout.under_way:
            self._carried.pop(rollout.model, None)
        self._wake.set()
        return Given(rollout, tickets)

    def _held_where_others_would_answer(self, rollout: Rollout) -> Rollout:
        """A newer version that came meanwhile waits on."""
        view = self._models.view(rollout.model)
        alone = view is not None and requested.is_newest(rollout.candidate, view)
        return rollout if alone else replace(rollout, holds=True)

    def _is_full(self) -> bool:
        return sum(one.under_way for one in self._rollouts.values()) >= MOST_ROLLOUTS

    def _forget_oldest(self) -> None:
        if len(self._rollouts) > MOST_ROLLOUTS:
            over = [one for one in self._rollouts.values() if not one.under_way]
            oldest = min(over, key=lambda one: one.changed, default=None)
            if oldest is not None:
                del self._rollouts[oldest.model]
                self.outcomes.forget({oldest.model})

    def _set_route(self, rollout: Rollout) -> tuple[Ticket, ...]:
        view = self._models.view(rollout.model)
        tickets = self._commanded(rollout, view)
        carried = self._carried.get(rollout.model)
        if carried is None and view is not None:
            self._open(rollout, view, {})
            carried = self._carried[rollout.model]
        if carried is not None:
            carried.tickets, carried.settled = tickets, False
        return tickets

    def _commanded(self, rollout: Rollout, view: ModelView | None) -> tuple[Ticket, ...]:
        reason = requested.told(rollout)
        commands = commands_of(rollout, view)
        return tuple(self._models.command(one, by=_BY, reason=reason) for one in commands)

    def _consider(self) -> None:
        """New versions take over by rollouts, and by nothing else."""
        full = self._is_full()
        for model in self._changed.take():
            view = self._models.view(model)
            settings = self._settings_of(view)
            if view is None or not settings.automatic:
                continue
            held = requested.to_hold(view)
            if held is not None:
                reason = "new versions take over by a rollout (canary.automatic)"
                self._models.command(SetRoute(model, {held: 100}, base=held), by=_BY, reason=reason)
                continue
            newer = requested.newer(
                view, self._rollouts.get(model), replaces=settings.newer == "replaces"
            )
            if newer is None:
                continue
            if full and model not in self._carried:
                # It waits for one of the others to end.
                self._changed.note([model])
                continue
            self._begin_by_policy(model, newer)
            full = self._is_full()

    def _begin_by_policy(self, model: str, newer: int) -> None:
        before = self._rollouts.get(model)
        if before is not None and before.under_way:
            self._put(before, canary.replaced(before, newer, self._wall()))
        try:
            self._begin(requested.Start(model, newer, by="policy"))
        except ServingError as error:
            log.info("rollout_not_begun", model=model, version=newer, reason=error.message)


def _place(rollout: Rollout) -> tuple[Phase, int]:
    return rollout.phase, rollout.step
