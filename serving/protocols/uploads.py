"""What a load request may name its files: never a place outside the model, never code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NoReturn

from serving.errors import ErrorCode, ServingError
from serving.protocols.views import shown
from serving.registry.names import version_number

MAX_FILES = 256
MAX_NAME_BYTES = 255
_MAX_DEPTH = 4
# Shared libraries, also with a version behind the suffix: no load brings code.
_LIBRARY = re.compile(r"\.(so|dll|dylib|pyd)(\.|$)", re.IGNORECASE)


def check_files(files: Mapping[str, object]) -> dict[str, bytes]:
    """``1/model.onnx`` -> its bytes, checked. Raises ServingError."""
    if len(files) > MAX_FILES:
        _refuse(f"a load request has at most {MAX_FILES} files, got {len(files)}")
    checked: dict[str, bytes] = {}
    for name, content in files.items():
        _check_name(name)
        if not isinstance(content, bytes):
            _refuse(f"file '{shown(name)}' must come as bytes")
        checked[name] = content
    for name in checked:
        if any(other.startswith(f"{name}/") for other in checked):
            _refuse(f"'{shown(name)}' is both a file and a folder")
    return checked


def _check_name(name: str) -> None:
    parts = name.split("/")
    if any(not _is_plain(part) for part in parts) or len(name.encode()) > MAX_NAME_BYTES:
        _refuse(
            f"invalid file name '{shown(name)}': it must be relative, without '..', "
            f"and have at most {MAX_NAME_BYTES} bytes"
        )
    if _LIBRARY.search(parts[-1]):
        _refuse(f"file '{shown(name)}' is refused: a load request may not bring code")
    if not 1 < len(parts) <= _MAX_DEPTH or not _is_version(parts[0]):
        _refuse(
            f"file '{shown(name)}' is not below a version: expected a name such as '1/model.onnx'"
        )


def _is_version(name: str) -> bool:
    try:
        return version_number(name) > 0
    except ValueError:
        return False


def _is_plain(part: str) -> bool:
    return bool(part) and part not in (".", "..") and "\\" not in part and part.isprintable()


def _refuse(words: str) -> NoReturn:
    raise ServingError(ErrorCode.BAD_REQUEST, words)
