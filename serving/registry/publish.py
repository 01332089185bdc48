"""Writing a version so that it is there whole or not at all.

The files are copied into a hidden folder on the same disk, the manifest is written, all of
it is synced, and the folder is renamed to the version's number. The rename never goes over
another folder, so of two publishers with one number the second fails, and with the next free
number it takes the one after.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from serving.registry import tree
from serving.registry.copying import Progress, PublishError, copy_files, write_synced
from serving.registry.layout import is_model
from serving.registry.manifest import (
    MANIFEST_NAME,
    FileEntry,
    Manifest,
    ManifestError,
    parse_manifest,
)
from serving.registry.names import MAX_VERSION, MODEL_FILE, version_number
from serving.registry.placing import rename_to_new, sync_folder
from serving.registry.temporary import remove_dead, unfinished_folder

# Others that publish at the same moment and are quicker.
_MOST_RIVALS = 1000


@dataclass(frozen=True, slots=True)
class Measures:
    """What a trial found out here: ``seconds`` of a run by its rows, ``memory_bytes`` that the
    process grew by (0: unknown), how a gateway would batch it, in words."""

    seconds: Mapping[int, float]
    memory_bytes: int
    batching: str


@dataclass(frozen=True, slots=True)
class Published:
    """``notes``: what is other than one may expect of the version, in words. ``differs``: in
    which ways callers of the version ``below`` (0: there is none to compare with) would be wrong
    with this one. ``measures``: where it was tried. ``url``: where it is, if that is no path."""

    path: Path
    version: int
    notes: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()
    below: int = 0
    measures: Measures | None = None
    url: str = ""

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return self.url or str(self.path)


def write_version(
    files: Mapping[str, Path],
    to: Path,
    manifest: Manifest,
    *,
    auto: bool,
    check: Callable[[Path], None],
    progress: Progress,
) -> Published:
    """Publish ``files`` (relative path -> where it lies) below the registry directory ``to``.

    ``manifest`` says model, version and origin; files, sizes, sums and the time are filled
    in here. ``auto``: the version is the one after the highest there is. ``check`` gets the
    folder with the copied files and may refuse them.

    Raises PublishError in words. Nothing is left behind then, and what the death of a
    publisher leaves, the next one removes.
    """
    _check_place(to, manifest, auto)
    _check_words(manifest)
    folder = to / manifest.model
    try:
        parent = _clean_parent(folder)
        if not auto:
            _refuse_existing(folder, manifest.version)
        with unfinished_folder(parent) as hidden:
            unfinished = hidden / "version"
            unfinished.mkdir()
            entries = copy_files(files, unfinished, progress)
            check(unfinished)
            whole = dataclasses.replace(manifest, files=entries, created=_now())
            version = _place(unfinished, folder, whole, auto)
    except OSError as error:
        raise PublishError(_failed(error)) from error
    return Published(folder / str(version), version)


def _check_place(to: Path, manifest: Manifest, auto: bool) -> None:
    if not auto and not 1 <= manifest.version <= MAX_VERSION:
        raise PublishError(f"a version is an integer from 1 to {MAX_VERSION}")
    try:
        entries = tree.list_entries(str(to))
    except OSError as error:
        raise PublishError(f"the registry directory {tree.words(error)}") from None
    if is_model(entries, follow=True):
        raise PublishError(
            "the directory is itself a model, not one of models: name the one above it"
        )


def _check_words(manifest: Manifest) -> None:
    """That the manifest will be one, before anything is copied."""
    example = {"model.onnx": FileEntry(0, "0" * 64)}
    without = dataclasses.replace(manifest, samples=(), evaluation="", baseline="")
    _as_text(dataclasses.replace(without, version=1, created=_now(), files=example))


def _clean_parent(folder: Path) -> Path:
    """Where to write, free of what dead publishers left: the model's folder, so that it is on
    the same disk; beside it where there is none yet."""
    remove_dead(folder.parent)
    if not folder.is_dir():
        return folder.parent
    remove_dead(folder)
    return folder


def _place(unfinished: Path, folder: Path, manifest: Manifest, auto: bool) -> int:
    """Rename it to its version; which that became."""
    for _ in range(_MOST_RIVALS):
        number = _next_version(folder) if auto else manifest.version
        final = dataclasses.replace(manifest, version=number)
        _write_manifest(unfinished, final)
        try:
            _rename(unfinished, folder, number)
            return number
        except FileExistsError:
            if not auto:
                raise _exists(number) from None
    raise PublishError("others took every version that was free: publish again")


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    write_synced(folder / MANIFEST_NAME, _as_text(manifest))
    sync_folder(folder)


def _as_text(manifest: Manifest) -> str:
    """What is written must be what can be read."""
    try:
        text = manifest.to_json()
        parse_manifest(text.encode())
    except ManifestError as error:
        raise PublishError(error.reason) from None
    except (TypeError, ValueError) as error:
        raise PublishError(f"the notes for its manifest cannot be written: {error}") from None
    return text


def _rename(unfinished: Path, folder: Path, number: int) -> None:
    """A new model appears with its version in it, in one step too."""
    if not folder.is_dir():
        named = unfinished.with_name(str(number))
        unfinished.rename(named)
        sync_folder(named.parent)
        try:
            rename_to_new(named.parent, folder)
        except FileExistsError:
            named.rename(unfinished)  # somebody else made the model meanwhile
        else:
            sync_folder(folder.parent)
            return
    rename_to_new(unfinished, folder / str(number))
    sync_folder(folder)


def _refuse_existing(folder: Path, version: int) -> None:
    if version in versions_of(folder):
        raise _exists(version)


def _exists(version: int) -> PublishError:
    return PublishError(f"version {version} exists already, and what is published stays as it is")


def _next_version(folder: Path) -> int:
    number = max(versions_of(folder), default=0) + 1
    if number > MAX_VERSION:
        raise PublishError("the highest possible version exists already")
    return number


def versions_of(folder: Path) -> set[int]:
    """Every number that a folder, or anything else, stands for by its name."""
    found = set()
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    for name in names:
        with contextlib.suppress(ValueError):
            found.add(1 if name == MODEL_FILE else version_number(name, zeros=True))
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _failed(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full"
    where = f"{error.filename}: " if isinstance(error.filename, str) else ""
    return f"{where}{(error.strerror or 'input or output failed').lower()}"
