"""What models ask of the request log: how many requests are kept, and what is left out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from serving.models.state import State
from serving.models.views import ModelView, VersionView
from serving.observe.request_log.record import Shown
from serving.signature import Signature

# Versions that left are remembered: requests that they answered may still wait to be written.
_REMEMBERED = 4096


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
        self._known: OrderedDict[tuple[str, int], _Known] = OrderedDict()

    def watch(self, views: Iterable[ModelView]) -> None:
        """The models as they stand now."""
        there = 0
        for view in views:
            for version in view.versions:
                if version.queue is not None and version.state is State.READY:
                    there += 1
                    self._remember((view.name, version.number), version)
        self._forget(there)

    def shown(self, model: str, version: int) -> Shown:
        """The tensors that go with their values: none, of a version that nothing is known of."""
        known = self._known.get((model, version))
        return () if known is None else known.shown

    def rate(self, version: VersionView) -> float:
        own = version.facts.config.request_log.rate if version.facts.config is not None else None
        return self._rate if own is None else own

    def _remember(self, key: tuple[str, int], version: VersionView) -> None:
        own = version.facts.config.request_log.redact if version.facts.config is not None else ()
        patterns = (*self._redact, *own)
        known = self._known.get(key)
        if known is None or known[:2] != (patterns, version.facts.signature):
            shown = _shown(patterns, version.facts.signature)
            self._known[key] = _Known(patterns, version.facts.signature, shown)
        self._known.move_to_end(key)

    def _forget(self, there: int) -> None:
        """The longest gone first, and none that is there."""
        while len(self._known) > max(_REMEMBERED, there):
            self._known.popitem(last=False)


def _shown(patterns: Sequence[str], signature: Signature | None) -> Shown:
    """By name, so that a tensor that is in no signature is hidden where anything is."""
    if not patterns:
        return None
    tensors = () if signature is None else (*signature.inputs, *signature.outputs)
    return tuple(
        tensor.name
        for tensor in tensors
        if not any(fnmatchcase(tensor.name, pattern) for pattern in patterns)
    )
