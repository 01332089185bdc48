"""What sends windows somewhere, as the tracker sees it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from serving.observe.figures import Key
from serving.observe.windows import Window


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What does not change while a version is loaded. ``since``: seconds since the epoch, tells
    two loads of a version apart. Origins are "" where its manifest does not say."""

    model: str
    version: int
    since: float
    params: Mapping[str, str] = field(default_factory=dict)
    git_commit: str = ""
    run_id: str = ""
    model_id: str = ""


class Exporter(Protocol):
    """``prepare`` and ``keep`` are called by the tracker's thread and must not wait for others;
    ``send``, ``settle`` and ``close`` by one thread of the exporter's own."""

    @property
    def name(self) -> str: ...
    @property
    def target(self) -> str:
        """Where it sends to, without secrets."""
        ...

    def prepare(
        self, windows: Sequence[Window], facts: Mapping[Key, RunFacts]
    ) -> list[dict[str, Any]]:
        """What is to be kept and sent of windows that ended together: JSON. ``facts`` has
        every version that is there now."""
        ...

    def keep(self, present: Collection[Key], now: float) -> None:
        """Of all other versions no more windows come. After their last ones were offered:
        what has ended may be forgotten once nothing waits."""
        ...

    def send(self, prepared: Sequence[dict[str, Any]]) -> int:
        """Send in order; how many the target refused for good. Raises ExportError where all
        should be sent again: targets must bear that."""
        ...

    def settle(self) -> None:
        """Called once nothing is left to be sent. Raises ExportError."""
        ...

    def close(self) -> None: ...
