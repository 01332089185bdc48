"""What is known of a rollout only as long as the process runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serving.delivery import facts
from serving.delivery.measures import Key, since
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
