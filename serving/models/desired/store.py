"""The desired state of each model: what its folder says, and what commands decided over that."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from serving.model_config import ModelConfig
from serving.models.commands.command import (
    AcceptVersion,
    Command,
    FollowList,
    LoadModel,
    SetAlias,
    SetDefault,
    SetRoute,
    UnloadModel,
)
from serving.models.commands.uploads import Upload
from serving.models.desired import choosing, kept, overrides
from serving.models.desired.candidates import (
    Candidate,
    ModelTarget,
    merged,
    on_disk,
    version_policy,
)
from serving.models.desired.overrides import NOTHING, Overrides
from serving.models.desired.route_history import RouteHistory
from serving.models.desired.timers import Timers
from serving.models.state import Slot, State
from serving.registry.configs import fingerprint
from serving.registry.snapshot import FoundModel, KnownConfig, Listed
from serving.rollout.plan import Aliases
from serving.rollout.route import RouteChange
from serving.settings import Settings
from serving.signature import Signature
from serving.state_dir import StateDir

EVERY = "*"
# Who answered is written a moment later, together with what else changes at a start.
_SAVE_WITHIN_S = 1.0


@dataclass(frozen=True, slots=True)
class _Replacement:
    """A configuration in place of the one beside the versions, and files in place of theirs."""

    known: KnownConfig
    upload: Upload | None


@dataclass(frozen=True, slots=True)
class _Taken:
    """In ``explicit``: a model as its folder was when a command loaded it; what changes there
    later does not count."""

    known: KnownConfig
    versions: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a look at a model's folder came to; ``listed``: what a model config list says of it,
    ``delisted``: it was taken out of one, ``withdrawn``: and is nowhere else."""

    versions: tuple[Candidate, ...] = ()
    unknown: bool = False
    listed: Listed | None = None
    withdrawn: bool = False
    delisted: bool = False


_NOT_SEEN = _Seen()


class DesiredState:
    """The desired state of all models. Used by the manager's loop only. What is on disk comes in
    by ``see``, commands by ``apply``; whoever asks changes nothing.

    What commands decided is kept in one document of the state directory, the signatures that
    callers rely on in another. Configurations and files that came with a load call are not kept:
    they hold until the next load without them, or the end of the process.
    """

    def __init__(self, settings: Settings, state: StateDir | None) -> None:
        self._mode = settings.model_control
        self._keep_s = settings.rollout.keep_previous_s
        self._named = frozenset(settings.load_models)
        self._state = state
        self._overrides = kept.read_overrides(state, self._mode)
        self._documents = overrides.Documents(self._overrides, self._mode)
        self.signatures = kept.read_signatures(state)
        # Models that answered callers whose signature is not kept: the document is damaged.
        self.signatures_lost = frozenset(
            model
            for model, current in self._overrides.items()
            if current.answered is not None and self.signatures.of(model) is None
        )
        self._signatures_changed = False
        # Models that commands were given for, while the directory may still become ours.
        waits = state is not None and not state.is_ours
        self._commanded: set[str] | None = set() if waits else None
        # Versions whose very files a command asked for, until they are loaded; of no other models.
        self._exact: dict[str, frozenset[int]] = {}
        self._replacements: dict[str, _Replacement] = {}
        self._taken: dict[str, _Taken] = {}
        # As the sources last read them, and of those what counts.
        self._read: dict[str, KnownConfig] = {}
        self._in_force: dict[str, KnownConfig] = {}
        self._seen: dict[str, _Seen] = {}
        # Models whose previous version is kept, and until when (epoch seconds).
        self._keeping = Timers(
            {
                model: current.kept_until
                for model, current in self._overrides.items()
                if current.previous is not None
            }
        )
        self._save_at = float("inf")
        self.route_history = RouteHistory(state)

    # What is wanted.

    def overrides_of(self, model: str) -> Overrides:
        return self._overrides.get(model, NOTHING)

    def begin(self, models: Collection[str]) -> None:
        """Take the models that are there at the start: ``*`` in ``load_models`` means these, and
        none that come later."""
        if EVERY in self._named:
            self._named |= set(models)

    def is_wanted(self, model: str) -> bool:
        seen = self._seen.get(model, _NOT_SEEN)
        if seen.withdrawn:
            return False
        named = model in self._named or seen.listed is not None
        return overrides.is_wanted(self.overrides_of(model), self._mode, named)

    def is_held_out(self, target: ModelTarget) -> bool:
        """Whether a command unloaded the model, and nothing of it was asked for since."""
        current = self.overrides_of(target.model)
        if current.whole is False:
            return not current.versions and not target.beside
        return bool(current.out) and all(
            target.dismissed(candidate.version) for candidate in target.versions
        )

    def known(self, model: str) -> KnownConfig | None:
        """The configuration in force, as last seen."""
        return self._in_force.get(model)

    def uploaded(self) -> dict[str, FoundModel]:
        """The models whose files came with a command."""
        found = {model: self.uploaded_of(model) for model in self._replacements}
        return {model: one for model, one in found.items() if one is not None}

    def uploaded_of(self, model: str) -> FoundModel | None:
        """What came with a command."""
        replacement = self._replacements.get(model)
        upload = replacement.upload if replacement is not None else None
        return upload.found if upload is not None else None

    def uploads(self) -> list[Upload]:
        return [one.upload for one in self._replacements.values() if one.upload is not None]

    def keep_only(self, models: Collection[str]) -> None:
        """Forget what was seen of all other models."""
        for seen in (self._read, self._seen):
            for model in seen.keys() - set(models):
                del seen[model]
        for model in self._in_force.keys() - set(models) - self._taken.keys():
            del self._in_force[model]

    def see(
        self, model: str, found: FoundModel | None, unseen: bool, *, withdrawn: bool = False
    ) -> None:
        """Take up what is on disk of a model. ``found``: None where it was not found; ``unseen``:
        it may be there all the same, for its directory could not be read; ``withdrawn``: it was
        taken out of a model config list."""
        listed = found.listed if found is not None else None
        found = self.uploaded_of(model) or found
        delisted, withdrawn = withdrawn, withdrawn and found is None
        self._yield_aliases(model, listed)
        # What follows asks whether it is wanted.
        self._seen[model] = _Seen(listed=listed, withdrawn=withdrawn)
        unknown = bool(found.error) if found is not None else unseen and not withdrawn
        versions = () if unknown else self._take_up(model, found)
        self._seen[model] = _Seen(versions, unknown, listed, withdrawn, delisted)

    def _yield_aliases(self, model: str, listed: Listed | None) -> None:
        """What the list names from now on commands name no more, also when the list no longer does:
        nothing moves back to where nobody said so lately."""
        current, labels = self.overrides_of(model), listed.labels if listed is not None else {}
        kept = {alias: one for alias, one in current.aliases.items() if alias not in labels}
        if len(kept) != len(current.aliases):
            self._put(model, replace(current, aliases=kept))
            self._save_at = float("-inf")

    def target(self, model: str, unseen: bool, now: float) -> ModelTarget:
        """All that the policy needs of one model, as it was last seen. ``unseen``: one that never
        was may be there all the same. ``now``: epoch seconds."""
        current = self.overrides_of(model)
        seen = self._seen.get(model) or _Seen(unknown=unseen)
        aliases = _aliases(current, seen.listed)
        keeps = current.previous is not None and now < current.kept_until
        return ModelTarget(
            model=model,
            versions=seen.versions,
            policy=version_policy(self._in_force.get(model), seen.versions),
            unknown=seen.unknown,
            wanted=self.is_wanted(model),
            extra=frozenset() if seen.withdrawn else current.versions,
            beside=frozenset()
            if seen.withdrawn
            else current.beside & (aliases.versions | current.split.versions),
            out=overrides.held_out(
                current, {candidate.version: candidate.key.files for candidate in seen.versions}
            ),
            pinned=current.pin,
            kept=current.previous if keeps else None,
            answered=current.answered,
            aliases=aliases,
            split=current.split,
            withdrawn=seen.withdrawn,
            delisted=seen.delisted and current.whole is not False,
        )

    def _take_up(self, model: str, found: FoundModel | None) -> tuple[Candidate, ...]:
        taken = self._taken.get(model)
        known = taken.known if taken is not None else self._configuration(model, found)
        if known is not None:
            self._in_force[model] = known
        exact = self._exact.get(model, frozenset())
        versions = on_disk(found, known, exact) if found is not None else ()
        if self._mode != "explicit" or (found is not None and found.listed is not None):
            return versions
        if taken is not None:
            versions = merged(
                taken.versions, {candidate.version: candidate for candidate in versions}
            )
        if not self.is_wanted(model) and not self.overrides_of(model).by_number:
            self._taken.pop(model, None)
        elif known is not None and (taken is not None or (found and found.config_settled)):
            self._taken[model] = _Taken(known, versions)
        return versions

    def _configuration(self, model: str, found: FoundModel | None) -> KnownConfig | None:
        replacement = self._replacements.get(model)
        if replacement is not None:
            return replacement.known
        if found is not None and found.config is not None:
            self._read[model] = _with_policy(found.config, self._read.get(model))
        return self._read.get(model)

    def asked_exactly(self) -> Collection[str]:
        """The models of which a command asked for the very files, until they are loaded."""
        return self._exact.keys()

    def settle_exact(self, target: ModelTarget, slots: Sequence[Slot]) -> bool:
        """Files that were asked for and are loaded may change again; whether any were."""
        asked = self._exact.get(target.model)
        if not asked:
            return False
        rest = frozenset(version for version in asked if not _is_loaded(target, version, slots))
        if rest == asked:
            return False
        self._put_exact(target.model, rest)
        return True

    def _put_exact(self, model: str, versions: frozenset[int]) -> None:
        if versions:
            self._exact[model] = versions
        else:
            self._exact.pop(model, None)

    # What commands and time change.

    def apply(
        self, command: Command, upload: Upload | None, target: ModelTarget, slots: Sequence[Slot]
    ) -> None:
        """``target`` and ``slots``: the model's, as they stand. ``Rollback`` comes as the
        ``SetDefault`` that it amounts to."""
        model, current = command.model, self.overrides_of(command.model)
        match command:
            case LoadModel():
                self._load(command, upload, target)
                current = overrides.load(current, command.version)
            case UnloadModel():
                current = self._unload(command, target, slots)
            case SetDefault(version=version):
                self._retake(model, version)
                current = overrides.pin(current, version, self.is_wanted(model))
            case FollowList():
                self._replacements.pop(model, None)
                self._taken.pop(model, None)
                current = overrides.follow(current)
            case SetAlias(alias=alias, version=version):
                current = overrides.alias(current, alias, version, self.is_wanted(model))
            case SetRoute():
                split = target.split.changed(command.weights, command.sticky, command.shadows)
                for version in sorted(split.versions):
                    self._retake(model, version)
                current = overrides.divide(current, split, self.is_wanted(model))
            case AcceptVersion(version=version):
                self._accept(model, version, slots)
        self._put(model, current)
        if self._commanded is not None:
            self._commanded.add(model)
        self._save_at = float("-inf")

    def _accept(self, model: str, version: int, slots: Sequence[Slot]) -> None:
        """The newest slot's: one that was not let serve is newer than the one that does."""
        mine = [slot for slot in slots if slot.version == version and slot.signature is not None]
        newest = max(mine, key=lambda slot: slot.id, default=None)
        if newest is not None and newest.signature is not None:
            self._signatures_changed |= self.signatures.put(model, newest.signature)

    def _retake(self, model: str, version: int | None) -> None:
        """See the directory again where the version came after the model was asked for."""
        taken = self._taken.get(model)
        if taken is not None and version not in (None, *(one.version for one in taken.versions)):
            del self._taken[model]

    def _load(self, command: LoadModel, upload: Upload | None, target: ModelTarget) -> None:
        model, version = command.model, command.version
        self._replacements.pop(model, None)
        self._taken.pop(model, None)
        if command.override is not None:
            self._replacements[model] = _Replacement(_given(command.override), upload)
        if upload is not None:
            # Who sends the whole model means it as it is.
            self._signatures_changed |= self.signatures.forget(model)
        there = frozenset(candidate.version for candidate in target.versions)
        asked = there if version is None else frozenset({version})
        if upload is not None:
            asked |= {found.number for found in upload.found.versions}
        self._put_exact(model, self._exact.get(model, frozenset()) | asked)

    def _unload(
        self, command: UnloadModel, target: ModelTarget, slots: Sequence[Slot]
    ) -> Overrides:
        model, version = command.model, command.version
        loaded = {slot.version: slot.key.files for slot in slots if not slot.leaving}
        disk = loaded | {candidate.version: candidate.key.files for candidate in target.versions}
        choice = choosing.choose(target, choosing.by_version(slots))
        if version is None:
            self._exact.pop(model, None)
            self._replacements.pop(model, None)
            self._taken.pop(model, None)
        else:
            self._put_exact(model, self._exact.get(model, frozenset()) - {version})
        chosen, beside = choice.versions - choice.beside, choice.versions & choice.beside
        return overrides.unload(self.overrides_of(model), version, self._mode, disk, chosen, beside)

    def note_answer(self, model: str, version: int, now: float) -> bool:
        """``version`` answers unnamed requests; whether that is news. ``now``: epoch seconds."""
        before = self.overrides_of(model)
        after = overrides.answer(before, version, now + self._keep_s)
        if after is before:
            return False
        self._put(model, after)
        self._save_at = min(self._save_at, now + _SAVE_WITHIN_S)
        if after.previous is not None:
            self._keeping.put(model, after.kept_until)
        return True

    def note_signature(self, model: str, signature: Signature, now: float) -> bool:
        """What answers unnamed requests has this signature; whether that is news."""
        if not self.signatures.put(model, signature):
            return False
        self._signatures_changed = True
        self._save_at = min(self._save_at, now + _SAVE_WITHIN_S)
        return True

    def note_route(self, model: str, change: RouteChange) -> None:
        """Keep what was changed about its route."""
        self.route_history.add(model, change)
        self._save_at = min(self._save_at, change.at + _SAVE_WITHIN_S)

    def take_expired(self, now: float) -> list[str]:
        """The models whose previous version need not stay any longer; each once."""
        return self._keeping.take(now)

    def _put(self, model: str, current: Overrides) -> None:
        self._documents.put(model, current)
        if current == NOTHING:
            self._overrides.pop(model, None)
        else:
            self._overrides[model] = current

    # The document.

    def due(self) -> float:
        """When ``take_expired`` or ``save`` has something to do next, epoch seconds."""
        return min(self._save_at, self._keeping.next())

    def take_over(self, state: StateDir) -> tuple[str, ...]:
        """Keep everything in ``state`` from now on, and hold to what was decided there where
        nothing was here. The models that this may concern."""
        found, commanded = kept.read_overrides(state, self._mode), self._commanded or ()
        self._commanded = None
        for model, theirs in found.items():
            if model in commanded:
                continue
            joined = overrides.join(self.overrides_of(model), theirs)
            self._put(model, joined)
            if joined.previous is not None:
                self._keeping.put(model, joined.kept_until)
        self._documents.change_all()
        self.signatures.join(kept.read_signatures(state))
        self.route_history.join(state)
        self._state, self._signatures_changed, self._save_at = state, True, float("-inf")
        return tuple(found)

    def save(self, now: float, *, at_once: bool = False) -> None:
        """Write what was said, if something new was and it is time to."""
        if self._save_at == float("inf") or (now < self._save_at and not at_once):
            return
        self._save_at = float("inf")
        while len(self._overrides) > overrides.MOST_MODELS:
            self._put(next(iter(self._overrides)), NOTHING)
        if self._state is None:
            return
        kept.write_overrides(self._state, self._documents)
        self.route_history.save(self._state)
        if self._signatures_changed:
            self._state.write(kept.SIGNATURES, self.signatures.document())
            self._signatures_changed = False


def _aliases(current: Overrides, listed: Listed | None) -> Aliases:
    """A model config list goes before what commands said: it says so again at the next start."""
    labels = listed.labels if listed is not None else {}
    return Aliases({**current.aliases, **labels}, fixed=frozenset(labels))


def _is_loaded(target: ModelTarget, version: int, slots: Sequence[Slot]) -> bool:
    candidate = target.of(version)
    if candidate is None or not candidate.whole:
        return False
    slot = choosing.find(slots, candidate)
    return slot is not None and slot.state is State.READY and slot.key.files == candidate.key.files


def _with_policy(read: KnownConfig, before: KnownConfig | None) -> KnownConfig:
    """Where the configuration is wrong, the version policy is the last one that could be read."""
    if read.config is not None or before is None:
        return read
    return replace(read, policy=before.policy)


def _given(config: ModelConfig) -> KnownConfig:
    return KnownConfig("", fingerprint(config), config.version_policy, config)
