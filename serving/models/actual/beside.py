"""What lies beside a model's versions and changes in place: their schema."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from serving.errors import LoadError
from serving.events import log
from serving.models.state import State

if TYPE_CHECKING:
    from serving.models.actual.outside import Outside
    from serving.models.actual.works import Beside, Work


def look_beside(work: Work, outside: Outside) -> None:
    """Have a version that serves take up what changed beside it since it last looked, in a thread:
    that reads files."""
    beside, before = work.beside, work.seen_beside
    if work.slot.state is not State.READY or beside == before:
        return
    work.seen_beside = beside
    try:
        outside.spawn(f"look-{work.slot.model}", partial(_look, work, beside, outside))
    except (RuntimeError, MemoryError):
        # No thread: the next time that anything about the model is seen.
        work.seen_beside = before


def _look(work: Work, beside: Beside, outside: Outside) -> None:
    slot, loaded = work.slot, work.loaded
    if loaded is None:
        raise AssertionError("a version that serves is loaded")
    try:
        changed = loaded.look_beside(beside.folder or slot.origin.fetch().model)
    except Exception as error:  # noqa: BLE001 - it goes on as it was, whatever is the matter
        reason = error.reason if isinstance(error, LoadError) else repr(error)
        names = {"model": slot.model, "version": slot.version}
        log.warning("request_schema_unusable", **names, reason=reason, effect="it stays as it was")
        return
    if changed:
        told: Callable[[], None] = partial(outside.shown, slot.model)
        outside.post(told)
