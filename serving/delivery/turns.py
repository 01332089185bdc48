"""One turn of all rollouts under way: what was seen since the last, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from serving.delivery import facts
from serving.delivery.book import Book, Models
from serving.delivery.counting import Counting
from serving.delivery.features import FeatureLooks
from serving.delivery.measures import Key
from serving.delivery.routing import is_refused, stands
from serving.delivery.usual import rules_for
from serving.delivery.windows import Carried, Windows
from serving.events import log
from serving.models.views import ModelView
from serving.rollout import canary
from serving.rollout.canary import Phase, Rollout
from serving.rollout.figures import Answers
from serving.rollout.rules import Rules
from serving.settings.canary import CanarySettings

# Between two looks for what ends a rollout at once.
_GLANCE_S = 0.25
_AGAIN_S = 1.0
# A model that is not there for so long is gone; after a start it may take a while until it is seen.
UNSEEN_S = 60.0
_JUDGED = frozenset({Phase.RUNNING, Phase.PAUSED})


class Turns:
    """``usual``: how a model's rollouts go where no command says it. ``mono`` and ``wall``:
    monotonic and epoch seconds. For who holds the lock of the rollouts."""

    def __init__(
        self,
        models: Models,
        book: Book,
        windows: Windows,
        counting: Counting,
        looks: FeatureLooks,
        usual: Callable[[ModelView | None], CanarySettings],
        window_s: float,
        mono: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._models, self._book, self._windows = models, book, windows
        self._counting, self._looks, self._usual = counting, looks, usual
        self._window_s, self._mono, self._wall = window_s, mono, wall
        self._unseen_since: dict[str, float] = {}

    def take(self) -> None:
        """A rollout whose turn fails stops no other; it is tried again."""
        under_way = self._book.under_way
        judged = [one for one in under_way if one.phase in _JUDGED]
        self._counting.count(judged, self._rules_of)
        self._looks.follow(judged, self._rules_of)
        now = self._windows.now(judged)
        for rollout in under_way:
            try:
                self._turn(rollout, now)
            except Exception:  # noqa: BLE001 - the others' rollouts go on; it is tried again
                log.exception("rollout_failed", model=rollout.model)

    def due(self) -> float | None:
        """Seconds until the next; None: when something changes."""
        phases = {one.phase for one in self._book.under_way}
        if phases & _JUDGED:
            return min(_GLANCE_S, self._window_s)
        return _AGAIN_S if phases else None

    def _rules_of(self, model: str) -> Rules:
        return rules_for(self._usual(self._models.view(model)))

    def _turn(self, rollout: Rollout, now: Mapping[Key, Answers]) -> None:
        view = self._models.view(rollout.model)
        if view is None:
            self._unseen(rollout)
            return
        self._unseen_since.pop(rollout.model, None)
        carried = self._windows.of(rollout, view, now)
        refused = self._settle(rollout, view, carried)
        if refused is not None:
            self._book.put(rollout, canary.refused(rollout, refused, self._wall()))
            return
        seconds = self._mono() - carried.opened
        whole = seconds >= self._window_s
        window = carried.window(rollout, view, now) if rollout.phase in _JUDGED else None
        missing = carried.missing(rollout, view, self._mono())
        known = facts.facts_of(view, rollout, missing, carried.settled)
        rules = rules_for(self._usual(view))
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
            self._windows.begin(changed, view, now)
        self._book.put(rollout, changed)

    def _unseen(self, rollout: Rollout) -> None:
        """Nobody has looked for the model yet, or it is gone as a whole."""
        since = self._unseen_since.setdefault(rollout.model, self._mono())
        if self._mono() - since >= UNSEEN_S:
            del self._unseen_since[rollout.model]
            words = "the model is not there any more"
            self._book.put(rollout, canary.left(rollout, words, self._wall()))

    def _settle(self, rollout: Rollout, view: ModelView, carried: Carried) -> str | None:
        """Once the route is as it is to be, other weights are somebody else's. Why it can't be, in
        words."""
        if stands(rollout, view):
            carried.settled = True
        elif not carried.settled and not carried.tickets:
            # As an earlier process left it: it may not have come to set them.
            carried.tickets = self._book.set_route(rollout, view)
        elif not carried.settled:
            outcome = carried.tickets[0].wait(0)
            return outcome.message if is_refused(outcome) else None
        return None
