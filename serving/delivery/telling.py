"""Who is told of what becomes of rollouts: the log, counts, and whoever listens."""

from __future__ import annotations

from collections.abc import Callable

from serving.delivery.outcomes import Outcomes
from serving.events import log
from serving.rollout.canary import Phase, Rollout

# The rollout before, None where it is a new one; and now.
Listener = Callable[[Rollout | None, Rollout], None]


class Telling:
    """``outcomes``: how rollouts ended."""

    def __init__(self) -> None:
        self.outcomes = Outcomes()
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def tell(self, before: Rollout | None, rollout: Rollout) -> None:
        """That it is in another phase or step than before."""
        self.outcomes.note(before, rollout)
        _say(rollout)
        for listener in self._listeners:
            try:
                listener(before, rollout)
            except Exception:  # noqa: BLE001 - a listener's trouble is its own
                log.exception("listener_failed")


def _say(rollout: Rollout) -> None:
    say = log.warning if rollout.phase is Phase.ROLLED_BACK else log.info
    say(
        "rollout",
        model=rollout.model,
        version=rollout.candidate,
        base=rollout.base,
        phase=rollout.phase.value,
        share=rollout.share,
        reason=rollout.reason,
    )
