"""Commands about who answers whom: aliases, and how requests are divided. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from serving.errors import ErrorCode
from serving.model_config.route import MOST_ALIASES
from serving.models import advice
from serving.models.commands.command import Outcome, SetAlias, SetRoute
from serving.models.commands.facts import Facts, missing, not_found
from serving.rollout.route import Split, why_no_split

# Aliases that an error names.
_MOST_NAMED = 4


def refusal(command: SetAlias | SetRoute, facts: Facts) -> Outcome | None:
    """Why the command can't be carried out at all; None: it can."""
    if isinstance(command, SetAlias):
        return _refused_alias(command, facts)
    return _refused_route(command, facts)


def _refused_alias(command: SetAlias, facts: Facts) -> Outcome | None:
    """An alias names only what answers: whoever asks by it is answered at once."""
    aliases, shown = facts.target.aliases.wanted, command.alias
    if shown in facts.target.aliases.fixed:
        by = facts.target.aliases.by
        words = f"{by} says what '{shown}' of model '{facts.model}' names"
        return Outcome(ErrorCode.FAILED_PRECONDITION, words, facts.default)
    if command.version is None and shown in aliases:
        return None
    if not (facts.found or facts.slots or facts.overridden):
        return not_found(facts, None)
    if command.version is None:
        known = f"; its aliases: {_few(sorted(aliases))}" if aliases else ""
        words = f"model '{facts.model}' has no alias '{shown}'{known}"
        return Outcome(ErrorCode.NOT_FOUND, words, facts.default)
    if not facts.is_loaded(command.version):
        return not_available(command.version, facts)
    if shown not in aliases and len(aliases) >= MOST_ALIASES:
        words = f"model '{facts.model}' has {MOST_ALIASES} aliases, the most that it can have"
        return Outcome(ErrorCode.BAD_REQUEST, words, facts.default)
    return None


def _refused_route(command: SetRoute, facts: Facts) -> Outcome | None:
    """What shares requests has to be on disk or loaded, and to fit its callers."""
    now = facts.target.split
    split = now.changed(command.weights, command.sticky, command.shadows, command.base)
    why = why_no_split(split)
    if command.sticky and not split.weights:
        why = "there are no weights: with one version for all nobody needs a key to keep it"
    if fixed := _fixed_part(command, facts):
        words = f"model.yaml says the {fixed} of model '{facts.model}'"
        return Outcome(ErrorCode.FAILED_PRECONDITION, words, facts.default)
    if why:
        return Outcome(ErrorCode.BAD_REQUEST, why, facts.default)
    if not (facts.found or facts.slots or facts.overridden):
        return not_found(facts, None)
    for version in sorted(split.versions - now.versions):
        if not facts.is_loaded(version) and (absent := missing(facts, version)) is not None:
            return absent
    return _unable(command, split, facts)


def _fixed_part(command: SetRoute, facts: Facts) -> str:
    """What of it no command may change, "" where it may."""
    fixed = facts.target.fixed
    if "weights" in fixed and (command.weights, command.sticky) != (None, None):
        return "weights"
    return "shadows" if "shadows" in fixed and command.shadows is not None else ""


def _unable(command: SetRoute, split: Split, facts: Facts) -> Outcome | None:
    """What is there must be let answer, or be comparable."""
    now = facts.target.split
    for version in sorted(split.weights.keys() - now.weights.keys()):
        if (shut := facts.shut_by_gates(version)) is not None:
            return shut
    if command.shadows and (refused := unfit_shadow(command.shadows, facts)) is not None:
        return refused
    held = [v for v in split.versions & facts.target.held if split.weights.get(v)]
    if held and command.weights is not None:
        version = min(held)
        words = (
            f"version {version} of model '{facts.model}' is held back for its signature (to let it"
            f" answer: {advice.accept(facts.model, version)})"
        )
        return Outcome(ErrorCode.FAILED_PRECONDITION, words, facts.default)
    return None


def unfit_shadow(shadows: Collection[int], facts: Facts) -> Outcome | None:
    """A shadow's answers are compared with those of the version that answers: it is another one,
    and of the same signature. Its gates need not have blessed it."""
    for version in sorted(shadows):
        if version == facts.default:
            words = (
                f"version {version} of model '{facts.model}' answers requests: a shadow is a"
                " version that doesn't"
            )
            return Outcome(ErrorCode.FAILED_PRECONDITION, words, facts.default)
        if version in facts.target.held:
            words = (
                f"version {version} of model '{facts.model}' is held back for its signature: its"
                " answers can't be compared (to let it, and have it answer:"
                f" {advice.accept(facts.model, version)})"
            )
            return Outcome(ErrorCode.FAILED_PRECONDITION, words, facts.default)
    return None


def _few(aliases: Sequence[str]) -> str:
    more = len(aliases) - _MOST_NAMED
    return ", ".join(aliases[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def not_available(version: int, facts: Facts) -> Outcome:
    """TensorFlow Serving's words; its clients look for them."""
    words = (
        f"Request to assign label to version {version} of model {facts.model}, which is not"
        f" currently available for inference ({_whynot_available(version, facts)})"
    )
    return Outcome(ErrorCode.FAILED_PRECONDITION, words, facts.default)


def _whynot_available(version: int, facts: Facts) -> str:
    """The state that it is in, with its reason; how to load it only where it isn't."""
    mine = [slot for slot in facts.slots if slot.version == version and not slot.leaving]
    if mine:
        newest = max(mine, key=lambda slot: slot.id)
        if newest.gate_words:
            return f"it {'is ' if not newest.is_judged else ''}{newest.gate_words}"
        return f"it is {newest.state.lower()}{f': {newest.reason}' if newest.reason else ''}"
    if not facts.has(version):
        return "in no model directory"
    return f"to load it: {advice.load(facts.model, version)}"


def alias_outcome(command: SetAlias, facts: Facts) -> Outcome | None:
    version = command.version
    if facts.target.aliases.now.get(command.alias) == version:
        return Outcome(version=facts.default)
    if version is not None and not facts.is_loaded(version):
        return not_available(version, facts)
    return None
