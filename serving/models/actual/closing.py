"""The end of versions that have left. Those at rest are closed one after another; only those
whose runs must be waited for take a thread each, so that none waits for another's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from serving.events import log
from serving.models.actual.drawing import Loaded
from serving.models.actual.works import Work
from serving.models.state import Slot


def close_all(
    works: Sequence[Work],
    close: Callable[[Work], None],
    spawn: Callable[[str, Callable[[], None]], None],
) -> None:
    """For a thread of its own, where nothing routes to any of them any more. ``spawn``: (name,
    work) in a thread; where there is none to be had, they wait for each other."""
    at_rest: list[Work] = []
    busy: list[Work] = []
    for work in works:
        (at_rest if _is_at_rest(work) else busy).append(work)
    if len(works) > 1:
        busy = [work for work in busy if not _has_thread(spawn, work, close)]
    for work in (*at_rest, *busy):
        close(work)


def _has_thread(
    spawn: Callable[[str, Callable[[], None]], None], work: Work, close: Callable[[Work], None]
) -> bool:
    try:
        spawn(f"close-{work.slot.model}", partial(close, work))
    except (RuntimeError, MemoryError):
        return False
    return True


def _is_at_rest(work: Work) -> bool:
    try:
        return work.loaded is None or work.loaded.shut()
    except Exception:  # noqa: BLE001 - the others are closed all the same
        log.exception("close_failed", model=work.slot.model, version=work.slot.version)
        return False


def close_one(slot: Slot, loaded: Loaded, timeout: float) -> None:
    """Waits at most ``timeout`` seconds for its runs."""
    try:
        if not loaded.close(timeout):
            log.warning("close_cut_off", model=slot.model, version=slot.version)
    except Exception:  # noqa: BLE001 - it is out of service either way
        log.exception("close_failed", model=slot.model, version=slot.version)
