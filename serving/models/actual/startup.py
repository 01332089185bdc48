"""When a server that starts is ready."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

from serving.models.state import PENDING, Slot, State

Readiness = Literal["settled", "strict", "any"]


def has_started(
    readiness: Readiness,
    wanted: Collection[tuple[str, int]],
    slots: Sequence[Slot],
    *,
    settling: Collection[str] = (),
    wrong: bool = False,
) -> bool:
    """Whether what was wanted at the start has come so far that the server is ready.

    ``wanted``: (model, version). ``settling``: models that something is being copied into;
    ``wrong``: something of the registry can't be read. A model of which every version failed
    has come as far as it will, except under ``strict``, also while one is tried again: of
    several that fail again and again one is always on its way.
    """
    mine = [slot for slot in slots if (slot.model, slot.version) in wanted]
    tries = [slot for slot in mine if slot.state in PENDING]
    first = [slot for slot in tries if readiness == "strict" or slot.attempts == 0]
    pending = {slot.model for slot in first} | set(settling)
    if readiness == "any":
        ready = {slot.model for slot in slots if slot.state is State.READY}
        return pending <= ready
    if readiness == "strict" and (wrong or any(s.state is State.FAILED for s in mine)):
        return False
    return not pending
