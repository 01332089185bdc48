"""The state directory as a gateway opens it: its own, or none of its own."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.events import log
from serving.registry_state import of_registry
from serving.settings import Settings
from serving.state_dir import StateDir, make_root
from serving.state_lock import HeldError, StateLock


class StateHeldError(Exception):
    """Another gateway has the directory, and the settings don't let us start without it."""


class NoDirectoryError(Exception):
    """Something else lies where the state directory is to be."""


@dataclass(frozen=True, slots=True)
class OpenedState:
    """``settings``: those that were given, without a directory where it is another's.
    ``shared`` holds what is true of files whoever serves them, ``own`` what was decided
    about the models of this registry. ``is_held``: another gateway has the directory, for now."""

    settings: Settings
    shared: StateDir
    own: StateDir
    lock: StateLock | None
    is_held: bool = False

    def close(self) -> None:
        """Let another gateway have it."""
        if self.lock is not None:
            self.lock.release()


def open_state(settings: Settings, roots: Sequence[Path | str]) -> OpenedState:
    """Hold the directory, where there is one to write to; a gateway that can't write there
    disturbs nobody. Raises StateHeldError, NoDirectoryError."""
    folder = settings.state_dir
    if folder is None:
        nothing = StateDir(None)
        return OpenedState(settings, nothing, nothing, None)
    if _is_other(folder):
        raise NoDirectoryError(
            f"state directory {folder}: there is a file, and no directory (--state-dir)"
        )
    try:
        lock = _locked(folder)
    except HeldError as error:
        return _without(settings, folder, error)
    shared = StateDir(folder)
    return OpenedState(settings, shared, of_registry(shared, roots), lock)


def _is_other(folder: Path) -> bool:
    try:
        return folder.exists() and not folder.is_dir()
    except OSError:
        return False  # it can't be looked at: memory serves


def _locked(folder: Path) -> StateLock | None:
    try:
        make_root(folder)
    except OSError:
        return None  # the first write says so
    try:
        return StateLock(folder)
    except OSError as error:
        if error.errno == errno.EROFS:
            return None  # the first write says so: nobody writes there
        log.warning(
            "state_not_locked",
            path=str(folder),
            reason=(error.strerror or str(error)).lower(),
            effect="nothing keeps another gateway from writing there too",
        )
        return None


def _without(settings: Settings, folder: Path, error: HeldError) -> OpenedState:
    if settings.state.when_held == "exit":
        raise StateHeldError(
            f"state directory {folder}: held by {error.holder}: stop that one, give this one"
            " a directory of its own (--state-dir), or let it start without"
            " (--set state.when_held=memory)"
        ) from None
    log.warning(
        "state_held",
        path=str(folder),
        pid=error.holder.pid,
        host=error.holder.host,
        effect="pins and what else was decided are not applied, and what is decided now is not"
        " kept, until that one has ended",
    )
    alone = settings.model_copy(update={"state_dir": None})
    # Nothing is written, of which was told above.
    own = StateDir(None, is_ours=False)
    return OpenedState(alone, StateDir(folder, is_ours=False), own, None, is_held=True)
