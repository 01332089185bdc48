"""What lies on disk and is not loaded, and what holds it back. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from serving.model_config.schema import VersionPolicy
from serving.models import advice
from serving.models.desired.candidates import Candidate, ModelTarget
from serving.models.reasons import Absence
from serving.models.views import UnloadedVersion

_MOST_NAMED = 8


def unloaded(target: ModelTarget, shown: Collection[int]) -> tuple[UnloadedVersion, ...]:
    """The versions on disk beside those that are ``shown``, ascending, each with its reason."""
    rest = [
        candidate
        for candidate in target.versions
        if candidate.version not in shown and not candidate.gone
    ]
    rest.sort(key=lambda candidate: candidate.version)
    return tuple(UnloadedVersion(one.version, *_why(target, one)) for one in rest)


def _why(target: ModelTarget, candidate: Candidate) -> tuple[str, Absence | None]:
    if candidate.version in target.out:
        return Absence.BY_COMMAND.value, Absence.BY_COMMAND
    if target.dismissed(candidate.version):
        return Absence.NOBODY_ASKED.removeprefix("not loaded: "), Absence.NOBODY_ASKED
    if not candidate.whole:
        return candidate.note or "its files are not all there", None
    words = _policy_words(target.policy)
    return words or "its turn has not come", Absence.BY_POLICY if words else None


def _policy_words(policy: VersionPolicy) -> str:
    """How it leaves versions out, "" where it does not."""
    if policy.kind == "latest":
        return f"the version policy is latest {policy.latest}"
    if policy.kind == "specific":
        return f"the version policy is specific {numbers(policy.specific)}"
    return ""


def held_by_pin(target: ModelTarget, default: int | None) -> tuple[int, ...]:
    """The versions that are whole on disk and newer than the one that answers because it is pinned,
    ascending."""
    pinned = target.pinned
    if pinned is None or default != pinned:
        return ()
    newer = (one.version for one in target.versions if one.version > pinned and one.whole)
    return tuple(sorted(v for v in newer if v not in target.out))


def pinned_words(model: str, held: Sequence[int], pinned: int) -> str:
    """What is held back and how to let go of it, "" where nothing is."""
    if not held:
        return ""
    who = f"version {held[0]} is" if len(held) == 1 else f"versions {numbers(held)} are"
    return (
        f"{who} held back: the model is pinned to version {pinned}"
        f" (to let go of the pin: {advice.unpin(model)})"
    )


def waiting_words(target: ModelTarget, default: int | None, unfit: Collection[int] = ()) -> str:
    """Which versions are newer than the one that answers and get nothing, for the weights give them
    nothing, and what lets them take over; "" where there are none. Those that are ``unfit``, for
    they failed or for their gates, and what its signature holds back have words of their own."""
    split = target.split
    if target.pinned is not None or default is None or not any(split.weights.values()):
        return ""
    newer = sorted(
        one.version
        for one in target.versions
        if one.version > default
        and one.whole
        and one.version not in target.out.union(split.versions, target.held, unfit)
    )
    if not newer:
        return ""
    who = f"version {newer[0]} waits" if len(newer) == 1 else f"versions {numbers(newer)} wait"
    if "weights" in target.fixed:
        return f"{who}: model.yaml says the weights"
    return (
        f"{who}: the weights give requests to others (to take over step by step:"
        f" {advice.roll_out(target.model, newer[-1])}; to let the newest version answer at once:"
        f" {advice.clear_weights(target.model)})"
    )


def numbers(versions: Sequence[int]) -> str:
    """The last ones by name, as many as make a line."""
    few = [str(version) for version in versions[-_MOST_NAMED:]]
    more = len(versions) - len(few)
    return f"{', '.join(few)}{f' and {more} more' if more else ''}"
