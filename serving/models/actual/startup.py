"""When a server that starts is ready."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from serving.models.state import PENDING, Slot, State

Readiness = Literal["settled", "strict", "any"]


class Startup:
    """How far what was wanted at the start has come; told of one model at a time, so that the
    answer costs no look at the others. ``wanted``: (model, version)."""

    def __init__(self, wanted: Iterable[tuple[str, int]]) -> None:
        self._wanted = frozenset(wanted)
        # Models with a wanted version on its way to READY, and those where none was tried before.
        self._trying: set[str] = set()
        self._first: set[str] = set()
        # Models with a wanted version that failed, and those with any that is READY.
        self._failed: set[str] = set()
        self._ready: set[str] = set()

    def note(self, model: str, slots: Sequence[Slot]) -> None:
        """The model's slots, as they stand now."""
        mine = [slot for slot in slots if (model, slot.version) in self._wanted]
        tries = [slot for slot in mine if slot.state in PENDING or slot.is_judged]
        _put(self._trying, model, bool(tries))
        _put(self._first, model, any(slot.attempts == 0 for slot in tries))
        _put(self._failed, model, any(slot.state is State.FAILED for slot in mine))
        _put(self._ready, model, any(slot.takes_traffic for slot in slots))

    @property
    def any_ready(self) -> bool:
        return bool(self._ready)

    def has_started(
        self, readiness: Readiness, *, settling: Collection[str] = (), wrong: bool = False
    ) -> bool:
        """Whether what was wanted at the start has come so far that the server is ready.

        ``settling``: models that something is being copied into; ``wrong``: something of the
        registry can't be read. A model of which every version failed has come as far as it will,
        except under ``strict``, also while one is tried again: of several that fail again and
        again one is always on its way.
        """
        if readiness == "any":
            return self._ready.issuperset(settling) and self._first <= self._ready
        if readiness == "strict":
            return not (wrong or self._failed or self._trying or settling)
        return not (self._first or settling)


def _put(models: set[str], model: str, belongs: bool) -> None:
    if belongs:
        models.add(model)
    else:
        models.discard(model)
