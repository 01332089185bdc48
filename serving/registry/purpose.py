"""What a folder without a single version in it is for: nothing of ours, or a model that lies
in the wrong way. Pure: it looks at names only.

Volumes, network disks and archives leave folders of their own beside models, and people leave
logs; nobody wants to hear of those more than once. A folder with a model file somewhere in it
was meant to be served, and whoever laid it there wants to hear what to do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from serving.registry.names import MODEL_FILE, SIDE_FOLDERS, is_config, is_digits, version_number

# How deep a folder is looked into: group/model/1/model.onnx is one level too low.
DEPTH = 3
# Entries looked at.
MOST = 512

# Made by file systems, network disks and archivers, and by Python.
_SYSTEMS = frozenset(
    {
        *("lost+found", "@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle"),
        *("#snapshot", "$recycle.bin", "system volume information", "__macosx", "__pycache__"),
    }
)
# Also one that is still being copied, or its weights.
_ONNX = re.compile(r".*\.onnx([._-].*)?", re.IGNORECASE)
# What other frameworks save, by endings that nothing else has ...
_FOREIGN = re.compile(
    r"saved_model\.pb(txt)?|.*\.savedmodel|.*\.(ort|pt|pth|keras|tflite|plan|engine|safetensors)"
    r"|pytorch_model.*\.bin|MLmodel",
    re.IGNORECASE,
)
# ... and by those that data may have too: they tell only in a numbered folder, or by their name.
_PERHAPS = re.compile(r".*\.(pb|pkl|joblib|h5|hdf5)", re.IGNORECASE)
_NAMED_MODEL = re.compile(r"(.*[-_.])?(model|weights)[-_.].*", re.IGNORECASE)
_VERSION_LIKE = re.compile(
    r"[-+]?(?:v|ver|version|r|rev|release)?[-_. ]?([0-9]+)(?:\.[0-9]+)*\s*",
    re.IGNORECASE | re.ASCII,
)

Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Purpose:
    """``passed_over``: why the folder is no model at all; ``error``: it was meant for one, and
    what to do. Neither: it is a model."""

    passed_over: str = ""
    error: str = ""


_A_MODEL = Purpose()


def is_systems(name: str) -> bool:
    """Whether a folder of this name is the system's own, whatever lies in it."""
    return name.lower() in _SYSTEMS


def is_loose_model(name: str) -> bool:
    """Whether a file of this name, beside models' folders, was meant for a model."""
    return _is_onnx(name) and not name.startswith(".")


def is_loose_foreign(name: str) -> bool:
    """The same of another framework's files."""
    return not name.startswith(".") and _is_foreign(name)


def not_onnx(file: str, place: str) -> str:
    """What to do about another framework's file: ``place`` is where a model's would be."""
    if file.rpartition("/")[2].lower() == "mlmodel":
        return (
            f"'{file}' is no ONNX model, and only those are served: convert what MLflow saved, and"
            " save it with mlflow.onnx.save_model"
        )
    return f"'{file}' is no ONNX model, and only those are served: export it to ONNX, as {place}"


def purpose(name: str, paths: Sequence[str]) -> Purpose:
    """Of the folder ``name`` with these ``paths`` in it: relative, those of folders with a
    slash at the end, not all of them where they are many (``DEPTH``, ``MOST``)."""
    if not paths:
        return Purpose(passed_over="it is empty")
    shown = [path for path in paths if not _is_hidden(path)]
    tops = {path.rstrip("/") for path in shown if "/" not in path.rstrip("/")}
    if any(is_config(top) or top in SIDE_FOLDERS for top in tops) or _has_versions(shown):
        return _A_MODEL
    models = [
        tuple(path.split("/"))
        for path in shown
        if not path.endswith("/") and _is_onnx(path) and path.split("/")[0] not in SIDE_FOLDERS
    ]
    models.sort(key=len)
    for parts in models:
        if words := _misplaced(name, parts):
            return Purpose(error=words)
    if number := next((top for top in sorted(tops) if _is_version(top) and top in shown), None):
        return Purpose(error=f"'{number}' is a file: a version is a folder that holds {MODEL_FILE}")
    if file := _foreign(shown):
        return Purpose(error=not_onnx(file, f"1/{MODEL_FILE}"))
    if models:
        return Purpose(
            passed_over=f"no version in it; its model file, {'/'.join(models[0])}, lies deeper"
        )
    return Purpose(passed_over="it holds neither a version nor a model file")


def _has_versions(shown: Sequence[str]) -> bool:
    """Whether numbered folders hold something of a model, or nothing yet."""
    numbered = {path for path in shown if path.count("/") == 1 and _is_version(path[:-1])}
    below = [path for path in shown if path.partition("/")[0] + "/" in numbered]
    held = [path for path in below if path not in numbered]
    return bool(numbered) and (not held or _hold_model(held))


def _hold_model(paths: Sequence[str]) -> bool:
    names = [path.rstrip("/").rpartition("/")[2] for path in paths]
    known = (_ONNX, _FOREIGN, _PERHAPS)
    return any(kind.fullmatch(name) for name in names for kind in known) or bool(_openvino(paths))


def _foreign(shown: Sequence[str]) -> str:
    """A file of another framework that lies where one of ours would be taken as meant; "" where
    there is none."""
    near = [
        path
        for path in shown
        if "/" not in path.rstrip("/") or _VERSION_LIKE.fullmatch(path.partition("/")[0])
    ]
    for path in sorted(near, key=lambda path: (path.count("/"), path)):
        if _is_foreign(path.rstrip("/").rpartition("/")[2]):
            return path.rstrip("/")
    return _openvino(near)


def _is_foreign(name: str) -> bool:
    perhaps = _PERHAPS.fullmatch(name) and _NAMED_MODEL.fullmatch(name)
    return bool(_FOREIGN.fullmatch(name) or perhaps)


def _openvino(paths: Sequence[str]) -> str:
    """A network of OpenVINO's: an .xml and, beside it, a .bin of the same name."""
    weights = {path[:-4] for path in paths if path.lower().endswith(".bin")}
    xml = (path for path in paths if path.lower().endswith(".xml") and path[:-4] in weights)
    return next(xml, "")


def _misplaced(name: str, parts: Parts) -> str:
    """What to do about this ONNX file; "" where it lies too deep to have been meant."""
    if len(parts) == 1:
        (file,) = parts
        return f"'{file}' lies beside where its versions should: move it to 1/{MODEL_FILE}"
    sub, file = parts[0], parts[-1]
    named = "" if file == MODEL_FILE else f", and '{file}' in it to {MODEL_FILE}"
    if len(parts) == 2 and (like := _VERSION_LIKE.fullmatch(sub)):
        return f"'{sub}' is no version's name: rename it to {_number(like[1])}{named}"
    if len(parts) == 2:
        return (
            f"'{sub}/{file}' lies one level too low: if '{sub}' is a model, move it up, beside"
            f" '{name}'; if it is a version of '{name}', rename it to 1{named}"
        )
    if len(parts) == 3 and _is_version(parts[1]):
        return (
            f"'{'/'.join(parts)}' lies one level too low: move '{sub}' up, beside '{name}', or"
            f" start the gateway with '{name}' as a directory of models"
        )
    return ""


def _number(digits: str) -> int:
    try:
        return version_number(digits, zeros=True)
    except ValueError:
        return 1


def _is_version(name: str) -> bool:
    return is_digits(name) and not name.startswith("0")


def _is_onnx(path: str) -> bool:
    return path.lower().endswith(".onnx")


def _is_hidden(path: str) -> bool:
    """Hidden, or in a folder that is or that is the system's."""
    return any(part.startswith(".") or is_systems(part) for part in path.split("/"))
