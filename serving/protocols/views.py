"""Finding what a request names, and the words for what cannot be found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn, Protocol
from urllib.parse import unquote_to_bytes

from serving.errors import ErrorCode, ServingError
from serving.models.state import State
from serving.models.views import ModelView, VersionView

_INTEGER = re.compile(r"-?[0-9]{1,19}")
_SHOWN_CHARACTERS = 128
# Names and versions that an error lists.
_FEW = 8
# No call so far has use for more; parsing it would hold the interpreter.
MAX_BODY_BYTES = 64 * 1024
# A name is a folder's; no file system has longer ones.
MAX_NAME_BYTES = 255


class Directory(Protocol):
    """Where the models as they stand can be read; the manager is one."""

    def views(self) -> Sequence[ModelView]: ...


def find_model(directory: Directory, name: str) -> ModelView:
    """Raises ServingError NOT_FOUND."""
    views = directory.views()
    for view in views:
        if view.name == name:
            return view
    raise unknown_model(name, views)


def unknown_model(name: str, views: Sequence[ModelView]) -> ServingError:
    """As the core says it: with the nearest name, or all of them where they are few."""
    words = f"Request for unknown model: '{shown(name)}' is not found"
    return ServingError(ErrorCode.NOT_FOUND, f"{words}{_known(name, [v.name for v in views])}")


def _known(name: str, names: Sequence[str]) -> str:
    from serving import _core

    near = _core.nearest(name, tuple(names))
    if near is not None:
        return f"; did you mean '{shown(near)}'?"
    if not names:
        return "; there is no model yet"
    if len(names) > _FEW:
        return ""
    return "; known models: " + ", ".join(sorted(f"'{shown(one)}'" for one in names))


def find_version(view: ModelView, number: int | None) -> VersionView:
    """The READY version ``number``, or the one that answers unnamed requests.

    Raises ServingError: NOT_FOUND for a version that is not known, UNAVAILABLE for
    one that is not READY.
    """
    route = view.route
    wanted = route.default if number is None else number
    if wanted is None:
        _unavailable(f"Request for unavailable model: '{shown(view.name)}': {route.reason}")
    for version in view.versions:
        if version.number == wanted and version.state is State.READY:
            return version
    if wanted in route.unavailable:
        _unavailable(
            f"model '{shown(view.name)}' version {wanted} is not at ready state: "
            f"{route.unavailable[wanted]}"
        )
    words = f"Request for unknown model: '{shown(view.name)}' version {wanted} is not found"
    raise ServingError(ErrorCode.NOT_FOUND, f"{words}; {_where(view, wanted)}")


def _where(view: ModelView, wanted: int) -> str:
    """Where a version is that nobody knows, or which ones answer; as the core says it."""
    for version in view.unloaded:
        if version.number == wanted:
            return f"it is on disk and not loaded: {version.reason}"
    newest = [str(version.number) for version in reversed(ready_versions(view))]
    more = f" and {len(newest) - _FEW} more" if len(newest) > _FEW else ""
    return f"loaded: {', '.join(newest[:_FEW])}{more}" if newest else "no version is loaded"


def ready_versions(view: ModelView) -> tuple[VersionView, ...]:
    return tuple(version for version in view.versions if version.state is State.READY)


def _unavailable(message: str) -> NoReturn:
    raise ServingError(ErrorCode.UNAVAILABLE, message)


def parse_version(text: str) -> int | None:
    """A version from a request: ``None`` where it is empty, else a positive integer.

    Strict, as in the core. Raises ServingError BAD_REQUEST.
    """
    if not text:
        return None
    number = int(text) if _INTEGER.fullmatch(text) else 2**63
    if not -(2**63) <= number < 2**63:
        raise ServingError(
            ErrorCode.BAD_REQUEST,
            f"failed to get model version from specified version string '{shown(text)}' "
            "(details: not an integer), version should be an integral value > 0",
        )
    if number < 1:
        raise ServingError(
            ErrorCode.BAD_REQUEST,
            f"invalid model version specified '{number}' , version should be an integral value > 0",
        )
    return number


def decode_name(raw: str) -> str:
    """A name out of a URL, percent-decoded once; what could be a path is refused.

    Raises ServingError BAD_REQUEST.
    """
    try:
        name = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        raise ServingError(ErrorCode.BAD_REQUEST, "the model name is not valid UTF-8") from None
    return check_name(name)


def check_name(name: str) -> str:
    """The name itself. Raises ServingError BAD_REQUEST where it is none or could be a path."""
    if not name:
        raise ServingError(ErrorCode.BAD_REQUEST, "Model name cannot be empty")
    if len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES:
        raise ServingError(
            ErrorCode.BAD_REQUEST,
            f"invalid model name '{shown(name)}', it has more than {MAX_NAME_BYTES} bytes",
        )
    if name == "." or ".." in name or any(c in "/\\" or _is_control(c) for c in name):
        raise ServingError(
            ErrorCode.BAD_REQUEST,
            f"invalid model name '{shown(name)}', "
            "model name must not contain path traversal characters",
        )
    return name


def check_size(body: bytes, limit: int = MAX_BODY_BYTES) -> None:
    """Raises ServingError TOO_LARGE for a body that is not worth parsing."""
    if len(body) > limit:
        raise ServingError(
            ErrorCode.TOO_LARGE, f"the body has {len(body)} bytes, this call takes at most {limit}"
        )


def shown(name: str) -> str:
    """A client's word as an error may repeat it: without control characters, and not long."""
    text = "".join("\ufffd" if _is_control(c) else c for c in name[:_SHOWN_CHARACTERS])
    return f"{text}..." if len(name) > _SHOWN_CHARACTERS else text


def _is_control(character: str) -> bool:
    return ord(character) < 0x20 or 0x7F <= ord(character) <= 0x9F
