"""A model as the policy sees it: its versions on disk, and what commands decided about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from serving.model_config.canary import NO_CANARY, CanaryConfig
from serving.model_config.schema import VersionPolicy
from serving.models.state import SlotKey
from serving.registry.snapshot import FoundModel, FoundVersion, KnownConfig, Origin
from serving.rollout.plan import NO_ALIASES, Aliases
from serving.rollout.route import NO_SPLIT, Split

# Files of so many bytes are loaded in well under a second.
_SMALL = 16 * 1024 * 1024
_UNSETTLED = "its configuration is still changing"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A candidate for loading: a version on disk, with the configuration it would be loaded
    with. It is loaded only when it is ``whole``: when all of its files are there.

    ``note``: why it is not whole, ``settling``: only because something changed a moment ago,
    ``gone``: because it is off the disk. ``exact``: a command asked for these very files, so a
    version loaded from others has to make way. ``size``: of its files (bytes, 0: not known).
    """

    key: SlotKey
    origin: Origin
    whole: bool = True
    note: str = ""
    settling: bool = False
    exact: bool = False
    gone: bool = False
    size: int = 0

    @property
    def weight(self) -> int:
        """How many times ``_SMALL`` its files have, as a power of two; 0 for all that is small."""
        return (self.size // _SMALL).bit_length()

    @property
    def version(self) -> int:
        return self.key.version


@dataclass(frozen=True, slots=True)
class ModelTarget:
    """One model's versions on disk, and what commands decided about them.

    ``unknown``: the source could not say what is there, so nothing is added or taken away
    because of the disk.

    ``wanted``: the version policy chooses among the versions; else only ``extra`` counts,
    versions that were asked for by number, and ``beside``, that go on for their aliases.
    ``out``: unloaded by command. ``pinned`` answers
    unnamed requests when it can; ``kept`` answered before it was replaced and stays loaded.
    ``answered`` did last, and ``held`` are the ready versions that may not, see ``holding``.
    ``stays``: may, though another signature than theirs was accepted, for they have a weight.
    ``aliases``: other names for versions; ``split``: how requests are divided among them;
    ``fixed``: ``pin`` and ``weights`` where the model's configuration says them; ``canary``: what
    it says of rollouts.
    ``withdrawn``: it was taken out of a model config list, and is nowhere else; ``delisted``: it
    was, and no command unloaded all of it since.
    """

    model: str
    versions: tuple[Candidate, ...] = ()
    policy: VersionPolicy = field(default_factory=VersionPolicy)
    unknown: bool = False
    wanted: bool = True
    extra: frozenset[int] = frozenset()
    beside: frozenset[int] = frozenset()
    out: frozenset[int] = frozenset()
    pinned: int | None = None
    kept: int | None = None
    answered: int | None = None
    held: frozenset[int] = frozenset()
    stays: frozenset[int] = frozenset()
    aliases: Aliases = NO_ALIASES
    split: Split = NO_SPLIT
    fixed: frozenset[str] = frozenset()
    canary: CanaryConfig = NO_CANARY
    withdrawn: bool = False
    delisted: bool = False

    def dismissed(self, version: int) -> bool:
        """Whether a command ended the version: it goes even if nothing else can answer."""
        asked = self.wanted or version in self.extra or version in self.beside
        return version in self.out or not asked

    def of(self, version: int) -> Candidate | None:
        return next(
            (candidate for candidate in self.versions if candidate.version == version), None
        )


def on_disk(
    found: FoundModel, known: KnownConfig | None, exact: frozenset[int] = frozenset()
) -> tuple[Candidate, ...]:
    """The versions found, to be loaded as ``known`` says; ``exact``: see ``Candidate``."""
    return tuple(_candidate(found, version, known, exact) for version in found.versions)


def _candidate(
    found: FoundModel, version: FoundVersion, known: KnownConfig | None, exact: frozenset[int]
) -> Candidate:
    fingerprint = known.fingerprint if known else ""
    return Candidate(
        key=SlotKey(found.name, version.number, version.fingerprint, fingerprint),
        origin=version.origin,
        whole=version.whole and known is not None,
        note=version.why_not or ("" if found.config_settled else _UNSETTLED),
        settling=version.settling or (version.whole and known is None),
        exact=version.number in exact,
        size=version.size,
    )


def version_policy(known: KnownConfig | None, versions: tuple[Candidate, ...]) -> VersionPolicy:
    """With a configuration that is wrong no lower version would do any better."""
    if known is None:
        return VersionPolicy()
    if known.config is not None or known.policy.kind != "latest":
        return known.policy
    whole = sorted((one.version for one in versions if one.whole), reverse=True)
    return VersionPolicy("specific", specific=tuple(whole[: known.policy.latest]))


def merged(taken: tuple[Candidate, ...], now: Mapping[int, Candidate]) -> tuple[Candidate, ...]:
    """The versions that were there when a command loaded the model, as they are now. Later ones
    don't count; one that is off the disk by now stays a candidate, so that it goes on if loaded."""
    return tuple(now.get(candidate.version) or _lost(candidate) for candidate in taken)


def _lost(candidate: Candidate) -> Candidate:
    note = "it is no longer on disk"
    return Candidate(candidate.key, candidate.origin, False, note, gone=True)
