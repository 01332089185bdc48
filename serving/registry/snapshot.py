"""What a source says: everything that is there at one moment, frozen."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from serving.model_config.canary import NO_CANARY, CanaryConfig
from serving.model_config.route import NO_ROUTE, RouteConfig
from serving.model_config.schema import ModelConfig, VersionPolicy
from serving.registry.manifest import Manifest

# What a scan shall look at file by file: models by name, single versions with their number.
Closely = Collection[str | tuple[str, int]]

# Which of two is meant, nobody guesses.
IN_TWO = "it is in more than one model directory"
# All directories are one source.
IN_TWO_SOURCES = (
    "it is there more than once: of a model directory, a bare file and what comes from elsewhere,"
    " two have it"
)
MODEL_LIST = "the model config list"


@dataclass(frozen=True, slots=True)
class KnownConfig:
    """A model's configuration as it was read; None where the files are wrong, and ``error`` says
    how. ``folder``: the model's, in which what lies beside its versions is; None: that of the
    versions' own origin."""

    stamp: str
    fingerprint: str
    policy: VersionPolicy
    config: ModelConfig | None
    error: str = ""
    route: RouteConfig = NO_ROUTE
    canary: CanaryConfig = NO_CANARY
    folder: Path | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Fetched:
    """Folders on this machine: ``version`` with its model file, ``model`` with what lies beside
    the versions (its configuration, samples to warm up with)."""

    version: Path
    model: Path


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Fetching:
    """``check`` is called now and then while it lasts, and raises where nobody waits any more;
    ``begins``: files have to be brought here, which may last."""

    check: Callable[[], None] = _nothing
    begins: Callable[[], None] = _nothing


NOBODY_WAITS = Fetching()


class Origin(Protocol):
    """Where a version comes from, which only its source understands. Two are equal when they
    lead to the same place."""

    @property
    def manifest(self) -> Manifest | None:
        """As the source read it; None where the version has none that can be read."""
        ...

    def fetch(self, fetching: Fetching = ...) -> Fetched:
        """Its files on this machine. May take as long as it must. Raises OSError, LoadError."""
        ...

    def fingerprint(self) -> str:
        """The version's fingerprint at this moment, "" where it can't be told."""
        ...

    def contents(self) -> str:
        """A digest of what its files hold, wherever they lie and however old they are. May read all
        of them. Raises OSError, LoadError."""
        ...


@dataclass(frozen=True, slots=True)
class FoundVersion:
    """A version. ``fingerprint`` is "" where its files could not be listed; ``size``: their bytes,
    0 where that is not known."""

    number: int
    origin: Origin
    fingerprint: str
    whole: bool
    why_not: str = ""
    # Not whole only because it changed a moment ago.
    settling: bool = False
    # It brings a list of its files with their checksums (``serving.registry.manifest``).
    manifest: bool = False
    size: int = 0


@dataclass(frozen=True, slots=True)
class Listed:
    """What a model config list, or a registry, says of a model, over what lies in its folder.
    ``policy`` and ``rate`` (of the request log) None: it says nothing. ``labels``: label ->
    version. ``by``: who says so, in words."""

    platform: str
    policy: VersionPolicy | None = None
    labels: Mapping[str, int] = field(default_factory=dict)
    rate: float | None = None
    by: str = MODEL_LIST


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model; ``versions`` ascend. ``path``: the folder with its configuration.

    ``config_stamp`` changes whenever a file beside the versions (or under
    ``warmup/``) does. With an ``error`` nothing is known of the versions.
    ``layout`` is how its versions lie, in words for people. ``config``: as last read, None before
    it first settled. ``listed``: in a model config list, or followed in a registry: it is to be
    served.
    """

    name: str
    path: Path
    versions: tuple[FoundVersion, ...] = ()
    config_stamp: str = ""
    config_settled: bool = True
    error: str = ""
    layout: str = ""
    config: KnownConfig | None = None
    listed: Listed | None = None


@dataclass(frozen=True, slots=True)
class Ignored:
    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class SourceError:
    """A root that could not be listed: what it holds is unknown, not absent. Not ``hides``: of
    which models it has is known all the same."""

    root: Path
    reason: str
    hides: bool = True


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that is there, sorted by name."""

    models: tuple[FoundModel, ...] = ()
    ignored: tuple[Ignored, ...] = ()
    errors: tuple[SourceError, ...] = ()
    # Folders that are no models, nor meant to be.
    passed_over: tuple[Ignored, ...] = ()
    # Seconds until the next tree may count as whole; None when all have settled.
    settles_in: float | None = None
    # Models that were taken out of a model config list: meant to go, the last version too.
    withdrawn: frozenset[str] = frozenset()
    # Models of which somebody says that they are there: what is so is being asked far away.
    pending: frozenset[str] = frozenset()
