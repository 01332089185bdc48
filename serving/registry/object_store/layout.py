"""How models lie below a store's URL: as in a directory (``registry.layout``). Pure."""

from __future__ import annotations

from collections.abc import Iterable

from serving.registry.names import (
    MODEL_FILE,
    SIDE_FOLDERS,
    UNFINISHED,
    is_config,
    is_digits,
    version_number,
    why_no_model,
)
from serving.registry.object_store.store import Level
from serving.registry.purpose import is_systems


def is_model(level: Level, first: Level | None) -> bool:
    """Whether what lies at a URL is itself a model: it holds ``model.onnx``, or folders named by
    digits and none that may be models. ``first``: what is in the first one named by digits."""
    numbered = [name for name in level.folders if is_digits(name)]
    if not numbered and MODEL_FILE not in level.files:
        return False
    if first is not None and _says_model(first):
        return False
    return not any(map(_may_be_model, (name for name in level.folders if not is_digits(name))))


def _says_model(level: Level) -> bool:
    return any(map(is_digits, level.folders)) or any(map(is_config, level.files))


def _may_be_model(name: str) -> bool:
    return name not in SIDE_FOLDERS and not name.startswith(".") and not is_systems(name)


def models_in(level: Level) -> tuple[list[str], dict[str, str]]:
    """Folders that may be models, and others with why not."""
    names, others = [], {}
    for name in level.folders:
        if why := why_no_model(name):
            others[name] = why
        elif _may_be_model(name):
            names.append(name)
    return names, others


def versions_in(folders: Iterable[str], *, itself: bool) -> tuple[dict[int, str], dict[str, str]]:
    """Version -> its folder's name, and others with why not. ``itself``: zeros may lead."""
    found: dict[int, str] = {}
    others: dict[str, str] = {}
    for name in sorted(folders, key=len):
        if name in SIDE_FOLDERS or name.startswith((UNFINISHED, ".")):
            continue
        try:
            number = version_number(name, zeros=itself)
        except ValueError as why:
            others[name] = str(why)
            continue
        if number in found:
            others[name] = f"the same version as {found[number]}"
        else:
            found[number] = name
    return found, others
