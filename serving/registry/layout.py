"""How models lie in a directory: one below another, or the directory itself is one.

Three layouts: ``DIR/<model>/<version>/`` (Triton's); ``DIR/<version>/``, where DIR itself is
the model (TensorFlow Serving's); and a model's folder that holds ``model.onnx`` directly,
which is its version 1. Telling them apart needs only names, mostly DIR's own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from serving.registry.names import MODEL_FILE, SIDE_FOLDERS, is_config, is_digits
from serving.registry.purpose import is_systems
from serving.registry.tree import is_directory, list_entries

BELOW = "<model>/<version>/"
ITSELF = "<version>/: the directory itself is the model"
DIRECT = f"{MODEL_FILE} in the model's own folder: version 1"

Entry = os.DirEntry[str]


def is_model(entries: Sequence[Entry], follow: bool) -> bool:
    """Whether a directory with these entries is itself a model.

    It is, if it holds ``model.onnx``, or folders named by digits that hold files, and none
    that is a model. ``follow``: links to folders count.
    """
    if not any(e.name.isdigit() or e.name == MODEL_FILE for e in entries):
        return False
    folders = [e for e in entries if is_directory(e) and (follow or not e.is_symlink())]
    numbered = [e for e in folders if is_digits(e.name)]
    if not numbered and not any(e.name == MODEL_FILE and e not in folders for e in entries):
        return False
    if _first_says_model(numbered):
        return False
    others = (e for e in folders if not is_digits(e.name) and _may_be_model(e.name))
    return not any(_looks_like_model(e.path) for e in others)


def _first_says_model(numbered: Iterable[Entry]) -> bool:
    """The first numbered folder that isn't empty tells what they all are."""
    for entry in numbered:
        names = _names(entry.path)
        if names:
            return any(is_digits(name) or is_config(name) for name in names)
    return False


def _may_be_model(name: str) -> bool:
    return not name.startswith(".") and name not in SIDE_FOLDERS and not is_systems(name)


def _looks_like_model(folder: str) -> bool:
    return any(is_digits(n) or is_config(n) or n == MODEL_FILE for n in _names(folder))


def _names(folder: str) -> list[str]:
    """Visible ones; none where it can't be read."""
    try:
        return [e.name for e in list_entries(folder) if not e.name.startswith(".")]
    except OSError:
        return []
