"""Versions from elsewhere as folders on this machine: bounded, by contents, checked before use.

    entries/<digest>/      the files of a version, read only
    entries/<digest>.json  which they are, with their sums
    names/<key>.json       the versions (``key``: a version's fingerprint) that have these files
    work/<key>/            what is being downloaded, or was until something went wrong

Versions with the same contents share an entry. What is in use is never removed, and what was
used last goes last.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving.errors import LoadError, Retry
from serving.events import log
from serving.registry.placing import rename_to_new, sync_folder
from serving.registry.remote.downloading import download, words_of
from serving.registry.remote.folders import bytes_of, remove, with_parts, wrong
from serving.registry.remote.kept import Entry, read_entry, read_name, write_entry, write_name
from serving.registry.remote.listing import (
    Listing,
    Remote,
    RemoteError,
    checked,
    digest_of,
    size_of,
)
from serving.state_dir import StateDir, make_private

# What a download leaves free for others.
_SPARE = 64 * 1024 * 1024
# What was fetched a moment ago is about to be loaded, which does not show yet.
_FRESH_S = 60.0
# Unfinished downloads that nobody went on with for so long are removed.
_OLD_S = 24 * 3600.0


@dataclass(slots=True)
class _Known:
    entry: Entry
    used: float


def _nothing_used() -> Collection[str]:
    return ()


def _nothing() -> None:
    pass


class Cache:
    """Safe from any thread. ``most``: bytes of all files together. ``in_use``, to be set by who
    knows: the keys of what is loaded. ``root`` None: a folder for temporary files, which ``close``
    removes; so it is where ``root`` can't be made."""

    def __init__(self, root: Path | None, most: int, wall: Callable[[], float] = time.time) -> None:
        self._most, self._wall = most, wall
        self.in_use: Callable[[], Collection[str]] = _nothing_used
        # Of what is known, for a moment each time; and of who changes the folders, which may last.
        self._lock = threading.Lock()
        self._changing = threading.Lock()
        # Of each version that is being fetched: its lock, and by how many.
        self._busy: dict[str, tuple[threading.Lock, int]] = {}
        self._reserved: dict[str, int] = {}
        self._known: dict[str, _Known] = {}
        self._temporary: Path | None = None
        self.root = self._made(root)
        with contextlib.suppress(OSError):
            self._look()

    def close(self) -> None:
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def has(self, key: str) -> bool:
        """Whether a version is here; its sums are looked at when it is fetched."""
        with self._lock:
            return key in self._known

    def folder(self, key: str) -> Path | None:
        """Where a version's files are, None where they aren't here. Nobody looked at them."""
        with self._lock:
            known = self._known.get(key)
        return self._entries / known.entry.digest if known is not None else None

    @property
    def held_bytes(self) -> int:
        with self._lock:
            return self._held()

    def fetch(self, key: str, remote: Callable[[], Remote], check: Callable[[], None]) -> Path:
        """The folder of a version, brought here where it is not yet. ``check`` is called now and
        then meanwhile, and may raise. Raises LoadError."""
        try:
            with self._alone(key):
                found = self._valid(key, check)
                return self._brought(key, remote, check) if found is None else found
        except OSError as error:
            raise LoadError(words_of(error), str(error), Retry.LATER) from error

    # What is here.

    def _valid(self, key: str, check: Callable[[], None]) -> Path | None:
        with self._lock:
            known = self._known.get(key)
            if known is None:
                return None
            known.used = self._wall()
        folder = self._entries / known.entry.digest
        if why := wrong(folder, known.entry.listing, check):
            log.warning("cached_version_damaged", path=str(folder), reason=why)
            self._drop(known.entry.digest)
            return None
        with contextlib.suppress(OSError):
            os.utime(self._name(key))
        return folder

    def _drop(self, digest: str) -> None:
        with self._changing:
            with self._lock:
                keys = self._forgotten(digest)
            self._delete(digest, keys)

    def _forgotten(self, digest: str) -> Collection[str]:
        """Known no more, with the lock held: the keys that it had."""
        keys = [key for key, one in self._known.items() if one.entry.digest == digest]
        for key in keys:
            del self._known[key]
        return keys

    def _delete(self, digest: str, keys: Collection[str]) -> None:
        for key in keys:
            self._name(key).unlink(missing_ok=True)
        shutil.rmtree(self._entries / digest, ignore_errors=True)
        (self._entries / f"{digest}.json").unlink(missing_ok=True)

    # What is brought here.

    def _brought(self, key: str, remote: Callable[[], Remote], check: Callable[[], None]) -> Path:
        work, opened = self.root / "work" / key, remote()
        try:
            listing = checked(opened.listing())
            with self._room(key, size_of(listing)):
                make_private(work)
                found = download(opened, listing, work, check)
                return self._placed(key, found, work)
        finally:
            opened.close()

    def _placed(self, key: str, listing: Listing, work: Path) -> Path:
        entry = Entry(digest_of(listing), listing)
        folder = self._entries / entry.digest
        if folder.exists() and wrong(folder, listing, _nothing):
            self._drop(entry.digest)
        with self._changing:
            # First what a full disk may refuse: then what came is still where it goes on.
            write_entry(self._entries, entry)
            write_name(self._name(key), entry.digest)
            with contextlib.suppress(FileExistsError):
                rename_to_new(work / "files", folder)
                sync_folder(self._entries)
            with self._lock:
                self._known[key] = _Known(entry, self._wall())
        shutil.rmtree(work, ignore_errors=True)
        return folder

    @contextmanager
    def _room(self, key: str, size: int) -> Iterator[None]:
        """Kept free for ``size`` bytes meanwhile. Raises RemoteError where there is none."""
        try:
            with self._changing:
                with self._lock:
                    self._reserved[key] = size
                self._make_room(size)
            yield
        finally:
            with self._lock:
                del self._reserved[key]

    def _make_room(self, size: int) -> None:
        if size > self._most:
            raise RemoteError(
                f"its files have {size} bytes, and all together may have {self._most}"
                " (registry.cache_bytes)",
                retry=Retry.ON_CHANGE,
            )
        while digest := self._surplus(size):
            _tell_removed(digest)
        # What is on its way takes room, too, but for what of it came already.
        with self._lock:
            reserved = dict(self._reserved)
        wanted = sum(max(0, n - self._came(one)) for one, n in reserved.items()) + _SPARE
        self._clear_work(wanted)
        self._clear_entries(wanted)
        free = shutil.disk_usage(self.root).free
        if free < wanted:
            raise RemoteError(f"its files have {size} bytes, and {free} are free on the disk")

    def _came(self, key: str) -> int:
        """Bytes of a download that is under way, or was."""
        return bytes_of(self.root / "work" / key)

    def _clear_work(self, wanted: int) -> None:
        """Downloads that nobody goes on with may be gone on with, while there is room for them."""
        old = self._wall() - _OLD_S
        with self._lock:
            left, busy = self._most - self._held(), set(self._busy)
        places = [one for one in (self.root / "work").iterdir() if one.name not in busy]
        for at, place in sorted(((one.stat().st_mtime, one) for one in places), reverse=True):
            left -= self._came(place.name)
            if at < old or left < 0 or shutil.disk_usage(self.root).free < wanted:
                remove(place)

    def _clear_entries(self, wanted: int) -> None:
        """What nobody uses goes where the disk is short, however little that is of what may be
        kept; unless it would go for nothing."""
        with self._lock:
            sizes = {one.entry.digest: one.entry.size for one in self._known.values()}
            most = sum(sizes[digest] for digest in self._unused())
        if shutil.disk_usage(self.root).free + most < wanted:
            return
        while shutil.disk_usage(self.root).free < wanted:
            with self._lock:
                unused = self._unused()
                keys = self._forgotten(unused[0]) if unused else ()
            if not unused:
                return
            self._delete(unused[0], keys)
            _tell_removed(unused[0])

    def _held(self) -> int:
        sizes = {one.entry.digest: one.entry.size for one in self._known.values()}
        return sum(sizes.values()) + sum(self._reserved.values())

    def _unused(self) -> list[str]:
        """The entries that may go, the one that was used longest ago first."""
        used: dict[str, float] = {}
        busy, fresh = set(self.in_use()), self._wall() - _FRESH_S
        for key, one in self._known.items():
            at = float("inf") if key in busy or one.used > fresh else one.used
            digest = one.entry.digest
            used[digest] = max(used.get(digest, at), at)
        return sorted((d for d, at in used.items() if at != float("inf")), key=used.__getitem__)

    def _surplus(self, size: int) -> str:
        """The entry that went for ``size`` bytes, "" where there is room. Raises RemoteError where
        none may go."""
        with self._lock:
            if self._held() <= self._most:
                return ""
            unused = self._unused()
            if not unused:
                raise RemoteError(
                    f"its files have {size} bytes, for which what is loaded leaves no room within"
                    f" {self._most} (registry.cache_bytes)"
                )
            keys = self._forgotten(unused[0])
        self._delete(unused[0], keys)
        return unused[0]

    # The folder.

    @property
    def _entries(self) -> Path:
        return self.root / "entries"

    def _name(self, key: str) -> Path:
        return self.root / "names" / f"{key}.json"

    def _made(self, root: Path | None) -> Path:
        reason = "there is no state directory"
        if root is not None:
            try:
                return with_parts(root)
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
        self._temporary = Path(tempfile.mkdtemp(prefix="serving-versions-"))
        effect = "versions from elsewhere are downloaded anew by the next start"
        log.warning("cache_is_temporary", reason=reason, effect=effect)
        return with_parts(self._temporary)

    def _look(self) -> None:
        """What an earlier process left: whole entries are taken up, the rest goes."""
        entries: dict[str, Entry] = {}
        for file in (self.root / "names").glob("*.json"):
            digest = read_name(file)
            entry = entries.get(digest) or (read_entry(self._entries, digest) if digest else None)
            if entry is None or not (self._entries / digest).is_dir():
                file.unlink(missing_ok=True)
                continue
            entries[digest] = entry
            self._known[file.stem] = _Known(entry, file.stat().st_mtime)
        for place in self._entries.iterdir():
            if place.name.removesuffix(".json") not in entries:
                remove(place)
        for place in (self.root / "names").iterdir():
            if place.suffix != ".json":
                remove(place)
        for place in (self.root / "work").iterdir():
            if self._wall() - place.stat().st_mtime > _OLD_S:
                remove(place)

    @contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """One at a time for each version."""
        with self._lock:
            lock, count = self._busy.get(key, (threading.Lock(), 0))
            self._busy[key] = lock, count + 1
        try:
            with lock:
                yield
        finally:
            with self._lock:
                _, count = self._busy.pop(key)
                if count > 1:
                    self._busy[key] = lock, count - 1


def cache_in(state: StateDir, most: int) -> Cache:
    """In the state directory, where that is ours."""
    return Cache(state.path / "versions" if state.path and state.is_ours else None, most)


def _tell_removed(digest: str) -> None:
    log.info("cached_version_removed", digest=digest[:16])
