"""Which version answers the requests that name none."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from serving.models.desired.candidates import ModelTarget


def highest(versions: Iterable[int]) -> int | None:
    return max(versions, default=None)


def answering(
    target: ModelTarget,
    ready: Collection[int],
    chosen: Collection[int],
    before: int | None,
    coming: Collection[int] = (),
) -> int | None:
    """The pinned version, else the newest of those ``chosen``, of all that are ``ready``.

    A pin that can't answer yet leaves the answer with who had it ``before``, and so does a
    model of which nothing that is chosen is ready. One that is held back answers where nothing
    else is ready or ``coming``; so it is None only while something is not ready yet.
    """
    if target.pinned in ready:
        return target.pinned
    if target.pinned is not None and before in ready:
        return before
    fit = set(ready) - target.held
    if not fit and not set(coming) <= target.held:
        return None
    able = fit or set(ready)
    newest = highest(able & set(chosen))
    if newest is not None:
        return newest
    return before if before in able else highest(able)


def pin_words(target: ModelTarget, default: int | None, state_words: str) -> str:
    """Why the pinned version does not answer, "" where it does; ``state_words``: its state."""
    if target.pinned is None or default == target.pinned:
        return ""
    who = f"version {default} answers until it is" if default is not None else "nothing answers"
    return f"version {target.pinned} is pinned and not ready ({state_words}); {who}"
