"""The standing policy: new versions take over by rollouts, and by nothing else."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

from serving.delivery import requested
from serving.delivery.book import Book, Models
from serving.errors import ServingError
from serving.events import log
from serving.models.commands.command import SetRoute
from serving.models.views import Changes, ModelView
from serving.rollout import canary
from serving.settings.canary import CanarySettings
from serving.step_shares import WHOLE


class ChangedModels:
    """For the policy. Noted in any thread, taken in one."""

    def __init__(self) -> None:
        self._changed: deque[str] = deque()

    def note(self, models: Iterable[str]) -> None:
        """Waits for nothing."""
        self._changed.extend(models)

    def take(self) -> list[str]:
        """Each once, by name."""
        models = set()
        with suppress(IndexError):
            while True:
                models.add(self._changed.popleft())
        return sorted(models)


class StandingPolicy:
    """Of models whose settings (``usual``) are automatic. ``wall``: epoch seconds. For who holds
    the lock of the rollouts, but for ``note``."""

    def __init__(
        self,
        models: Models,
        book: Book,
        usual: Callable[[ModelView | None], CanarySettings],
        wall: Callable[[], float],
    ) -> None:
        self._models, self._book, self._usual, self._wall = models, book, usual, wall
        self._changed = ChangedModels()

    def note(self, changed: Changes) -> None:
        """From any thread; waits for nothing."""
        self._changed.note(
            model
            for model, view in changed.items()
            if view is not None and self._usual(view).automatic
        )

    def consider(self) -> None:
        """The models that have changed since the last time."""
        for model in self._changed.take():
            view = self._models.view(model)
            if view is not None and self._usual(view).automatic:
                self._consider(view)

    def _consider(self, view: ModelView) -> None:
        held = requested.to_hold(view)
        if held is not None:
            reason = "new versions take over by a rollout (canary.automatic)"
            self._book.command(SetRoute(view.name, {held: WHOLE}, base=held), reason)
            return
        before, replaces = self._book.of(view.name), self._usual(view).newer == "replaces"
        newer = requested.newer(view, before, replaces=replaces)
        if newer is None:
            return
        if self._book.is_full and not (before is not None and before.under_way):
            # It waits for one of the others to end.
            self._changed.note([view.name])
            return
        self._begin(view, newer)

    def _begin(self, view: ModelView, newer: int) -> None:
        model, before = view.name, self._book.of(view.name)
        if before is not None and before.under_way:
            self._book.put(before, canary.replaced(before, newer, self._wall()))
        start = requested.Start(model, newer, by="policy")
        try:
            self._book.begin(start, self._usual(view), self._wall())
        except ServingError as error:
            log.info("rollout_not_begun", model=model, version=newer, reason=error.message)
