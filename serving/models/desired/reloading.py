"""The models' configurations, read again because somebody says so."""

from __future__ import annotations

from collections.abc import Collection

from serving.events import log
from serving.models.desired.store import DesiredState
from serving.registry.configs import is_same
from serving.registry.snapshot import KnownConfig
from serving.registry.source import Request
from serving.registry.sources import Asked, Sources

# Models that the log names at once.
_MOST_NAMED = 20
# A version that there is not: files beside the versions count as settled, no version does.
_CONFIGURATION = -1


class Reloading:
    """Used by the manager's loop only. One that is asked for while another is under way takes its
    place, and tells of both."""

    def __init__(self, sources: Sources, desired: DesiredState) -> None:
        self._sources, self._desired = sources, desired
        self._asked: Asked | None = None
        self._before: dict[str, KnownConfig | None] = {}

    def begin(self, models: Collection[str]) -> None:
        """Have all of these read, at once and whatever their files look like."""
        settled = {(name, _CONFIGURATION) for name in models}
        self._asked = self._sources.ask(Request(models, settled, configurations=True))
        now = {name: self._desired.contents.known(name) for name in models}
        self._before = now | self._before

    def end(self) -> None:
        """Where they have been read, and what they say is in force: say in the log what changed."""
        if self._asked is None or not self._sources.has_answered(self._asked):
            return
        before, self._before, self._asked = self._before, {}, None
        after = {name: self._desired.contents.known(name) for name in before}
        changed = sorted(name for name in before if not is_same(before[name], after[name]))
        wrong = sorted(name for name, known in after.items() if known is not None and known.error)
        log.info(
            "configurations_reloaded",
            models=len(before),
            changed=changed[:_MOST_NAMED],
            wrong=wrong[:_MOST_NAMED],
        )
