"""What the history and the log say of commands, and of which version answers. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from serving.models.commands.command import (
    AcceptVersion,
    Command,
    FollowList,
    LoadModel,
    Rollback,
    SetAlias,
    SetDefault,
    SetRoute,
    UnloadModel,
)
from serving.models.commands.facts import Facts
from serving.models.desired.candidates import ModelTarget
from serving.models.state import Change
from serving.rollout.route import RouteChange, Split, split_words

_ASKED = "by command"
# The version that it is of, None: the model as a whole; what it is, and why.
Changed = tuple[int | None, Change, str]


def of_command(
    given: Command, resolved: Command, facts: Facts, by: str = "", reason: str = ""
) -> Changed | None:
    """``given`` as it came, from whom ``by`` names and why, ``resolved`` with the version that it
    amounts to; None: it ends a pin that there is not."""
    asked = f"{_ASKED} from {by}" if by else _ASKED
    asked += f" ({reason})" if reason else ""
    match resolved:
        case LoadModel(version=version, override=override):
            return version, Change.LOAD, asked + (", with what it brought" if override else "")
        case UnloadModel(version=version):
            return version, Change.UNLOAD, asked
        case FollowList():
            return None, Change.LOAD, f"{asked}, as the model config list says"
        case AcceptVersion(version=version):
            return version, Change.ACCEPTED, f"{asked}: its signature is the one to compare with"
        case SetDefault(version=int(version)) if isinstance(given, Rollback):
            return version, Change.ROLLBACK, f"{asked}, which pins it"
        case SetDefault(version=int(version)):
            return version, Change.PINNED, asked
        case SetDefault() if (pinned := facts.target.pinned) is not None:
            return pinned, Change.UNPINNED, asked
        case SetRoute():
            return None, Change.ROUTE, f"{split_words(_split_of(resolved, facts))}: {asked}"
        case SetAlias(alias=alias, version=version):
            return _of_alias(alias, facts.target.aliases.wanted.get(alias), version, asked)
    return None


def _split_of(command: SetRoute, facts: Facts) -> Split:
    return facts.target.split.changed(
        command.weights, command.sticky, command.shadows, command.base
    )


def of_route(resolved: Command, facts: Facts) -> str:
    """What a command changes about the route, in words; "": nothing."""
    pinned, aliases = facts.target.pinned, facts.target.aliases.wanted
    match resolved:
        case SetRoute():
            split = _split_of(resolved, facts)
            return split_words(split) if split != facts.target.split else ""
        case SetDefault(version=int(version)):
            return f"pinned to version {version}" if version != pinned else ""
        case SetDefault() if pinned is not None:
            return f"version {pinned} is pinned no more"
        case SetAlias(alias=alias, version=int(version)):
            return (
                f"alias '{alias}' names version {version}" if aliases.get(alias) != version else ""
            )
        case SetAlias(alias=alias):
            return f"alias '{alias}' is taken away"
    return ""


def _of_alias(alias: str, was: int | None, now: int | None, asked: str) -> Changed:
    if now is None:
        return was, Change.ALIAS_REMOVED, f"'{alias}': {asked}"
    before = f"in place of version {was}; " if was not in (None, now) else ""
    return now, Change.ALIAS, f"'{alias}': {before}{asked}"


def of_list(
    was: Mapping[str, int],
    now: Mapping[str, int],
    labels: Collection[str],
    dropped: Collection[str] = (),
    by: str = "the model config list",
) -> Iterator[Changed]:
    """Of the aliases that a model config list, or whoever is meant ``by``, says, where they name
    other versions than before, and of those that it says no more."""
    for alias in sorted(labels):
        if alias in now and now[alias] != was.get(alias):
            before = f"in place of version {was[alias]}; " if alias in was else ""
            yield now[alias], Change.ALIAS, f"'{alias}': {before}{by} says so"
    for alias in sorted(dropped):
        if alias in was and alias not in now:
            words = f"'{alias}': {by} says it no more"
            yield was[alias], Change.ALIAS_REMOVED, words


def of_take_over(target: ModelTarget, now: int, at: float) -> RouteChange:
    """That version ``now`` answers in place of the one that did. ``at``: seconds since the
    epoch."""
    by = "version policy"
    if target.pinned is not None:
        by = "pin"
    elif target.split.weights:
        by = "weights"
    return RouteChange(at, by, f"version {now} answers in place of version {target.answered}")


def of_default(
    target: ModelTarget, was: int | None, now: int | None, ready: Collection[int]
) -> Changed | None:
    """``was`` and ``now``: the versions that answer unnamed requests; None: nothing changed."""
    if now == was:
        return None
    if now is None:
        return (was, Change.NO_DEFAULT, "no version answers any more") if was else None
    why = "it is pinned" if now == target.pinned else ""
    if was is not None:
        gone = "" if was in ready else ", which is ready no more"
        why = "; ".join(filter(None, [f"in place of version {was}{gone}", why]))
    return now, Change.DEFAULT, why


def in_words(given: Command, resolved: Command, facts: Facts) -> dict[str, object]:
    """For the log: ``given`` as it came, ``resolved`` with the version that it amounts to, if any;
    ``facts``: as they were before it."""
    kind = type(given).__name__.removesuffix("Model").lower()
    named = {"version": getattr(resolved, "version", None)}
    if isinstance(resolved, SetDefault):
        named["was"] = facts.default
    alias = {"alias": given.alias} if isinstance(given, SetAlias) else {}
    known = {key: version for key, version in named.items() if version}
    split = {"route": split_words(_split_of(given, facts))} if isinstance(given, SetRoute) else {}
    return {"command": kind, **alias, **split, **known}
