"""Routes as a pure function of the models' views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serving.models.desired.answers import highest
from serving.models.state import State
from serving.models.views import ModelView, UnloadedVersion, VersionView

if TYPE_CHECKING:
    from serving import _core

_WORDS = {
    State.NEW: "waiting to be loaded",
    State.LOADING: "loading",
    State.WARMING: "warming up",
    State.DRAINING: "being unloaded",
    State.FAILED: "could not be loaded",
}


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """One model's place in the table, before the core makes a route of it.

    ``unavailable``: version -> why it is known but does not answer.
    ``reason``: why the model answers nothing, None where ``default`` is a version.
    ``unloaded``: versions on disk that are not loaded, by the reason.
    """

    model: str
    versions: Mapping[int, _core.Queue]
    default: int | None
    unavailable: Mapping[int, str]
    reason: str | None
    unloaded: Sequence[tuple[str, Sequence[int]]] = ()


def default_version(view: ModelView) -> int | None:
    """The version that the manager chose for requests that name none, if any; should it not
    answer, the highest READY one that is not held back: nothing is refused while something can
    answer."""
    answering = [v for v in view.versions if _answers(v)]
    if view.default is None or view.default in [version.number for version in answering]:
        return view.default
    return highest(version.number for version in answering if not version.held_back)


def plan(view: ModelView) -> RoutePlan:
    """A version that is known but not READY is unavailable, not unknown; one that is
    GONE is in no view."""
    default = default_version(view)
    unavailable = {
        v.number: _why_not(v)
        for v in view.versions
        if not _answers(v) and v.state is not State.GONE
    }
    return RoutePlan(
        model=view.name,
        versions={v.number: v.queue for v in view.versions if _answers(v) and v.queue is not None},
        default=default,
        unavailable=unavailable,
        reason=None if default is not None else view.reason or "no version of it is ready",
        unloaded=_by_reason(view.unloaded),
    )


def _by_reason(versions: Sequence[UnloadedVersion]) -> Sequence[tuple[str, Sequence[int]]]:
    """Few reasons hold back many versions."""
    found: dict[str, list[int]] = {}
    for version in versions:
        found.setdefault(version.reason, []).append(version.number)
    return tuple(found.items())


def _answers(version: VersionView) -> bool:
    return version.state is State.READY and version.queue is not None


def _why_not(version: VersionView) -> str:
    words = _WORDS.get(version.state, "not ready")
    return f"{words}: {version.reason}" if version.reason else words
