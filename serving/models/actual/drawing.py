"""From slots to the frozen views that everyone else reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from serving.loading.batching.cost import CostCurve
from serving.model_config import ModelConfig
from serving.models.desired.answers import pin_words
from serving.models.desired.candidates import Candidate, ModelTarget
from serving.models.desired.on_disk import held_by_pin, pinned_words, unloaded
from serving.models.desired.policy import desired_if_whole
from serving.models.reasons import NOBODY_ASKED, NONE_BY_POLICY
from serving.models.state import Slot, State
from serving.models.views import ModelView, Process, VersionView
from serving.signature import Signature

if TYPE_CHECKING:
    from serving import _core

# Which of a version's slots stands for it, most telling first.
_RANK = {
    state: rank
    for rank, state in enumerate(
        (State.READY, State.WARMING, State.LOADING, State.NEW, State.FAILED, State.DRAINING)
    )
}
_NO_NODES: Mapping[str, int] = MappingProxyType({})


class Verdict(Protocol):
    """Whether a version is batched, in words; ``max_rows`` 0: it is not."""

    @property
    def words(self) -> str: ...
    @property
    def max_rows(self) -> int: ...


class Loaded(Protocol):
    """What the loader hands over: a version that may serve."""

    @property
    def queue(self) -> _core.Queue: ...
    @property
    def signature(self) -> Signature: ...
    @property
    def config(self) -> ModelConfig: ...
    @property
    def verdict(self) -> Verdict: ...
    @property
    def provider(self) -> str: ...
    @property
    def provider_nodes(self) -> Mapping[str, int]: ...
    @property
    def threads(self) -> int: ...
    @property
    def load_seconds(self) -> float: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def memory_bytes(self) -> int: ...
    @property
    def cost(self) -> CostCurve | None: ...
    @property
    def isolated(self) -> str: ...
    @property
    def checked(self) -> bool: ...
    @property
    def process(self) -> Process | None: ...
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
    """What is known of a model beside its slots: ``words`` say what is wrong with it,
    ``default`` answers unnamed requests and ``previous`` did before; ``held_out``: it was
    unloaded by command; ``held_back``: version -> why its signature keeps it from answering."""

    target: ModelTarget
    words: str = ""
    default: int | None = None
    previous: int | None = None
    held_out: bool = False
    held_back: Mapping[int, str] = field(default_factory=dict)


def model_view(facts: ModelFacts, served: Sequence[SlotFacts]) -> ModelView:
    target, default = facts.target, facts.default
    versions = [_version_view(_foremost(group)) for group in _by_version(served).values()]
    known = {view.number for view in versions}
    coming = (candidate for candidate in _coming(target) if candidate.version not in known)
    versions += [_unloaded(candidate) for candidate in coming]
    versions.sort(key=lambda view: view.number)
    versions = [_held_back(view, facts) for view in versions]
    reason, own = _reasons(versions, facts)
    return ModelView(
        target.model,
        tuple(versions),
        default,
        reason,
        target.pinned,
        facts.previous,
        facts.held_out,
        unloaded(target, {view.number for view in versions}),
        own,
        target.answered,
    )


def _reasons(versions: Sequence[VersionView], facts: ModelFacts) -> tuple[str, str]:
    """The model's, and what of it no version says of itself."""
    target, default = facts.target, facts.default
    told = [f"version {number} {why}" for number, why in sorted(facts.held_back.items())]
    own = [
        facts.words,
        _pin_words(facts, versions),
        pinned_words(target.model, held_by_pin(target, default), target.pinned or 0),
    ]
    unready = ""
    if not facts.words and default is None:
        unready = "" if facts.held_out else _unready_words(versions)
        own[0] = "" if unready else _why_none(facts)
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
    pinned = next((v for v in versions if v.number == facts.target.pinned), None)
    if pinned is None:
        state = "not loaded" if facts.target.of(facts.target.pinned or 0) else "not on disk"
    else:
        state = f"{pinned.state.lower()}{f': {pinned.reason}' if pinned.reason else ''}"
    return pin_words(facts.target, facts.default, state)


def _by_version(served: Iterable[SlotFacts]) -> dict[int, list[SlotFacts]]:
    groups: dict[int, list[SlotFacts]] = {}
    for one in served:
        if one.slot.state is not State.GONE:
            groups.setdefault(one.slot.version, []).append(one)
    return groups


def _foremost(group: Sequence[SlotFacts]) -> SlotFacts:
    return min(group, key=lambda one: (_RANK[one.slot.state], -one.slot.id))


def _coming(target: ModelTarget) -> Iterable[Candidate]:
    """Versions that are not whole and would be desired if they were."""
    if all(candidate.whole for candidate in target.versions):
        return ()
    return [candidate for candidate in desired_if_whole(target) if not candidate.whole]


def _version_view(served: SlotFacts) -> VersionView:
    slot, loaded = served.slot, served.loaded
    answers = loaded is not None and slot.state in (State.READY, State.DRAINING)
    if loaded is None or not answers:
        return _plain(slot, served)
    return VersionView(
        number=slot.version,
        state=slot.state,
        reason=slot.remark or slot.reason,
        signature=loaded.signature,
        config=_in_force(loaded.config, served.config),
        max_rows=loaded.verdict.max_rows,
        batching_words=loaded.verdict.words,
        provider=loaded.provider,
        provider_nodes=loaded.provider_nodes,
        threads=loaded.threads,
        instances=loaded.config.instances,
        ready_since=slot.ready_since,
        stats=served.stats,
        queue=loaded.queue,
        origin=slot.origin,
        left_out=tuple(map(str, loaded.signature.left_out)),
        load_seconds=loaded.load_seconds,
        notes=loaded.notes,
        memory_bytes=loaded.memory_bytes,
        cost=loaded.cost,
        isolated=loaded.isolated,
        checked=loaded.checked,
        process=loaded.process,
    )


def _in_force(loaded: ModelConfig, latest: ModelConfig | None) -> ModelConfig:
    """What the version was loaded with; the version policy and what the request log keeps
    change in place."""
    if latest is None:
        return loaded
    return replace(loaded, version_policy=latest.version_policy, request_log=latest.request_log)


def _plain(slot: Slot, served: SlotFacts) -> VersionView:
    return VersionView(
        number=slot.version,
        state=slot.state,
        reason=slot.reason,
        signature=None,
        config=served.config,
        max_rows=0,
        batching_words="",
        provider="",
        provider_nodes=_NO_NODES,
        threads=0,
        instances=0,
        ready_since=None,
        stats=served.stats,
        queue=None,
        origin=slot.origin,
        left_out=(),
        load_seconds=None,
    )


def _unloaded(candidate: Candidate) -> VersionView:
    slot = Slot(0, candidate.key, candidate.origin, 0.0, reason=candidate.note)
    return _plain(slot, SlotFacts(slot, None, None, None))


def _unready_words(versions: Sequence[VersionView]) -> str:
    """Of the newest; one that is ready is held back."""
    others = [view for view in versions if view.state is not State.READY]
    if not others:
        return ""
    newest = others[-1]
    state = "is loading" if newest.state is not State.FAILED else "could not be loaded"
    return f"version {newest.number} {state}{f': {newest.reason}' if newest.reason else ''}"


def _why_none(facts: ModelFacts) -> str:
    if facts.held_out:
        return "unloaded by command"
    target = facts.target
    if not target.wanted and not target.extra:
        return NOBODY_ASKED
    if target.versions:
        return NONE_BY_POLICY
    return "it has no version"
