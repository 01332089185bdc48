"""One look at one model in a store: its versions, whether they are whole, and its configuration."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from serving.registry.manifest import (
    MANIFEST_NAME,
    MAX_BYTES,
    Manifest,
    ManifestError,
    parse_manifest,
)
from serving.registry.names import MODEL_FILE, UNFINISHED, is_beside, is_config
from serving.registry.object_store.layout import versions_in
from serving.registry.object_store.store import (
    Level,
    OddNameError,
    Store,
    StoredFile,
    StoreError,
)
from serving.registry.settling import Clocks, Seen, left, observe
from serving.registry.tree import MAX_FILES, Row, Rows, digest

# A version's files by path, or why these can't be told.
_Files = Mapping[str, StoredFile] | str

WARMUP = "warmup/"
_EMPTY = "it has no files"
# Versions that are listed one by one; files of more that are listed at once.
_FEW = 8
_MOST_AT_ONCE = 200_000
# The newest versions of a model, whose manifests are read when they are found.
_READ_AT_ONCE = 32
# A file beside the versions that is larger is none that a model's configuration names.
_MOST_BESIDE = 16 * 1024 * 1024


@dataclass(slots=True, eq=False)
class SeenVersion:
    """``files``: by path in the version; ``key``: changes when they do; ``why``: it is not whole,
    "" where it is."""

    files: Mapping[str, StoredFile]
    key: str
    seen: Seen
    why: str = ""
    settling: bool = False
    manifest: Manifest | None = None
    brings_manifest: bool = False

    @property
    def whole(self) -> bool:
        return not self.why


@dataclass(slots=True)
class SeenModel:
    """``ignored``: name -> why. ``config``: the files beside its versions; ``config_key``: changes
    when they do."""

    name: str
    prefix: str
    versions: dict[int, SeenVersion] = field(default_factory=dict)
    config: Mapping[str, StoredFile] = field(default_factory=dict)
    config_key: str = ""
    config_seen: Seen | None = None
    ignored: dict[str, str] = field(default_factory=dict)

    @property
    def is_model(self) -> bool:
        """Logs and notes lie in folders, too."""
        return bool(self.versions) or any(map(is_config, self.config))

    @property
    def config_settled(self) -> bool:
        """A publisher brings no configuration: there is nothing to wait for."""
        settled = self.config_seen is None or self.config_seen.settled
        return settled or any(v.whole and v.brings_manifest for v in self.versions.values())


@dataclass(frozen=True, slots=True)
class ModelLook:
    """``url``: of the store, which is part of what a version is told by. ``deep``: versions that
    were whole are looked at again, too; ``at_once``: nothing need settle."""

    store: Store
    url: str
    clocks: Clocks
    itself: bool
    deep: bool
    at_once: bool

    def look(self, name: str, prefix: str, level: Level, before: SeenModel | None) -> SeenModel:
        """``level``: what lies directly below ``prefix``. Raises StoreError."""
        found = SeenModel(name, prefix)
        numbers, found.ignored = versions_in(level.folders, itself=self.itself)
        found.ignored = {k: v for k, v in found.ignored.items() if k[:1].isdigit()}
        known = before.versions if before is not None else {}
        stands = {n: v for n, v in known.items() if n in numbers and v.whole and not self.deep}
        listed = self._listed(prefix, [f for n, f in numbers.items() if n not in stands])
        newest = frozenset(sorted(numbers)[-_READ_AT_ONCE:])
        for number, folder in sorted(numbers.items()):
            found.versions[number] = stands.get(number) or self._version(
                f"{prefix}{folder}/", listed[folder], known.get(number), number in newest
            )
        if MODEL_FILE in level.files and 1 not in numbers:
            published = MANIFEST_NAME in level.files
            all_ = self._files(prefix).items()
            files = {k: v for k, v in all_ if not _is_beside(k, published=published)}
            found.versions[1] = self._version(prefix, files, known.get(1))
        self._configuration(found, level, before)
        return found

    def _listed(self, prefix: str, folders: Sequence[str]) -> dict[str, _Files]:
        """The files of these versions: of many at once by one list of all that the model has."""
        if len(folders) > _FEW:
            with suppress(OddNameError):
                return self._listed_at_once(prefix, folders)
        return {folder: self._files_or_why(f"{prefix}{folder}/") for folder in folders}

    def _files_or_why(self, prefix: str) -> _Files:
        try:
            return self._files(prefix)
        except OddNameError as odd:
            return str(odd)

    def _listed_at_once(self, prefix: str, folders: Sequence[str]) -> dict[str, _Files]:
        found: dict[str, dict[str, StoredFile]] = {folder: {} for folder in folders}
        start, everything = len(prefix), self.store.below(prefix, _MOST_AT_ONCE)
        for one in everything:
            folder, _, path = one.path[start:].partition("/")
            if folder in found:
                found[folder][path] = one
        if len(everything) > _MOST_AT_ONCE:
            # Of the rest nobody knows how much of it came.
            cut = everything[-1].path[start:].partition("/")[0]
            for folder in (one for one in folders if one >= cut):
                found[folder] = self._files(f"{prefix}{folder}/")
        return {**found}

    def _files(self, prefix: str) -> dict[str, StoredFile]:
        start = len(prefix)
        return {one.path[start:]: one for one in self.store.below(prefix)}

    def _version(
        self,
        where: str,
        listed: _Files,
        before: SeenVersion | None,
        reads: bool = True,
    ) -> SeenVersion:
        """``reads``: its manifest, now; else a load does, and that it is there will do: it is
        written last."""
        files = {} if isinstance(listed, str) else listed
        seen = observe(before.seen if before is not None else None, _rows(files), self.clocks)
        if before is not None and before.seen is seen and before.whole:
            return before
        key = _key(self.url, where, seen.rows)
        found = SeenVersion(files, key, seen, settling=not (seen.settled or self.at_once))
        if isinstance(listed, str):
            found.why, found.settling = listed, False
        elif not files:
            found.why, found.settling = _EMPTY, False
        elif MANIFEST_NAME not in files and any(path.startswith(UNFINISHED) for path in files):
            found.why, found.settling = "it is being published", False
        elif len(files) > MAX_FILES:
            found.why, found.settling = f"it has more than {MAX_FILES} files", False
        elif MANIFEST_NAME in files:
            found.brings_manifest = True
            if reads:
                self._by_manifest(found)
        elif found.settling:
            found.why = f"its files changed less than {self.clocks.settle_s:g} s ago"
        return found

    def _by_manifest(self, found: SeenVersion) -> None:
        """Whole as soon as all that it lists is there with its size."""
        try:
            content = self.store.read(found.files[MANIFEST_NAME], MAX_BYTES)
            found.manifest = parse_manifest(content)
        except ManifestError as error:
            found.why, found.settling = error.reason, False
            return
        except StoreError as error:
            found.why = f"its manifest could not be read: {error}"
            return
        sizes = {path: file.size for path, file in found.files.items()}
        found.why = found.manifest.differs(sizes)
        found.settling = bool(found.why) and found.settling

    def _configuration(self, found: SeenModel, level: Level, before: SeenModel | None) -> None:
        direct = 1 in found.versions and MODEL_FILE in level.files
        published = MANIFEST_NAME in level.files
        files = {
            name: file
            for name, file in level.files.items()
            if file.size <= _MOST_BESIDE and (not direct or _is_beside(name, published=published))
        }
        if not found.versions and not any(map(is_config, files)):
            return
        if "warmup" in level.folders:
            files |= {f"{WARMUP}{k}": v for k, v in self._files(f"{found.prefix}{WARMUP}").items()}
        if not files:
            return
        seen = observe(before.config_seen if before else None, _rows(files), self.clocks)
        seen.settled = seen.settled or self.at_once
        found.config, found.config_seen = files, seen
        found.config_key = _key(self.url, f"{found.prefix} configuration", seen.rows)

    def settles_in(self, found: SeenModel) -> float | None:
        """Seconds until something of it may count as whole; None: nothing waits for that."""
        waiting = [one.seen for one in found.versions.values() if one.settling]
        if found.config_seen is not None and not found.config_seen.settled:
            waiting.append(found.config_seen)
        return min((left(seen, self.clocks) for seen in waiting), default=None)


def _is_beside(path: str, *, published: bool) -> bool:
    return is_beside(path.partition("/")[0], published=published)


def _rows(files: Mapping[str, StoredFile]) -> Rows:
    """As a directory's are: path, mode, size, two times and what stands for an inode."""
    rows: list[Row] = []
    for path, file in sorted(files.items()):
        tag = int.from_bytes(hashlib.blake2b(file.etag.encode(), digest_size=6).digest())
        rows.append((path, 0, file.size, file.modified, file.modified, tag))
    return tuple(rows)


def _key(url: str, where: str, rows: Rows) -> str:
    text = json.dumps([url, where, digest(rows)])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
