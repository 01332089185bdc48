"""The desired state of each model: what its folder says, and what commands decided over that."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from serving.model_config.canary import NO_CANARY
from serving.model_config.route import NO_ROUTE, RouteConfig
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
from serving.models.desired.candidates import Candidate, ModelTarget, version_policy
from serving.models.desired.configured import MODEL_YAML, change_of, route_said, yielded
from serving.models.desired.contents import Contents
from serving.models.desired.overrides import NOTHING, Overrides
from serving.models.desired.route_history import KeptChanges, noted
from serving.models.desired.timers import Timers
from serving.models.state import Slot
from serving.registry.snapshot import FoundModel, Listed
from serving.rollout.route import RouteChange
from serving.settings import Settings
from serving.signature import Signature, difference
from serving.state_dir import StateDir

EVERY = "*"
# Who answered is written a moment later, together with what else changes at a start.
_SAVE_WITHIN_S = 1.0


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
    callers rely on in another.
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
        self.contents = Contents()
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
        self._kept_changes = KeptChanges(self._overrides)

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

    def keep_only(self, models: Collection[str]) -> None:
        """Forget what was seen of all other models."""
        self.contents.keep_only(models)
        for model in self._seen.keys() - set(models):
            del self._seen[model]

    def see(
        self, model: str, found: FoundModel | None, unseen: bool, *, withdrawn: bool = False
    ) -> None:
        """Take up what is on disk of a model. ``found``: None where it was not found; ``unseen``:
        it may be there all the same, for its directory could not be read; ``withdrawn``: it was
        taken out of a model config list."""
        listed = found.listed if found is not None else None
        if found is None and not withdrawn:
            # What a list says of it goes with the list, not with what is on disk.
            listed = self._seen.get(model, _NOT_SEEN).listed
        found = self.contents.uploaded_of(model) or found
        delisted, withdrawn = withdrawn, withdrawn and found is None
        # What follows asks whether it is wanted.
        self._seen[model] = _Seen(listed=listed, withdrawn=withdrawn)
        unknown = bool(found.error) if found is not None else unseen and not withdrawn
        versions = () if unknown else self._take_up(model, found)
        self._yield(model, listed)
        self._seen[model] = _Seen(versions, unknown, listed, withdrawn, delisted)

    def _yield(self, model: str, listed: Listed | None) -> None:
        """What the configuration and the list say of the route commands say no more."""
        current = self.overrides_of(model)
        rest = yielded(current, self._configured(model), listed)
        if rest is not current:
            self._put(model, rest)
            self._save_at = float("-inf")

    def _configured(self, model: str) -> RouteConfig:
        known = self.contents.known(model)
        return known.route if known is not None else NO_ROUTE

    def note_configured(self, model: str, now: float) -> None:
        """Keep what the configuration says of the route, where that is news. ``now``: epoch
        seconds."""
        if self.contents.known(model) is None:
            return
        change = change_of(self.overrides_of(model), self._configured(model), now)
        if change is not None:
            self.note_route(model, change)

    def target(self, model: str, unseen: bool, now: float) -> ModelTarget:
        """All that the policy needs of one model, as it was last seen. ``unseen``: one that never
        was may be there all the same. ``now``: epoch seconds."""
        current = self.overrides_of(model)
        seen = self._seen.get(model) or _Seen(unknown=unseen)
        known = self.contents.known(model)
        said = route_said(current, self._configured(model), seen.listed)
        beside = current.beside & (said.aliases.versions | said.split.versions)
        keeps = current.previous is not None and now < current.kept_until
        return ModelTarget(
            model=model,
            versions=seen.versions,
            policy=version_policy(known, seen.versions),
            unknown=seen.unknown,
            wanted=self.is_wanted(model),
            extra=frozenset() if seen.withdrawn else current.versions,
            beside=frozenset() if seen.withdrawn else beside,
            out=overrides.held_out(
                current, {candidate.version: candidate.key.files for candidate in seen.versions}
            ),
            pinned=said.pinned,
            kept=current.previous if keeps else None,
            answered=current.answered,
            stays=current.stays & said.split.weighted,
            aliases=said.aliases,
            split=said.split,
            fixed=said.fixed,
            canary=known.canary if known is not None else NO_CANARY,
            withdrawn=seen.withdrawn,
            delisted=seen.delisted and current.whole is not False,
        )

    def _take_up(self, model: str, found: FoundModel | None) -> tuple[Candidate, ...]:
        listed = found is not None and found.listed is not None
        wanted = self.is_wanted(model) or bool(self.overrides_of(model).by_number)
        by_command = self._mode == "explicit" and not listed
        return self.contents.take_up(model, found, by_command=by_command, wanted=wanted)

    # What commands and time change.

    def apply(
        self, command: Command, upload: Upload | None, target: ModelTarget, slots: Sequence[Slot]
    ) -> None:
        """``target`` and ``slots``: the model's, as they stand. ``Rollback`` comes as the
        ``SetDefault`` that it amounts to."""
        model, current = command.model, self.overrides_of(command.model)
        match command:
            case LoadModel():
                self.contents.load(command, upload, target)
                # Who sends the whole model means it as it is.
                if upload is not None:
                    self._signatures_changed |= self.signatures.forget(model)
                current = overrides.load(current, command.version)
            case UnloadModel():
                current = self._unload(command, target, slots)
            case SetDefault(version=version):
                self.contents.see_again(model, version)
                current = overrides.pin(current, version, self.is_wanted(model))
            case FollowList():
                self.contents.follow(model)
                current = overrides.follow(current)
            case SetAlias(alias=alias, version=version):
                current = overrides.alias(current, alias, version, self.is_wanted(model))
            case SetRoute():
                current = self._divide(command, target)
            case AcceptVersion(version=version):
                current = self._accept(version, target, slots)
        self._put(model, current)
        if self._commanded is not None:
            self._commanded.add(model)
        self._save_at = float("-inf")

    def _divide(self, command: SetRoute, target: ModelTarget) -> Overrides:
        model = command.model
        split = target.split.changed(command.weights, command.sticky, command.shadows, command.base)
        for version in sorted(split.versions):
            self.contents.see_again(model, version)
        return overrides.divide(self.overrides_of(model), split, self.is_wanted(model))

    def _accept(self, version: int, target: ModelTarget, slots: Sequence[Slot]) -> Overrides:
        """The newest slot's: one that was not let serve is newer than the one that does. Who has a
        part of the requests keeps it: what is accepted takes it from nobody."""
        current = self.overrides_of(target.model)
        accepted = _newest_signature(version, slots)
        if accepted is None:
            return current
        self._signatures_changed |= self.signatures.put(target.model, accepted)
        stays = target.split.weighted - target.held - {version}
        return replace(
            current,
            stays=frozenset(
                other
                for other in stays
                if (its := _newest_signature(other, slots)) is None or difference(accepted, its)
            ),
        )

    def _unload(
        self, command: UnloadModel, target: ModelTarget, slots: Sequence[Slot]
    ) -> Overrides:
        model, version = command.model, command.version
        loaded = {slot.version: slot.key.files for slot in slots if not slot.leaving}
        disk = loaded | {candidate.version: candidate.key.files for candidate in target.versions}
        choice = choosing.choose(target, choosing.by_version(slots))
        self.contents.unload(model, version)
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

    def keep_pin_before(self, model: str, before: int | None, now: float) -> None:
        """See ``Overrides.pin_before``. ``now``: epoch seconds."""
        self._put(model, replace(self.overrides_of(model), pin_before=before))
        self._save_at = min(self._save_at, now + _SAVE_WITHIN_S)

    def note_signature(self, model: str, signature: Signature, now: float) -> bool:
        """What answers unnamed requests has this signature; whether that is news."""
        if not self.signatures.put(model, signature):
            return False
        self._signatures_changed = True
        self._save_at = min(self._save_at, now + _SAVE_WITHIN_S)
        return True

    def note_route(self, model: str, change: RouteChange) -> None:
        """Keep what was changed about its route."""
        self._put(model, noted(self.overrides_of(model), change))
        self._save_at = min(self._save_at, change.at + _SAVE_WITHIN_S)

    def note_alias(self, model: str, by: str, alias: str, version: int, now: float) -> None:
        """Keep that the alias, which others than commands say, names ``version`` now; where that is
        news, also since an earlier life. Of a configuration ``note_configured`` tells."""
        told = f"alias '{alias}' names version "
        before = (one.what for one in reversed(self.overrides_of(model).changes) if one.by == by)
        last = next((what for what in before if what.startswith(told)), "")
        if by != MODEL_YAML and last != f"{told}{version}":
            self.note_route(model, RouteChange(now, by, f"{told}{version}"))

    def take_expired(self, now: float) -> list[str]:
        """The models whose previous version need not stay any longer; each once."""
        return self._keeping.take(now)

    def _put(self, model: str, current: Overrides) -> None:
        if current.changes is not self.overrides_of(model).changes:
            for other in self._kept_changes.put(model, len(current.changes)):
                self._put(other, replace(self.overrides_of(other), changes=()))
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
        if self._signatures_changed:
            self._state.write(kept.SIGNATURES, self.signatures.document())
            self._signatures_changed = False


def _newest_signature(version: int, slots: Sequence[Slot]) -> Signature | None:
    mine = [slot for slot in slots if slot.version == version and slot.signature is not None]
    return max(mine, key=lambda slot: slot.id).signature if mine else None
