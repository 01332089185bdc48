"""TensorFlow Serving's URLs under ``/v1`` that are not prediction: one row a pattern.

Patterns match whole paths as they were sent, in any case; names in them are percent-decoded
afterwards. What no row takes is malformed, whatever the verb: 400, not 404 or 405.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from google.protobuf import json_format

from serving.errors import ErrorCode, ServingError
from serving.protocols.call_context import CallContext
from serving.protocols.tensorflow_serving import (
    CODES,
    FIELD,
    ModelSpec,
    signatures,
    status_of,
)
from serving.protocols.views import decode_name, shown

if TYPE_CHECKING:
    from serving import _core

# Of versions: beyond it there is none on the wire of their services.
_MOST = 2**63 - 1
_UNDER = re.compile(r"/v1(?:/.*)?", re.IGNORECASE | re.DOTALL)
_ORIGIN = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Request:
    """``parts`` are the named pieces of the path, still percent-encoded."""

    context: CallContext
    call: _core.Call
    parts: Mapping[str, str | None]

    @property
    def spec(self) -> ModelSpec:
        """Raises ServingError BAD_REQUEST for what can be no name, version or label."""
        name = decode_name(self.parts["model"] or "")
        version, label = self.parts["version"], self.parts["label"]
        return ModelSpec(
            name,
            None if version is None else _version(version),
            None if label is None else unquote(label, errors="replace"),
        )


Handler = Callable[[Request], dict[str, Any]]


def answers(path: str) -> bool:
    """Whether a path is TensorFlow Serving's."""
    return _UNDER.fullmatch(path) is not None


def answer(context: CallContext, call: _core.Call) -> bytes:
    """The JSON answer to the URL that ``call`` names. Raises ServingError."""
    if call.method == "OPTIONS":
        return _options(call)
    # The door leaves the body out.
    method = "GET" if call.method == "HEAD" else call.method
    for pattern, verb, handler in ROUTES:
        match = pattern.fullmatch(call.path)
        if match is not None and verb == method:
            found = handler(Request(context, call, match.groupdict()))
            return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()
    raise ServingError(
        ErrorCode.BAD_REQUEST,
        f"Malformed request: {call.method} {shown(call.path)}: expected POST"
        " /v1/models/NAME[/versions/N|/labels/LABEL]:predict, :classify or"
        " :regress, or GET"
        " /v1/models/NAME[/versions/N|/labels/LABEL][/metadata]",
    )


def _options(call: _core.Call) -> bytes:
    """As they answer it; which origins are let in is the door's (setting http.cors_origins)."""
    if _ORIGIN.match(call.headers.get("origin", "")) is None:
        raise ServingError(
            ErrorCode.FAILED_PRECONDITION, "Origin header is missing in CORS preflight"
        )
    return b""


def _version(text: str) -> int:
    digits = text.lstrip("0") or "0"
    # Longer ones need not be looked at.
    if len(digits) > len(str(_MOST)) or int(digits) > _MOST:
        words = f"Failed to convert version: {shown(text)} to numeric."
        raise ServingError(ErrorCode.BAD_REQUEST, words)
    return int(digits)


def _status(request: Request) -> dict[str, Any]:
    found = _as_json(status_of(request.context.directory, request.spec))
    for one in found["model_version_status"]:
        # An enum in TensorFlow's own messages.
        one["status"]["error_code"] = CODES[one["status"]["error_code"]]
    return found


def _metadata(request: Request) -> dict[str, Any]:
    spec = request.spec
    version = spec.find(request.context.directory)
    return {
        "model_spec": {"name": spec.name, "signature_name": "", "version": str(version.number)},
        "metadata": {FIELD: _as_json(signatures(version))},
    }


def _no_model(request: Request) -> dict[str, Any]:
    raise ServingError(ErrorCode.BAD_REQUEST, "Missing model name in request.")


def _as_json(message: Any) -> dict[str, Any]:
    """As protobuf has it: 64-bit integers as texts, enums by name, every plain field."""
    found: dict[str, Any] = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return found


_MODEL = r"/v1/models/(?P<model>[^/:]+)"
_CHOICE = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"

# Inference is the core's.
_ROWS: list[tuple[str, str, Handler]] = [
    (_MODEL + _CHOICE, "GET", _status),
    (_MODEL + _CHOICE + "/metadata", "GET", _metadata),
    # Without a name a version says nothing.
    (r"/v1/models" + _CHOICE + "(?:/metadata)?", "GET", _no_model),
]
ROUTES = tuple(
    (re.compile(pattern, re.IGNORECASE), verb, handler) for pattern, verb, handler in _ROWS
)
