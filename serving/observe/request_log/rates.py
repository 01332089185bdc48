"""What models ask of the request log: how many requests are kept, and what is left out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import NamedTuple

from serving.models.state import State
from serving.models.views import Changes, ModelView, VersionView
from serving.observe.redaction import patterns_of, shown_of
from serving.observe.request_log.record import Shown
from serving.signature import Signature

# Versions that left are remembered: requests that they answered may still wait to be written.
_REMEMBERED = 4096

# A model and a version of it.
_Key = tuple[str, int]


class _Known(NamedTuple):
    """What was asked of a version, and what came of it."""

    patterns: tuple[str, ...]
    signature: Signature | None
    shown: Shown


class Rates:
    """Knows which share of requests is kept, and which tensors are shown.

    ``rate`` and ``redact`` are the settings'; a model's own rate stands instead of the first,
    its own patterns beside the second. ``watch`` is called by one thread, ``shown`` by any.
    """

    def __init__(self, rate: float, redact: Sequence[str]) -> None:
        self._rate, self._redact = rate, tuple(redact)
        self._known: dict[_Key, _Known] = {}
        # Those that are there, by model, and those that left, the longest gone first.
        self._there: dict[str, Collection[int]] = {}
        self._gone: OrderedDict[_Key, None] = OrderedDict()

    def watch(self, changed: Changes) -> None:
        """The models that are other than before."""
        for name, view in changed.items():
            ready = _ready(view) if view is not None else {}
            for number in self._there.pop(name, ()):
                self._gone[name, number] = None
            for number, version in ready.items():
                self._gone.pop((name, number), None)
                self._remember((name, number), version)
            if ready:
                self._there[name] = ready.keys()
        self._forget()

    def shown(self, model: str, version: int) -> Shown:
        """The tensors that go with their values: none, of a version that nothing is known of."""
        known = self._known.get((model, version))
        return () if known is None else known.shown

    def rate(self, version: VersionView) -> float:
        own = version.facts.config.request_log.rate if version.facts.config is not None else None
        return self._rate if own is None else own

    def _remember(self, key: _Key, version: VersionView) -> None:
        patterns = patterns_of(self._redact, version)
        known = self._known.get(key)
        if known is None or known[:2] != (patterns, version.facts.signature):
            shown = shown_of(patterns, version.facts.signature)
            self._known[key] = _Known(patterns, version.facts.signature, shown)

    def _forget(self) -> None:
        """None that is there."""
        while self._gone and len(self._known) > _REMEMBERED:
            key, _ = self._gone.popitem(last=False)
            del self._known[key]


def _ready(view: ModelView) -> dict[int, VersionView]:
    ready = (v for v in view.versions if v.queue is not None and v.state is State.READY)
    return {version.number: version for version in ready}
