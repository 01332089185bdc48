"""What a version's statistics are held against: its schema and the baseline it came with.

In use they are messages, between windows no more than their bytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from serving.errors import LoadError
from serving.events import log
from serving.model_config.validation import SCHEMA
from serving.models.views import VersionView
from serving.observe.figures import Key
from serving.observe.statistics.columns import NO_FEATURES, Features
from serving.statistics.baseline import read_baseline
from serving.statistics.files import read_schema_in, schema_in
from serving.statistics.metadata import Form, FormatError, form_of, messages
from serving.validation.infer import infer

# Of a file: what tells that it is another than before.
_Stamp = tuple[int, int, int] | None
# Of a text that is kept: Python's object around it.
_TEXT = 96
_SLOW = frozenset({Form.TEXT, Form.JSON})
NO_EFFECT = "it is as if there were none"


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


@dataclass(frozen=True)
class Kept:
    """A reference as it is kept from window to window: its messages packed, a sixth of what they
    take in use.

    ``stamps``, ``features``: of its files, and of the version, as they were. ``file``: the
    version's folder and the baseline's name there, where a baseline that is not kept is read anew
    for each window. ``left_out``: bytes that there was no room for.
    """

    stamps: tuple[_Stamp, ...] = ()
    features: Features = NO_FEATURES
    schema: bytes | None = None
    baseline: bytes | None = None
    inferred: bool = False
    categorical: frozenset[str] = frozenset()
    faults: Mapping[str, str] = field(default_factory=dict)
    file: tuple[Path, str] | None = None
    left_out: int = 0

    @property
    def nbytes(self) -> int:
        texts = (*self.categorical, *self.faults.values())
        packed = len(self.schema or b"") + len(self.baseline or b"")
        return packed + sum(_TEXT + len(one) for one in texts)

    def reference(self) -> Reference:
        """To hold a window against; its messages are the caller's."""
        baseline = _unpacked(self.baseline, messages.DatasetFeatureStatistics)
        if baseline is None and self.file is not None:
            baseline = _baseline(*self.file, {}, is_checked=True)
        schema = _unpacked(self.schema, messages.Schema)
        return Reference(schema, baseline, self.inferred, self.categorical, self.faults)

    def within(self, most_bytes: int) -> Kept:
        """So much of it that it takes no more: the baseline goes first."""
        if self.nbytes <= most_bytes:
            return self
        lean = replace(self, baseline=None)
        if lean.nbytes > most_bytes:
            lean = Kept(self.stamps, self.features, file=self.file)
        return replace(lean, left_out=self.nbytes - lean.nbytes)

    def lacks(self, whole: Kept) -> list[str]:
        """What of the ``whole`` is in no use, in words."""
        baseline = whole.baseline and not self.baseline and not self.file
        schema = whole.schema and not self.schema
        return [*(["schema"] if schema else []), *(["baseline"] if baseline else [])]


def keep(
    key: Key, version: VersionView, features: Features, known: Kept | None, *, anew: bool
) -> Kept | None:
    """What a version's windows are held against; ``known`` itself where nothing is another than
    before and it is not wanted ``anew``: schemas are edited by hand. None where there was nothing
    and the files can't be looked at.

    What is wrong with one is told once; a schema that was good before then holds on.
    """
    try:
        fetched = version.origin.fetch()
    except (OSError, LoadError):
        return known
    paths = {"version's": fetched.version / SCHEMA, "model's": fetched.model / SCHEMA}
    named = version.facts.baseline
    files = (*paths.values(), *([fetched.version / named] if named else ()))
    stamps = tuple(map(_stamp, files))
    same = known is not None and known.stamps == stamps
    if known is not None and same and known.features is features and not anew:
        return known
    faults: dict[str, str] = {}
    trained = _baseline(fetched.version, named, faults)
    held = _unpacked(known.schema, messages.Schema) if known and not known.inferred else None
    found = _reference(paths, trained, features, faults, held)
    if not same:
        _tell(key, faults, "what it said before holds" if held else NO_EFFECT)
    return Kept(
        stamps,
        features,
        _packed(found.schema),
        _packed(_own(trained, features)),
        found.inferred,
        found.categorical,
        faults,
        # Of text it would take seconds, each time.
        (fetched.version, named) if trained is not None and form_of(named) not in _SLOW else None,
    )


def _tell(key: Key, faults: Mapping[str, str], effect: str) -> None:
    for what, why in faults.items():
        log.warning(
            "statistics_reference_unreadable",
            model=key[0],
            version=key[1],
            what=what,
            reason=why,
            effect=effect if what != "baseline" else NO_EFFECT,
        )


def baseline_of(version: VersionView | None) -> Any:
    """``DatasetFeatureStatistics`` that a version came with; None without any that can be read."""
    if version is None or not version.facts.baseline:
        return None
    try:
        folder = version.origin.fetch().version
    except (OSError, LoadError):
        return None
    return _baseline(folder, version.facts.baseline, {})


def _packed(message: Any) -> bytes | None:
    return None if message is None else zlib.compress(message.SerializeToString(), 1)


def _unpacked(data: bytes | None, kind: Any) -> Any:
    return None if data is None else kind.FromString(zlib.decompress(data))


def _baseline(folder: Path, name: str, faults: dict[str, str], *, is_checked: bool = False) -> Any:
    try:
        return read_baseline(folder, name, is_checked=is_checked) if name else None
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
    schema = _without_redacted(schema, features)
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


def _without_redacted(schema: Any, features: Features) -> Any:
    """Windows have nothing of a redacted feature, and it is not missing in them for that."""
    if schema is None or not features.redacted:
        return schema
    shown = messages.Schema()
    shown.CopyFrom(schema)
    del shown.feature[:]
    shown.feature.extend(one for one in schema.feature if not features.hides(one.name))
    return shown


def _inferred(baseline: Any, features: Features) -> Any:
    """Of the features that the version takes or gives: training data have more, such as labels."""
    whole = infer(baseline)
    found = messages.Schema()
    found.CopyFrom(whole)
    del found.feature[:]
    found.feature.extend(one for one in whole.feature if features.has(one.name))
    return found


def _own(baseline: Any, features: Features) -> Any:
    """Of the same: no other is compared."""
    if baseline is None:
        return None
    found = messages.DatasetFeatureStatistics()
    found.name, found.num_examples = baseline.name, baseline.num_examples
    found.weighted_num_examples = baseline.weighted_num_examples
    mine = (one for one in baseline.features if features.has(one.name or ".".join(one.path.step)))
    found.features.extend(mine)
    return found


def _categorical(schema: Any) -> frozenset[str]:
    if schema is None:
        return frozenset()
    return frozenset(one.name for one in schema.feature if one.int_domain.is_categorical)
