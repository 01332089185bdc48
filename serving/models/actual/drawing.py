"""From slots to the frozen views that everyone else reads."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from serving.loading.facts import VersionFacts
from serving.model_config import ModelConfig
from serving.models.actual.routes import route_of
from serving.models.advice import unpin
from serving.models.desired.candidates import Candidate, ModelTarget
from serving.models.desired.choosing import desired_if_whole
from serving.models.desired.on_disk import held_by_pin, pinned_words, unloaded, waiting_words
from serving.models.reasons import Absence
from serving.models.state import Passage, Slot, State
from serving.models.views import ModelView, Process, VersionView
from serving.rollout.plan import shadows_in_force, weights_in_force

if TYPE_CHECKING:
    from serving import _core

# Which of a version's slots stands for it, most telling first.
_RANK = {
    state: rank
    for rank, state in enumerate(
        (State.READY, State.WARMING, State.LOADING, State.NEW, State.FAILED, State.DRAINING)
    )
}

_TOLD_OF_GATES = {
    State.WARMING: "waits for the verdict of its gates",
    State.FAILED: "kept from traffic by its gates",
}

# Aliases of a version, and versions with aliases, that a reason names.
_MOST_NAMED = 4
# The model is out as a whole, and with it what its aliases name.
_MEANT = (Absence.BY_COMMAND, Absence.NOBODY_ASKED)


class Loaded(Protocol):
    """What the loader hands over: a version that may serve."""

    @property
    def queue(self) -> _core.Queue: ...
    @property
    def facts(self) -> VersionFacts: ...
    @property
    def process(self) -> Process | None: ...
    def look_beside(self, folder: Path) -> bool:
        """Take up what of the model's folder changes in place. Reads files; whether ``facts`` are
        others."""
        ...

    def shut(self) -> bool:
        """Take no more requests; whether it is at rest: nothing in it must be waited for."""
        ...

    def close(self, timeout: float) -> bool:
        """Whether all that was running or waiting ended within ``timeout`` seconds."""
        ...


@dataclass(frozen=True, slots=True)
class SlotFacts:
    """A slot with what belongs to it outside the state machine."""

    slot: Slot
    config: ModelConfig | None
    loaded: Loaded | None
    stats: _core.Stats | None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of a model beside its slots: ``error`` says what is wrong with it,
    ``default`` answers unnamed requests and ``previous`` did before; ``held_out``: it was
    unloaded by command; ``held_back``: version -> why its signature keeps it from answering."""

    target: ModelTarget
    error: str = ""
    default: int | None = None
    previous: int | None = None
    held_out: bool = False
    held_back: Mapping[int, str] = field(default_factory=dict)


def model_view(facts: ModelFacts, served: Sequence[SlotFacts]) -> ModelView:
    target = facts.target
    versions = [_version_view(_foremost(group)) for group in _by_version(served).values()]
    known = {view.number for view in versions}
    coming = (candidate for candidate in _coming(target) if candidate.version not in known)
    versions += [_coming_view(candidate) for candidate in coming]
    versions.sort(key=lambda view: view.number)
    versions = [_held_back(view, facts) for view in versions]
    unready = _unready_words(versions, facts)
    absence = None if unready else _absence(facts)
    told = [*_alias_words(target, versions), *_split_words(facts, versions)]
    aliases = "" if absence in _MEANT else _joined(told)
    why, own = _reasons(versions, facts, unready, absence or facts.error)
    reason = _joined([why, aliases])
    rest = unloaded(target, {view.number for view in versions})
    return ModelView(
        name=target.model,
        versions=tuple(versions),
        # Clients are told of no aliases but the one that they asked by.
        route=route_of(
            *(versions, facts.default, _for_clients(why, versions, facts, absence or facts.error)),
            *(rest, target.aliases.now, target.split),
            weights_in_force(target.split, target.held, target.pinned, facts.default),
            shadows_in_force(target.split, target.held, facts.default),
        ),
        reason=reason,
        pinned=target.pinned,
        previous=facts.previous,
        held_out=facts.held_out,
        unloaded=rest,
        own_reason=_joined([own, aliases]),
        answered=target.answered,
        absence=absence,
        split=target.split,
        canary=target.canary,
    )


def _for_clients(why: str, versions: Sequence[VersionView], facts: ModelFacts, first: str) -> str:
    """Without what gates found: figures are for operators."""
    if not any(view.gated for view in versions):
        return why
    told = [replace(v, reason=_TOLD_OF_GATES[v.state]) if v.gated else v for v in versions]
    return _reasons(told, facts, _unready_words(told, facts), first)[0]


def _reasons(
    versions: Sequence[VersionView], facts: ModelFacts, unready: str, first: str
) -> tuple[str, str]:
    """The model's, and what of it no version says of itself, ``first`` to begin with."""
    target, default = facts.target, facts.default
    told = [f"version {number} {why}" for number, why in sorted(facts.held_back.items())]
    unfit = {view.number for view in versions if view.gated or view.state is State.FAILED}
    own = [
        first,
        _pin_words(facts, versions),
        pinned_words(target.model, held_by_pin(target, default), target.pinned or 0),
        waiting_words(target, default, unfit),
    ]
    said = {view.reason for view in versions}
    mine = [words for words in own if words not in said]
    return _joined([unready, *own, *told]), _joined(mine)


def _joined(words: Iterable[str]) -> str:
    return "; ".join(filter(None, words))


def _held_back(view: VersionView, facts: ModelFacts) -> VersionView:
    why = facts.held_back.get(view.number, "")
    if view.state is not State.READY or not why:
        return view
    return replace(view, reason=_joined([why, view.reason]), held_back=True)


def _pin_words(facts: ModelFacts, versions: Sequence[VersionView]) -> str:
    """Why the pinned version does not answer, "" where it does."""
    number, default = facts.target.pinned, facts.default
    if number is None or number == default:
        return ""
    state = _state_words(facts.target, versions, number)
    who = f"version {default} answers until it is" if default is not None else "nothing answers"
    return f"version {number} is pinned and not ready ({state}); {who}"


def _alias_words(target: ModelTarget, versions: Sequence[VersionView]) -> Iterator[str]:
    """Of the aliases whose versions can't answer, by version."""
    ready = {version.number for version in versions if version.state is State.READY}
    found: dict[tuple[int, int], list[str]] = {}
    for alias, number in sorted(target.aliases.wanted.items()):
        if number not in ready:
            now = target.aliases.now.get(alias, number)
            found.setdefault((number, now), []).append(f"'{alias}'")
    told = sorted(found.items(), reverse=True)
    for (number, now), aliases in told[:_MOST_NAMED]:
        state = _state_words(target, versions, number)
        them = "it" if len(aliases) == 1 else "them"
        stays = f"version {now} answers to {them} until it is"
        who = stays if now != number else "nothing answers"
        yield f"{_named(aliases)} version {number}, which is not ready ({state}); {who}"
    if more := sum(len(aliases) for _, aliases in told[_MOST_NAMED:]):
        yield f"{more} more alias{'es' if more > 1 else ''} name other versions that are not ready"


def _split_words(facts: ModelFacts, versions: Sequence[VersionView]) -> Iterator[str]:
    """Why requests are divided otherwise than was said."""
    target, default = facts.target, facts.default
    if target.split.weights and target.pinned is not None:
        yield f"its weights wait: the model is pinned (to let go of the pin: {unpin(target.model)})"
        return
    ready = {version.number for version in versions if version.state is State.READY}
    others = f"version {default} has its share" if default is not None else "nothing answers"
    for number, weight in target.split.weights.items():
        if number in ready and number in target.held and number != default:
            yield f"version {number} is held back and gets nothing of its weight; {others}"
        elif number not in ready and weight:
            state = _state_words(target, versions, number)
            yield f"version {number} has a weight and is not ready ({state}); {others}"
    yield from _shadow_words(facts, versions, ready)


def _shadow_words(
    facts: ModelFacts, versions: Sequence[VersionView], ready: Collection[int]
) -> Iterator[str]:
    """Why shadows get no copies."""
    gated = {view.number for view in versions if view.gated}
    for number in facts.target.split.shadows:
        if number == facts.default:
            yield f"shadow {number} answers requests itself, and gets no copies"
        elif number in facts.target.held:
            yield f"shadow {number} is held back for its signature, and gets no copies"
        elif number not in ready and number not in gated:
            state = _state_words(facts.target, versions, number)
            yield f"shadow {number} is not ready ({state})"


def _named(aliases: Sequence[str]) -> str:
    if len(aliases) == 1:
        return f"alias {aliases[0]} names"
    more = len(aliases) - _MOST_NAMED
    words = ", ".join(aliases[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"aliases {words} name"


def _state_words(target: ModelTarget, versions: Sequence[VersionView], number: int) -> str:
    """Of a version that is not ready."""
    version = next((version for version in versions if version.number == number), None)
    if version is None:
        return "not loaded" if target.of(number) else "not on disk"
    return f"{version.state.lower()}{f': {version.reason}' if version.reason else ''}"


def _by_version(served: Iterable[SlotFacts]) -> dict[int, list[SlotFacts]]:
    groups: dict[int, list[SlotFacts]] = {}
    for one in served:
        if one.slot.state is not State.GONE:
            groups.setdefault(one.slot.version, []).append(one)
    return groups


def _foremost(group: Sequence[SlotFacts]) -> SlotFacts:
    return min(group, key=lambda one: (_RANK[one.slot.state], _is_gated(one.slot), -one.slot.id))


def _is_gated(slot: Slot) -> bool:
    return slot.state is State.READY and not slot.takes_traffic


def _coming(target: ModelTarget) -> Iterable[Candidate]:
    """Versions that are not whole and would be desired if they were."""
    if all(candidate.whole for candidate in target.versions):
        return ()
    return [candidate for candidate in desired_if_whole(target) if not candidate.whole]


def _version_view(served: SlotFacts) -> VersionView:
    slot, loaded = served.slot, served.loaded
    if loaded is None or slot.state not in (State.READY, State.DRAINING):
        return VersionView(
            number=slot.version,
            state=slot.state,
            origin=slot.origin,
            reason=slot.reason,
            facts=VersionFacts(config=served.config),
            stats=served.stats,
        )
    view = VersionView(
        number=slot.version,
        state=slot.state,
        origin=slot.origin,
        reason=slot.remark or slot.reason,
        facts=_in_force(loaded.facts, served.config),
        ready_since=slot.ready_since,
        stats=served.stats,
        queue=loaded.queue,
        process=loaded.process,
        verdict=slot.verdict,
    )
    return _gated(view, slot) if _is_gated(slot) else view


def _gated(view: VersionView, slot: Slot) -> VersionView:
    """To all others a version that takes no traffic is not ready."""
    state = State.FAILED if slot.passage is Passage.SHUT else State.WARMING
    return replace(view, state=state, reason=slot.gate_words, ready_since=None, gated=True)


def _in_force(facts: VersionFacts, latest: ModelConfig | None) -> VersionFacts:
    """With the configuration that it was loaded with; the version policy, what the request log
    keeps and the gates change in place."""
    if facts.config is None or latest is None:
        return facts
    config = replace(
        facts.config,
        version_policy=latest.version_policy,
        request_log=latest.request_log,
        gates=latest.gates,
    )
    return facts if config == facts.config else replace(facts, config=config)


def _coming_view(candidate: Candidate) -> VersionView:
    slot = Slot(0, candidate.key, candidate.origin, 0.0, reason=candidate.note)
    return _version_view(SlotFacts(slot, None, None, None))


def _unready_words(versions: Sequence[VersionView], facts: ModelFacts) -> str:
    """Of the newest, where nothing answers for it; one that is ready is held back."""
    if facts.error or facts.default is not None or facts.held_out:
        return ""
    others = [view for view in versions if view.state is not State.READY]
    if not others:
        return ""
    newest = others[-1]
    if newest.gated:
        return f"version {newest.number} {_gated_words(newest)}"
    state = "is loading" if newest.state is not State.FAILED else "could not be loaded"
    return f"version {newest.number} {state}{f': {newest.reason}' if newest.reason else ''}"


def _gated_words(view: VersionView) -> str:
    return f"is {view.reason}" if view.state is State.FAILED else view.reason


def _absence(facts: ModelFacts) -> Absence | None:
    """Why nothing is to answer; None where something does, or more is wrong."""
    if facts.error or facts.default is not None:
        return None
    if facts.held_out:
        return Absence.BY_COMMAND
    target = facts.target
    if not target.wanted and not target.extra:
        return Absence.NOBODY_ASKED
    return Absence.BY_POLICY if target.versions else Absence.NO_VERSION
