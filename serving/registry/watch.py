"""Hurries the next scan when the system reports a change, and says whether it reports them all.

Watched are the directories themselves and the folders of models in them, not what lies
deeper: a version comes, goes or is renamed in its model's folder, a swapped link likewise.
Watching whole trees would cost a handle for every folder of every version, and would follow
links out of them. What this doesn't see (a file that grows, another machine's writes to a
network disk), the regular scan does: as often as ever, unless all that is watched lies on disks
of this machine.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from watchfiles import Change, watch

from serving import machine
from serving.events import log
from serving.file_systems import is_local
from serving.registry import tree
from serving.registry.names import is_digits

# Folders of models that are watched; the regular scan finds changes in the rest.
MAX_WATCHED = 4096
# How changes are gathered before they are reported; an idle watcher wakes as often, for that is
# how its library waits.
_STEP_MS = 100
_MOST_MS = 200
# Until directories that could not be watched are tried again, and new ones looked for: nothing
# tells when there is one to watch.
_AGAIN_S = 10.0
# Until the library says something where nothing changes. Before it first does, nobody knows that
# the watch has begun, and everything is looked through as often as if there were none.
_WORD_S = 0.5
_SOON_S = 0.2
# That must be there when a watch begins, for the one that it needs: others may take some meanwhile.
_SPARE_THREADS = 4


class Watcher:
    """Calls ``hurry`` (from a thread of its own) soon after something changed at ``roots``, with
    the folders where, or None for anywhere; and ``reports`` with whether it is called after every
    change in all of them.

    Where the system can't watch, one line in the log says so, and the regular scan serves.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        hurry: Callable[[Collection[str] | None], None],
        reports: Callable[[bool], None] = lambda reported: None,
        *,
        follow_symlinks: bool = False,
    ) -> None:
        self._roots = tuple(Path(root).absolute() for root in roots)
        self._hurry, self._reports = hurry, reports
        self._follow = follow_symlinks
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._said = ""
        # Of the roots, from before they were listed.
        self._stamps: list[_Stamp | None] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Waits for the thread to end, a moment at most."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(2.0)

    def _run(self) -> None:
        while not self._stopping.is_set():
            folders = self._folders()
            try:
                self._watch(folders)
            except FileNotFoundError:
                self._stopping.wait(_SOON_S)  # a folder went between listing and watching
            except Exception as error:  # noqa: BLE001 - the library's own; scans go on without it
                self._say(error)
                self._stopping.wait(_AGAIN_S)
            finally:
                self._reports(False)

    def _folders(self) -> dict[str, int]:
        """What is to be watched now, with inodes: a folder made anew is another one."""
        found: dict[str, int] = {}
        self._stamps = self._stamps_now()
        for root in self._roots:
            with contextlib.suppress(OSError):
                real = self._real(root)
                entries = tree.list_entries(real)
                found[real] = Path(real).stat().st_ino
                for entry in entries:
                    if self._is_model(entry):
                        found[entry.path] = _inode(entry)
        return dict(itertools.islice(found.items(), MAX_WATCHED))

    def _is_model(self, entry: os.DirEntry[str]) -> bool:
        return (
            not (entry.name.startswith(".") or is_digits(entry.name))
            and tree.is_directory(entry)
            and (self._follow or not entry.is_symlink())
        )

    def _watch(self, folders: Mapping[str, int]) -> None:
        """Until the folders are others."""
        if not folders:
            self._stopping.wait(_AGAIN_S)
            return
        # Its library ends the process where it gets none (fault 115).
        machine.spare_threads(_SPARE_THREADS)
        changes = watch(
            *sorted(folders),
            watch_filter=_any,
            debounce=_MOST_MS,
            step=_STEP_MS,
            stop_event=self._stopping,
            rust_timeout=int(min(_AGAIN_S, _WORD_S) * 1000),
            yield_on_timeout=True,
            raise_interrupt=False,
            force_polling=False,
            recursive=False,
            ignore_permission_denied=True,
        )
        # It has begun when it first says something: what changed before may be anywhere.
        next(changes, None)
        self._hurry(None)
        if self._folders() != folders:
            return
        self._reports(self._are_all_reported(folders))
        looked = time.monotonic()
        for found in changes:
            touched = _touched(found, folders)
            if found:
                self._hurry(touched)
            elif time.monotonic() < looked + _AGAIN_S:
                continue
            looked = time.monotonic()
            if self._may_be_others(touched) and self._folders() != folders:
                return

    def _are_all_reported(self, folders: Mapping[str, int]) -> bool:
        """Whether the system tells of all that happens in these. Not where another machine, or
        a host around this one, may write; nor where they may be more than are watched, or two
        of them are one folder, of which it tells by one name only."""
        missing = [root for root in map(self._real, self._roots) if root not in folders]
        if sys.platform != "linux" or len(folders) >= MAX_WATCHED:
            return False
        if not all(map(os.path.isfile, missing)):
            return False
        try:
            found = {folder: Path(folder).stat() for folder in folders}
            if len({(one.st_dev, one.st_ino) for one in found.values()}) < len(found):
                return False
            devices = {one.st_dev: folder for folder, one in found.items()}
            return all(is_local(Path(folder)) for folder in devices.values())
        except OSError:
            return False

    def _may_be_others(self, touched: Collection[str]) -> bool:
        """Whether the folders to be watched may be others since."""
        if self._follow or any(self._real(root) in touched for root in self._roots):
            return True
        return self._stamps_now() != self._stamps

    def _real(self, root: Path) -> str:
        return os.path.realpath(root) if self._follow else str(root)

    def _stamps_now(self) -> list[_Stamp | None]:
        return [_stamp(self._real(root)) for root in self._roots]

    def _say(self, error: Exception) -> None:
        reason = type(error).__name__
        if machine.is_thread_shortage(error):
            reason = "no thread could be started"
        if reason != self._said:
            self._said = reason
            log.warning(
                "registry_not_watched",
                reason=reason,
                effect="changes are found by the regular scan",
            )


_Stamp = tuple[int, int, int, int]


def _stamp(folder: str) -> _Stamp | None:
    try:
        found = Path(folder).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns


def _touched(found: Collection[tuple[Change, str]], folders: Mapping[str, int]) -> set[str]:
    """The folders in which something changed, or which did."""
    paths = {path for _, path in found}
    return {one for one in paths.union(map(os.path.dirname, paths)) if one in folders}


def _inode(entry: os.DirEntry[str]) -> int:
    return entry.stat().st_ino if entry.is_symlink() else entry.inode()


def _any(change: Change, path: str) -> bool:
    del change, path
    return True
