"""The last rollout of each model, and what follows from a change of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from serving.delivery import requested
from serving.delivery.keeping import Keeping
from serving.delivery.routing import commands_of
from serving.delivery.telling import Telling
from serving.delivery.windows import Windows
from serving.errors import ErrorCode, ServingError
from serving.models.commands.command import Command, Ticket
from serving.models.views import Changes, ModelView
from serving.rollout.canary import Phase, Rollout
from serving.rollout.documents import MOST_ROLLOUTS
from serving.settings.canary import CanarySettings

# What is lost at most of the proof where the process is killed.
_SAVE_S = 30.0
_BY = "rollout"


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


class Book:
    """Read from where ``keeping`` has it. ``on_put`` is told that there is more to do. For who
    holds the lock of the rollouts."""

    def __init__(
        self,
        models: Models,
        keeping: Keeping,
        telling: Telling,
        windows: Windows,
        on_put: Callable[[], None],
    ) -> None:
        self._models, self._keeping, self._telling = models, keeping, telling
        self._windows, self._on_put = windows, on_put
        self._rollouts = keeping.read()

    def of(self, model: str) -> Rollout | None:
        return self._rollouts.get(model)

    def copy(self) -> Mapping[str, Rollout]:
        """By model."""
        return dict(self._rollouts)

    @property
    def under_way(self) -> list[Rollout]:
        return [one for one in self._rollouts.values() if one.under_way]

    @property
    def is_full(self) -> bool:
        return len(self.under_way) >= MOST_ROLLOUTS

    def join(self, found: Mapping[str, Rollout]) -> Mapping[str, Rollout]:
        """Those of models that have had none here, which are returned."""
        new = {model: one for model, one in found.items() if model not in self._rollouts}
        self._rollouts |= new
        return new

    def begin(self, asked: requested.Start, usual: CanarySettings, now: float) -> Given:
        """``usual``: for what is not said; ``now``: epoch seconds. Raises ServingError, in words,
        where it can't be."""
        view, before = self._models.view(asked.model), self.of(asked.model)
        if self.is_full:
            words = f"{MOST_ROLLOUTS} rollouts are under way, the most that there can be"
            raise ServingError(ErrorCode.FAILED_PRECONDITION, words)
        rollout = requested.begun(asked, view, before, usual, now)
        self._windows.close(asked.model)
        return self.put(None, rollout)

    def put(self, before: Rollout | None, rollout: Rollout) -> Given:
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
                view = self._models.view(rollout.model)
                tickets = self.set_route(rollout, view)
                self._windows.await_route(rollout, view, tickets)
        if not rollout.under_way:
            self._windows.close(rollout.model)
        self._on_put()
        return Given(rollout, tickets)

    def set_route(self, rollout: Rollout, view: ModelView | None) -> tuple[Ticket, ...]:
        """As the rollout wants it."""
        reason = requested.told(rollout)
        return tuple(self.command(one, reason) for one in commands_of(rollout, view))

    def command(self, command: Command, reason: str) -> Ticket:
        return self._models.command(command, by=_BY, reason=reason)

    def _held_where_others_would_answer(self, rollout: Rollout) -> Rollout:
        """A newer version that came meanwhile waits on."""
        view = self._models.view(rollout.model)
        alone = view is not None and requested.is_newest(rollout.candidate, view)
        return rollout if alone else replace(rollout, holds=True)

    def _forget_oldest(self) -> None:
        if len(self._rollouts) > MOST_ROLLOUTS:
            over = [one for one in self._rollouts.values() if not one.under_way]
            oldest = min(over, key=lambda one: one.changed, default=None)
            if oldest is not None:
                del self._rollouts[oldest.model]
                self._telling.outcomes.forget({oldest.model})


def _place(rollout: Rollout) -> tuple[Phase, int]:
    return rollout.phase, rollout.step
