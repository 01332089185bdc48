"""What lies on disk and is not loaded, and what holds it back. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from serving.model_config.schema import VersionPolicy
from serving.models import advice
from serving.models.desired.candidates import Candidate, ModelTarget
from serving.models.reasons import BY_POLICY, NOBODY_ASKED
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
    return tuple(UnloadedVersion(candidate.version, _why(target, candidate)) for candidate in rest)


def _why(target: ModelTarget, candidate: Candidate) -> str:
    if candidate.version in target.out:
        return "unloaded by command"
    if target.dismissed(candidate.version):
        return NOBODY_ASKED.removeprefix("not loaded: ")
    if not candidate.whole:
        return candidate.note or "its files are not all there"
    return policy_words(target.policy)


def policy_words(policy: VersionPolicy) -> str:
    if policy.kind == "latest":
        return f"{BY_POLICY} latest {policy.latest}"
    if policy.kind == "specific":
        return f"{BY_POLICY} specific {numbers(policy.specific)}"
    return "its turn has not come"


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


def numbers(versions: Sequence[int]) -> str:
    """The last ones by name, as many as make a line."""
    few = [str(version) for version in versions[-_MOST_NAMED:]]
    more = len(versions) - len(few)
    return f"{', '.join(few)}{f' and {more} more' if more else ''}"
