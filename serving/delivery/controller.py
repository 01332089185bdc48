"""The thread that carries rollouts out, and the commands about them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from serving import _core
from serving.delivery import requested
from serving.delivery.book import Book, Given, Models
from serving.delivery.counting import Counting, CountOutputs
from serving.delivery.features import FeatureLooks, StepStatistics
from serving.delivery.keeping import Keeping
from serving.delivery.measures import Key
from serving.delivery.restarting import Restarting
from serving.delivery.standing import StandingPolicy
from serving.delivery.telling import Listener, Telling
from serving.delivery.turns import Turns
from serving.delivery.usual import rules_for, settings_of
from serving.delivery.windows import Windows
from serving.errors import ErrorCode, ServingError
from serving.events import log
from serving.models.views import Changes, ModelView
from serving.rollout.canary import Rollout
from serving.rollout.rules import Rules
from serving.settings.canary import CanarySettings
from serving.state_dir import StateDir

_AGAIN_S = 1.0


class Rollouts:
    """The last rollout of each model. Safe from any thread.

    ``figures``: of the versions that are named; ``count_outputs``: of these and no others, of the
    second ones how outputs are distributed, too, of the last ones only how long requests take.
    ``statistics`` None: they are off. ``mono`` and ``wall`` are for tests: monotonic and epoch
    seconds.
    """

    def __init__(
        self,
        settings: CanarySettings,
        models: Models,
        state: StateDir,
        figures: Callable[[list[Key]], _core.Figures],
        count_outputs: CountOutputs,
        statistics: StepStatistics | None = None,
        *,
        mono: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._settings, self._models, self._wall = settings, models, wall
        self._lock = threading.Lock()
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._telling, self._keeping = Telling(), Keeping(state, mono)
        self.outcomes = self._telling.outcomes
        windows, usual = Windows(figures, mono), self._settings_of
        book = self._book = Book(models, self._keeping, self._telling, windows, self._wake.set)
        looks, counting = FeatureLooks(statistics), Counting(count_outputs)
        self._turns = Turns(
            *(models, book, windows, counting, looks), usual, settings.window_s, mono, wall
        )
        self._restarting = Restarting(models, book, self._keeping, mono)
        self._policy = StandingPolicy(models, book, usual, wall)
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
        self._restarting.take_state(state)
        self._wake.set()

    def all(self) -> tuple[Rollout, ...]:
        """By model."""
        found = self._copy()
        return tuple(found[model] for model in sorted(found))

    def _copy(self) -> Mapping[str, Rollout]:
        with self._lock:
            return self._book.copy()

    def of(self, model: str) -> Rollout | None:
        with self._lock:
            return self._book.of(model)

    def rules_of(self, model: str) -> Rules:
        """By what its rollouts are judged."""
        return rules_for(self._settings_of(self._models.view(model)))

    def _settings_of(self, view: ModelView | None) -> CanarySettings:
        return self._settings if view is None else settings_of(self._settings, view.canary)

    def begin(self, asked: requested.Start) -> Given:
        """Raises ServingError, in words, where it can't be."""
        with self._lock:
            usual = self._settings_of(self._models.view(asked.model))
            return self._book.begin(asked, usual, self._wall())

    def change(self, model: str, verb: requested.Verb, by: str) -> Given:
        """Pause, resume, promote or abort. Raises ServingError, in words, where it can't be."""
        with self._lock:
            rollout = self._book.of(model)
            if rollout is None:
                raise ServingError(ErrorCode.NOT_FOUND, f"no rollout of '{model}' is known")
            try:
                changed = requested.VERBS[verb](rollout, by, self._wall())
            except ValueError as error:
                raise ServingError(ErrorCode.FAILED_PRECONDITION, str(error)) from None
            return self._book.put(rollout, changed)

    def _note(self, changed: Changes) -> None:
        """In the manager's loop: waits for nothing."""
        self._policy.note(changed)
        self._wake.set()

    # In the thread.

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
            self._restarting.take()
            self._turns.take()
            self._restarting.catch_up()
            self._restarting.give_back()
            self._policy.consider()
            due = self._turns.due()
        self._keeping.save(self._copy)
        return due
