"""What counts as a model's configuration and files: those on disk, or what a load call brought."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from serving.model_config import ModelConfig
from serving.models.commands.command import LoadModel
from serving.models.commands.uploads import Upload
from serving.models.desired import choosing
from serving.models.desired.candidates import Candidate, ModelTarget, merged, on_disk
from serving.models.state import Slot, State
from serving.registry.configs import fingerprint
from serving.registry.snapshot import FoundModel, KnownConfig


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


class Contents:
    """What each model's configuration and files are. Used by the manager's loop only.

    Configurations and files that came with a load call are not kept: they hold until the next load
    without them, or the end of the process.
    """

    def __init__(self) -> None:
        # Versions whose very files a command asked for, until they are loaded; of no other models.
        self._exact: dict[str, frozenset[int]] = {}
        self._replacements: dict[str, _Replacement] = {}
        self._taken: dict[str, _Taken] = {}
        # As the sources last read them, and of those what counts.
        self._read: dict[str, KnownConfig] = {}
        self._in_force: dict[str, KnownConfig] = {}

    # What counts.

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
        """Forget what was read of all other models."""
        for model in self._read.keys() - set(models):
            del self._read[model]
        for model in self._in_force.keys() - set(models) - self._taken.keys():
            del self._in_force[model]

    def take_up(
        self, model: str, found: FoundModel | None, *, by_command: bool, wanted: bool
    ) -> tuple[Candidate, ...]:
        """The versions of what is on disk. ``by_command``: only commands load the model, which
        stays as they found it; ``wanted``: it was loaded, or a version of it."""
        taken = self._taken.get(model)
        known = taken.known if taken is not None else self._configuration(model, found)
        if known is not None:
            self._in_force[model] = known
        exact = self._exact.get(model, frozenset())
        versions = on_disk(found, known, exact) if found is not None else ()
        if not by_command:
            return versions
        if taken is not None:
            versions = merged(
                taken.versions, {candidate.version: candidate for candidate in versions}
            )
        if not wanted:
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

    # What commands change.

    def load(self, command: LoadModel, upload: Upload | None, target: ModelTarget) -> None:
        """What is there now counts, or what came with the command."""
        model, version = command.model, command.version
        self.follow(model)
        if command.override is not None:
            self._replacements[model] = _Replacement(_given(command.override), upload)
        there = frozenset(candidate.version for candidate in target.versions)
        asked = there if version is None else frozenset({version})
        if upload is not None:
            asked |= {found.number for found in upload.found.versions}
        self._put_exact(model, self._exact.get(model, frozenset()) | asked)

    def unload(self, model: str, version: int | None) -> None:
        """``version``: None: all of the model."""
        if version is None:
            self._exact.pop(model, None)
            self.follow(model)
        else:
            self._put_exact(model, self._exact.get(model, frozenset()) - {version})

    def follow(self, model: str) -> None:
        """The folder counts, as it is from now on."""
        self._replacements.pop(model, None)
        self._taken.pop(model, None)

    def see_again(self, model: str, version: int | None) -> None:
        """See the directory again where the version came after the model was asked for."""
        taken = self._taken.get(model)
        if taken is not None and version not in (None, *(one.version for one in taken.versions)):
            del self._taken[model]


def _is_loaded(target: ModelTarget, version: int, slots: Sequence[Slot]) -> bool:
    candidate = target.of(version)
    if candidate is None or not candidate.whole:
        return False
    slot = choosing.find(slots, candidate)
    return slot is not None and slot.state is State.READY and slot.key.files == candidate.key.files


def _with_policy(read: KnownConfig, before: KnownConfig | None) -> KnownConfig:
    """Where the configuration is wrong, what it says of versions is the last that could be read."""
    if read.config is not None or before is None:
        return read
    return replace(read, policy=before.policy, route=before.route, canary=before.canary)


def _given(config: ModelConfig) -> KnownConfig:
    known = KnownConfig("", fingerprint(config), config.version_policy, config)
    return replace(known, route=config.route, canary=config.canary)
