"""What to say of a version without its model file: a look at what lies there instead."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path

# Entries looked at, and named.
_MOST = 256
_NAMED = 3


def words_for_missing(version_dir: Path, filename: str) -> str:
    """``there is no model.onnx``, and what to do about it. Bounded; never raises OSError."""
    names = _entries(version_dir)
    below = [
        f"{name}{inner}"
        for name in names
        if name.endswith("/")
        for inner in _entries(version_dir / name)
        if _is_onnx(inner)
    ]
    return describe(filename, names, below)


def describe(filename: str, names: Sequence[str], below: Sequence[str]) -> str:
    """``names`` of what lies in the version's folder, those of folders with a slash at the
    end; ``below``: the ONNX files one level lower."""
    what = f"there is no {filename}"
    models = [name for name in names if _is_onnx(name)]
    if len(models) == 1:
        return f"{what}, but {models[0]}: rename it to {filename}, or {_setting('it')}"
    if models:
        which = "the one that is the model"
        return f"{what}, but {_some(models)}: rename {which} to {filename}, or {_setting('it')}"
    if below:
        return f"{what}, but {_some(below)}: move it up one level, to {filename}"
    if names:
        return f"{what}, only {_some(names)}: a version holds a model in ONNX's format"
    return what


def _setting(what: str) -> str:
    return f"set default_model_filename (config.pbtxt) or model_filename (model.yaml) to {what}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    few = [*names[:_NAMED], *([f"{more} more"] if more > 0 else [])]
    return " and ".join(filter(None, [", ".join(few[:-1]), few[-1]]))


def _is_onnx(name: str) -> bool:
    return name.lower().endswith(".onnx")


def _entries(folder: Path) -> list[str]:
    """Visible names, sorted; what can't be printed in them is a question mark."""
    try:
        with os.scandir(folder) as entries:
            few = list(itertools.islice(entries, _MOST))
            named = sorted((e.name, e.is_dir(follow_symlinks=False)) for e in few)
    except OSError:
        return []
    return [
        "".join(c if c.isprintable() else "?" for c in name) + ("/" if is_folder else "")
        for name, is_folder in named
        if not name.startswith(".")
    ]
