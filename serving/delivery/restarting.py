"""What an earlier process, or another gateway, has left: rollouts, and routes of theirs."""

from __future__ import annotations

from collections.abc import Callable

from serving.delivery.book import Book, Models
from serving.delivery.keeping import Keeping
from serving.delivery.orphans import orphaned
from serving.delivery.routing import is_as_it_was
from serving.delivery.turns import UNSEEN_S
from serving.events import log
from serving.models.commands.command import SetRoute
from serving.state_dir import StateDir
from serving.step_shares import WHOLE


class Restarting:
    """``mono``: monotonic seconds. But for ``take_state``, for who holds the lock of the
    rollouts."""

    def __init__(
        self, models: Models, book: Book, keeping: Keeping, mono: Callable[[], float]
    ) -> None:
        self._models, self._book, self._keeping, self._mono = models, book, keeping, mono
        # Over, by an earlier process, which may not have come to set the route.
        self._unset = {model for model, one in book.copy().items() if not one.under_way}
        # Until when routes are looked for that belong to none of them; those that were given back.
        self._orphans_until, self._given_back = mono() + UNSEEN_S, set[str]()
        self._taken: StateDir | None = None

    def take_state(self, state: StateDir) -> None:
        """Have the next ``take`` go on with what is there. From any thread; waits for nothing."""
        self._taken = state

    def take(self) -> None:
        """Of models that have had no rollout here."""
        state, self._taken = self._taken, None
        if state is None:
            return
        theirs = self._book.join(self._keeping.move(state))
        self._unset |= {model for model, one in theirs.items() if not one.under_way}
        self._orphans_until = self._mono() + UNSEEN_S

    def catch_up(self) -> None:
        """Set the routes of rollouts that an earlier process ended, where they still are as those
        had them under way."""
        seen = [view for model in self._unset if (view := self._models.view(model)) is not None]
        for view in seen:
            self._unset.discard(view.name)
            rollout = self._book.of(view.name)
            if rollout is not None and not rollout.under_way and is_as_it_was(rollout, view):
                self._book.set_route(rollout, view)

    def give_back(self) -> None:
        """At a start, what rollouts left that are not known any more."""
        if self._mono() > self._orphans_until:
            return
        known = self._book.copy().keys() | self._given_back
        for model, base in orphaned(self._models.views(), known):
            self._given_back.add(model)
            log.warning("rollout_lost", model=model, base=base)
            reason = "its rollout is not known any more"
            self._book.command(SetRoute(model, {base: WHOLE}, base=base), reason)
