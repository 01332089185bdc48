"""What a version's statistics are held against: its schema and the baseline it came with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.errors import LoadError
from serving.events import log
from serving.models.views import VersionView
from serving.observe.figures import Key
from serving.observe.statistics.columns import Features
from serving.statistics.files import SCHEMA, read
from serving.statistics.metadata import FormatError, Kind, messages
from serving.validation.infer import infer

# Of a file: what tells that it is another than before.
_Stamp = tuple[int, int, int] | None


@dataclass(frozen=True)
class Reference:
    """``schema``: None where there is neither one nor a baseline to infer it from. ``categorical``:
    features of whole numbers that stand for something else. ``faults``: what can't be read, by
    whose file it is."""

    schema: Any = None
    baseline: Any = None
    inferred: bool = False
    categorical: frozenset[str] = frozenset()
    faults: Mapping[str, str] = field(default_factory=dict)


NOTHING = Reference()


@dataclass(slots=True)
class _Read:
    stamps: tuple[_Stamp, ...]
    reference: Reference


class References:
    """Read when first asked for, and again where a file is another than before: schemas are edited
    by hand. What is wrong with one is told once."""

    def __init__(self) -> None:
        self._read: dict[Key, _Read] = {}

    def of(self, key: Key, version: VersionView | None, features: Features) -> Reference:
        """NOTHING where there are no files, and of a version that is gone."""
        if version is None:
            self._read.pop(key, None)
            return NOTHING
        try:
            fetched = version.origin.fetch()
        except (OSError, LoadError):
            known = self._read.get(key)
            return known.reference if known is not None else NOTHING
        paths = {"version's": fetched.version / SCHEMA, "model's": fetched.model / SCHEMA}
        baseline = _baseline_path(version, fetched.version)
        stamps = tuple(_stamp(path) for path in (*paths.values(), baseline))
        known = self._read.get(key)
        if known is None or known.stamps != stamps:
            known = _Read(stamps, _reference(paths, baseline, features))
            self._read[key] = known
            for what, why in known.reference.faults.items():
                log.warning(
                    "statistics_reference_unreadable",
                    model=key[0],
                    version=key[1],
                    what=what,
                    reason=why,
                    effect="it is as if there were none",
                )
        return known.reference

    def keep(self, present: set[Key]) -> None:
        for key in self._read.keys() - present:
            del self._read[key]


def _baseline_path(version: VersionView, folder: Path) -> Path | None:
    """Inside the version's folder, as its manifest was checked to say."""
    manifest = version.origin.manifest
    name = getattr(manifest, "baseline", "") if manifest is not None else ""
    return folder / name if name else None


def _stamp(path: Path | None) -> _Stamp:
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino) if found is not None else None


def _reference(
    paths: Mapping[str, Path], baseline_path: Path | None, features: Features
) -> Reference:
    faults: dict[str, str] = {}
    baseline = _file(baseline_path, Kind.STATISTICS, "baseline", faults)
    schema = None
    for whose, path in paths.items():
        if schema is None and f"the {whose} {SCHEMA}" not in faults:
            schema = _file(path, Kind.SCHEMA, f"the {whose} {SCHEMA}", faults)
    inferred = schema is None and baseline is not None
    if inferred:
        schema = _inferred(baseline, features)
    return Reference(schema, baseline, inferred, _categorical(schema), faults)


def _file(path: Path | None, kind: Kind, what: str, faults: dict[str, str]) -> Any:
    if path is None or not path.exists():
        return None
    try:
        return read(path, kind)
    except FormatError as error:
        faults[what] = str(error)
        return None


def _inferred(baseline: Any, features: Features) -> Any:
    """Of the features that the version takes or gives: training data have more, such as labels."""
    whole = infer(baseline)
    found = messages.Schema()
    found.CopyFrom(whole)
    del found.feature[:]
    found.feature.extend(one for one in whole.feature if features.has(one.name))
    return found


def _categorical(schema: Any) -> frozenset[str]:
    if schema is None:
        return frozenset()
    return frozenset(one.name for one in schema.feature if one.int_domain.is_categorical)
