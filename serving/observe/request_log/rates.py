"""What models ask of the request log: how many requests are kept, and what is left out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Protocol

from serving.models.state import State
from serving.models.views import ModelView, VersionView

# Versions that left are remembered: requests that they answered may still wait to be written.
_REMEMBERED = 4096


class Sampled(Protocol):
    """What this needs of ``_core.Queue``."""

    def sample(self, rate: float) -> None: ...


class Rates:
    """Sets each queue's share of sampled requests, and knows which tensors are hidden.

    ``rate`` and ``redact`` are the settings'; a model's own rate stands instead of the first,
    its own patterns beside the second. ``watch`` is called by one thread, ``hidden`` by any.
    """

    def __init__(self, rate: float, redact: Sequence[str]) -> None:
        self._rate, self._redact = rate, tuple(redact)
        self._set: dict[tuple[str, int], tuple[Sampled, float]] = {}
        self._patterns: OrderedDict[tuple[str, int], tuple[str, ...]] = OrderedDict()

    def watch(self, views: Iterable[ModelView]) -> None:
        """The models as they stand now."""
        current: dict[tuple[str, int], tuple[Sampled, float]] = {}
        for view in views:
            for version in view.versions:
                if version.queue is not None and version.state is State.READY:
                    key = (view.name, version.number)
                    # Before the first request of it is kept.
                    self._remember(key, version)
                    current[key] = (version.queue, self._rate_of(version))
        for key, (queue, rate) in current.items():
            before = self._set.get(key)
            if before is None or before[0] is not queue or before[1] != rate:
                queue.sample(rate)
        self._set = current
        self._forget()

    def hidden(self, model: str, version: int) -> Callable[[str], bool]:
        """Whether a tensor of that name goes without its values. All do, of a version that
        nothing is known of."""
        patterns = self._patterns.get((model, version), ("*",))
        if not patterns:
            return _shown
        return lambda name: any(fnmatchcase(name, pattern) for pattern in patterns)

    def _rate_of(self, version: VersionView) -> float:
        own = version.config.request_log.rate if version.config is not None else None
        return self._rate if own is None else own

    def _remember(self, key: tuple[str, int], version: VersionView) -> None:
        own = version.config.request_log.redact if version.config is not None else ()
        self._patterns[key] = (*self._redact, *own)
        self._patterns.move_to_end(key)

    def _forget(self) -> None:
        """The longest gone first, and none that is there."""
        while len(self._patterns) > max(_REMEMBERED, len(self._set)):
            self._patterns.popitem(last=False)


def _shown(name: str) -> bool:
    return False
