"""What a version's statistics are held against: its schema and the baseline it came with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.errors import LoadError
from serving.events import log
from serving.model_config.validation import SCHEMA
from serving.models.views import VersionView
from serving.observe.figures import Key
from serving.observe.statistics.columns import Features
from serving.statistics.baseline import read_baseline
from serving.statistics.files import read_schema_in, schema_in
from serving.statistics.metadata import FormatError, messages
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
    by hand. What is wrong with one is told once; a schema that was good before then holds on."""

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
        baseline = version.facts.baseline
        files = (*paths.values(), *([fetched.version / baseline] if baseline else ()))
        stamps = tuple(map(_stamp, files))
        known = self._read.get(key)
        if known is None or known.stamps != stamps:
            faults: dict[str, str] = {}
            trained = _baseline(fetched.version, baseline, faults)
            held = known.reference.schema if known and not known.reference.inferred else None
            known = _Read(stamps, _reference(paths, trained, features, faults, held))
            self._read[key] = known
            effect = "what it said before holds" if held else "it is as if there were none"
            for what, why in known.reference.faults.items():
                log.warning(
                    "statistics_reference_unreadable",
                    model=key[0],
                    version=key[1],
                    what=what,
                    reason=why,
                    effect=effect if what != "baseline" else "it is as if there were none",
                )
        return known.reference

    def keep(self, present: set[Key]) -> None:
        for key in self._read.keys() - present:
            del self._read[key]


def baseline_of(version: VersionView | None) -> Any:
    """``DatasetFeatureStatistics`` that a version came with; None without any that can be read."""
    if version is None or not version.facts.baseline:
        return None
    try:
        folder = version.origin.fetch().version
    except (OSError, LoadError):
        return None
    return _baseline(folder, version.facts.baseline, {})


def _baseline(folder: Path, name: str, faults: dict[str, str]) -> Any:
    try:
        return read_baseline(folder, name) if name else None
    except FormatError as error:
        faults["baseline"] = str(error)
        return None


def _stamp(path: Path) -> _Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _reference(
    paths: Mapping[str, Path],
    baseline: Any,
    features: Features,
    faults: dict[str, str],
    held: Any,
) -> Reference:
    """``held``: the schema before, which one that can't be read does not take the place of."""
    schema = None
    for whose, path in paths.items():
        if schema is None:
            before = len(faults)
            schema = _schema(path, f"the {whose} {SCHEMA}", faults)
            schema = held if len(faults) > before else schema
    inferred = schema is None and baseline is not None
    if inferred:
        schema = _inferred(baseline, features)
    return Reference(schema, baseline, inferred, _categorical(schema), faults)


def _schema(path: Path, what: str, faults: dict[str, str]) -> Any:
    if schema_in([path.parent]) is None:
        return None
    try:
        return read_schema_in(path.parent)
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
