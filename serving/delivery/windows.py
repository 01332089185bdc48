"""What is known of rollouts only as long as the process runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from serving import _core
from serving.delivery import facts
from serving.delivery.measures import Key, answers_of, since
from serving.models.commands.command import Ticket
from serving.models.views import ModelView
from serving.rollout.canary import Rollout
from serving.rollout.figures import Answers, Window

# A version that is not there for so long does not come back.
_GONE_S = 5.0


@dataclass(slots=True)
class Carried:
    """Of a rollout under way: the window that goes on, since when (monotonic seconds) and from
    which figures and deaths; and how far the last command about the route is."""

    opened: float
    before: Mapping[Key, Answers]
    deaths: int
    tickets: tuple[Ticket, ...] = ()
    settled: bool = False
    missing_since: float | None = None

    def window(self, rollout: Rollout, view: ModelView, now: Mapping[Key, Answers]) -> Window:
        deaths = facts.deaths_of(view, rollout.candidate) - self.deaths
        return Window(
            canary=since(self.before, now, (rollout.model, rollout.candidate)),
            base=since(self.before, now, (rollout.model, rollout.base)),
            deaths=max(0, deaths),
        )

    def missing(self, rollout: Rollout, view: ModelView, now: float) -> frozenset[int]:
        """Which of its versions have not been there for a while. ``now``: monotonic seconds."""
        absent = facts.absent(view, rollout)
        if not absent:
            self.missing_since = None
            return absent
        if self.missing_since is None:
            self.missing_since = now
        return absent if now - self.missing_since >= _GONE_S else frozenset()


def keys_of(rollouts: Sequence[Rollout]) -> list[Key]:
    return [(one.model, version) for one in rollouts for version in (one.base, one.candidate)]


class Windows:
    """Those that are open, by model. ``figures``: of the versions that are named; ``mono``:
    monotonic seconds. For who holds the lock of the rollouts."""

    def __init__(
        self, figures: Callable[[list[Key]], _core.Figures], mono: Callable[[], float]
    ) -> None:
        self._figures, self._mono = figures, mono
        self._carried: dict[str, Carried] = {}

    def now(self, judged: Sequence[Rollout]) -> Mapping[Key, Answers]:
        """What the versions of these have answered until now."""
        return answers_of(self._figures(keys_of(judged))) if judged else {}

    def of(self, rollout: Rollout, view: ModelView, now: Mapping[Key, Answers]) -> Carried:
        """The one that goes on; where there is none it begins."""
        return self._carried.get(rollout.model) or self.begin(rollout, view, now)

    def begin(self, rollout: Rollout, view: ModelView, now: Mapping[Key, Answers]) -> Carried:
        """A window begins; the figures of ``now`` are none of its."""
        before = self._carried.get(rollout.model)
        deaths = facts.deaths_of(view, rollout.candidate)
        keys = keys_of([rollout])
        # ``now`` has those of rollouts that were judged already.
        fresh = now if all(key in now for key in keys) else self.now([rollout])
        own = {key: fresh[key] for key in keys if key in fresh}
        carried = Carried(self._mono(), own, deaths)
        if before is not None:
            carried.tickets, carried.settled = before.tickets, before.settled
        self._carried[rollout.model] = carried
        return carried

    def await_route(
        self, rollout: Rollout, view: ModelView | None, tickets: tuple[Ticket, ...]
    ) -> None:
        """The route was commanded to be another. ``view`` None: the model is not there."""
        carried = self._carried.get(rollout.model)
        if carried is None and view is not None:
            carried = self.begin(rollout, view, {})
        if carried is not None:
            carried.tickets, carried.settled = tickets, False

    def close(self, model: str) -> None:
        self._carried.pop(model, None)
