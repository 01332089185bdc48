"""Which documents of a state directory are of the registry that is served.

Pins, unloads and tracking runs are of models by their names, and another registry may have a
model of the same name. So each registry has a folder of its own, which says whose it is.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from serving.events import log
from serving.state_dir import StateDir

_FOLDERS = "registries"
_DOCUMENT = "registry"
# Those that were served longest ago go.
_MOST = 32
# What lay in the directory itself before there was more than one registry to it.
_BEFORE = ("models.json", "signatures.json", "tracking-mlflow-runs.json", "tracking")


def of_registry(base: StateDir, roots: Sequence[Path | str]) -> StateDir:
    """The part of ``base`` for what is served from ``roots``, directories and addresses: that of a
    registry which shares one of them, or a new one. To be called by who holds the directory."""
    ours, known = _identities(roots), _known(base)
    chosen = _chosen(ours, known)
    if chosen and set(before := dict(known)[chosen]) != ours:
        _tell_change(base, before, ours)
    if not chosen:
        chosen = secrets.token_hex(8)
        _tell(base, roots, [theirs for _, theirs in known])
        _make_room(base)
    part = base.below(f"{_FOLDERS}/{chosen}")
    if not known:
        _adopt(part)
    part.write(_DOCUMENT, {"roots": sorted(ours)})
    return part


def find_registry(base: StateDir, roots: Sequence[Path | str]) -> StateDir | None:
    """The same for who only looks; None where there is none yet."""
    chosen = _chosen(_identities(roots), _known(base))
    return base.below(f"{_FOLDERS}/{chosen}") if chosen else None


def _chosen(ours: set[str], known: Sequence[tuple[str, Sequence[str]]]) -> str:
    """The part that shares most directories, "" where none shares any."""
    chosen, most = "", 0
    for name, theirs in known:
        shared = len(ours & set(theirs))
        # The last one is the one that was served last.
        if shared and shared >= most:
            chosen, most = name, shared
    return chosen


def _identities(roots: Sequence[Path | str]) -> set[str]:
    """Of directories by name, for a link that leads elsewhere tomorrow, and by place, for another
    name; addresses as they are."""
    folders = [root for root in roots if isinstance(root, Path)]
    addresses = {root for root in roots if isinstance(root, str)}
    paths = {path(root) for root in folders for path in (os.path.abspath, os.path.realpath)}
    return paths | addresses


def _known(base: StateDir) -> list[tuple[str, list[str]]]:
    """The names of all parts with their roots, the one served last at the end."""
    found = []
    for folder in _folders(base):
        said = base.below(f"{_FOLDERS}/{folder.name}").read(_DOCUMENT)
        roots = said.get("roots") if isinstance(said, dict) else None
        if isinstance(roots, list) and all(isinstance(root, str) for root in roots):
            found.append((folder.name, roots))
    return found


def _folders(base: StateDir) -> list[Path]:
    """Oldest first."""
    found: dict[Path, int] = {}
    if base.path is not None:
        with suppress(OSError):
            for folder in (base.path / _FOLDERS).iterdir():
                with suppress(OSError):
                    found[folder] = (folder / f"{_DOCUMENT}.json").stat().st_mtime_ns
    return sorted(found, key=lambda folder: (found[folder], folder))


def _tell(base: StateDir, roots: Sequence[Path | str], others: Sequence[Sequence[str]]) -> None:
    if others:
        log.warning(
            "state_of_another_registry",
            path=str(base.path),
            registries=[", ".join(other) for other in others],
            serving=[str(root) for root in roots],
            effect="pins, unloads, signatures and tracking runs are kept by model directory: what"
            " is kept for the registries named here is not applied to the one served now",
            advice="nothing is to be done where these are other models; the same models under"
            " another path need the commands again that are to hold ('serving models default NAME"
            " VERSION' for a pin)",
        )


def _tell_change(base: StateDir, before: Sequence[str], ours: set[str]) -> None:
    log.info(
        "state_registry_changed",
        path=str(base.path),
        before=sorted(before),
        serving=sorted(ours),
        effect="pins, unloads and tracking runs that were kept for the one are the other's now",
    )


def _make_room(base: StateDir) -> None:
    for folder in _folders(base)[: -(_MOST - 1)]:
        shutil.rmtree(folder, ignore_errors=True)


def _adopt(part: StateDir) -> None:
    """Documents of a gateway that knew of one registry only are this one's."""
    if part.path is None:
        return
    for name in _BEFORE:
        if (part.path / name).exists():
            part.take_over(part.path / name)
