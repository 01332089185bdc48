"""What a model's view says of a rollout's two versions. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from serving.models.reasons import Absence
from serving.models.state import State
from serving.models.views import ModelView, VersionView
from serving.rollout.canary import Facts, Rollout


def facts_of(view: ModelView, rollout: Rollout, missing: frozenset[int], settled: bool) -> Facts:
    """``missing``: versions that have not been there for a while. ``settled``: the last command
    about the route has been carried out."""
    versions = {version.number: version for version in view.versions}
    return Facts(
        ready=frozenset(number for number, one in versions.items() if _answers(one)),
        held=frozenset(number for number, one in versions.items() if one.held_back),
        gone=_gone(view, rollout, missing) if settled else {},
        unloaded=_by_command(view),
        failed={n: one.reason for n, one in versions.items() if one.state is State.FAILED},
        pinned=view.pinned if settled else None,
        weights=dict(view.split.weights) if settled else None,
    )


def _answers(version: VersionView) -> bool:
    return version.state is State.READY and not version.held_back


def _gone(view: ModelView, rollout: Rollout, missing: frozenset[int]) -> Mapping[int, str]:
    gone = {number: f"version {number} was unloaded by command" for number in _by_command(view)}
    for number in missing & {rollout.base, rollout.candidate}:
        gone.setdefault(number, f"version {number} is not there any more")
    return gone


def _by_command(view: ModelView) -> frozenset[int]:
    return frozenset(one.number for one in view.unloaded if one.absence is Absence.BY_COMMAND)


def absent(view: ModelView, rollout: Rollout) -> frozenset[int]:
    """Which of its two versions the model does not have loaded, or on their way."""
    there = {version.number for version in view.versions}
    return frozenset({rollout.base, rollout.candidate}) - there


def deaths_of(view: ModelView, version: int) -> int:
    """How often a process died that the version runs in, since it was loaded."""
    found = next((one for one in view.versions if one.number == version), None)
    return found.process.crashes if found is not None and found.process is not None else 0
