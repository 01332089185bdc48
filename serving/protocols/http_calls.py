"""``/``, what describes the calls, the URLs under ``/v2`` that are not inference or health, and
tables for MLflow's scoring protocol: one row a pattern.

Patterns match whole paths as they were sent, so an encoded slash never makes a
new segment. Rows that only the core answers are here for their verbs: asked with
another one they are 405, not 404.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from serving.errors import ErrorCode, ServingError
from serving.model_config import message_to_json_dict
from serving.protocols import mlflow_parquet, oip, trace_settings, triton
from serving.protocols.call_context import CallContext
from serving.protocols.entrance import entrance
from serving.protocols.later import Later
from serving.protocols.log_settings import LogSettings
from serving.protocols.not_found import not_found
from serving.protocols.openapi import Documents
from serving.protocols.repository import FILE, RepositoryControl, refuse_load
from serving.protocols.trace_settings import TraceSettings
from serving.protocols.views import (
    MAX_BODY_BYTES,
    Directory,
    check_size,
    decode_name,
    find_model,
    parse_version,
    shown,
)

if TYPE_CHECKING:
    from serving import _core


@dataclass(frozen=True, slots=True)
class Request:
    """``parts`` are the named pieces of the path, still percent-encoded."""

    context: CallContext
    call: _core.Call
    parts: Mapping[str, str | None]

    @property
    def directory(self) -> Directory:
        return self.context.directory

    @property
    def model(self) -> str:
        return decode_name(self.parts["model"] or "")

    @property
    def version(self) -> int | None:
        return parse_version(self.parts["version"] or "")


Handler = Callable[[Request], Any]


def answer(context: CallContext, call: _core.Call) -> bytes | Later:
    """The JSON answer to the URL that ``call`` names. Raises ServingError."""
    for pattern, verbs in ROUTES:
        match = pattern.fullmatch(call.path)
        if match is None:
            continue
        # The door leaves the body out.
        handler = verbs.get("GET" if call.method == "HEAD" else call.method)
        if handler is None:
            # The door makes the Allow header of the last word.
            words = f"Method Not Allowed: use {' or '.join(verbs)}"
            raise ServingError(ErrorCode.METHOD_NOT_ALLOWED, words)
        found = handler(Request(context, call, match.groupdict()))
        if isinstance(found, (bytes, Later)):
            return found
        text = json.dumps(found, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()
    words = not_found(call.path, (pattern for pattern, _ in ROUTES))
    raise ServingError(ErrorCode.NOT_FOUND, words)


def _entrance(request: Request) -> Any:
    context = request.context
    return entrance(context.server_name, context.ports, pages=context.documents is not None)


def _described(request: Request) -> Any:
    context = request.context
    return _documents(context).all(request.directory, context.server_name)


def _described_model(request: Request) -> Any:
    context = request.context
    return _documents(context).of_model(request.directory, request.model, context.server_name)


def _documents(context: CallContext) -> Documents:
    """Where pages are switched off the core has refused before."""
    if context.documents is None:
        raise ServingError(ErrorCode.NOT_FOUND, "Not Found")
    return context.documents


def _server_metadata(request: Request) -> Any:
    context = request.context
    return message_to_json_dict(oip.server_metadata(context.server_name, context.extensions))


def _model_names(request: Request) -> Any:
    return {"models": oip.model_names(request.directory)}


def _model_metadata(request: Request) -> Any:
    found = oip.model_metadata(request.directory, request.model, request.version)
    return message_to_json_dict(found)


def _model_config(request: Request) -> Any:
    found = triton.model_config(request.directory, request.model, request.version)
    return message_to_json_dict(found)


def _model_statistics(request: Request) -> Any:
    found = triton.model_statistics(request.directory, request.model, request.version)
    return message_to_json_dict(found)


def _all_statistics(request: Request) -> Any:
    return message_to_json_dict(triton.model_statistics(request.directory, "", None))


def _repository_index(request: Request) -> Any:
    ready = _json_object(request.call.body).get("ready")
    if ready is not None and not isinstance(ready, bool):
        raise ServingError(ErrorCode.BAD_REQUEST, "'ready' must be true or false")
    return triton.index_json(triton.repository_index(request.directory, ready=bool(ready)))


def _json_object(body: bytes, limit: int = MAX_BODY_BYTES) -> dict[str, Any]:
    """An empty body is an empty object. Raises ServingError."""
    check_size(body, limit)
    if not body.strip():
        return {}
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise ServingError(ErrorCode.BAD_REQUEST, "the body is not valid JSON") from None
    if not isinstance(found, dict):
        raise ServingError(ErrorCode.BAD_REQUEST, "the body must be a JSON object")
    return found


def _load(request: Request) -> Any:
    control, name = _admitted(request)
    body = request.call.body
    parameters = _parameters(body, control.max_body_bytes)
    for key, value in parameters.items():
        if key.startswith(FILE):
            parameters[key] = _from_base64(key, value)
    return control.load(name, parameters, len(body))


def _unload(request: Request) -> Any:
    control, name = _admitted(request)
    return control.unload(name, _parameters(request.call.body, MAX_BODY_BYTES))


def _admitted(request: Request) -> tuple[RepositoryControl, str]:
    """Whether the caller may is asked before the body is read: it may carry a model."""
    if request.parts.get("repository"):
        raise triton.refuse_repository_name()
    control = request.context.control
    if control is None:
        raise refuse_load()
    control.admit(request.call.headers)
    return control, request.model


def _parameters(body: bytes, limit: int) -> dict[str, Any]:
    found = _json_object(body, limit)
    for key in found:
        if key != "parameters":
            raise ServingError(
                ErrorCode.BAD_REQUEST, f"unrecognized key '{shown(key)}' in the body"
            )
    parameters = found.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise ServingError(ErrorCode.BAD_REQUEST, "'parameters' must be a JSON object")
    return parameters


def _from_base64(key: str, value: object) -> bytes:
    try:
        if isinstance(value, str):
            return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise ServingError(ErrorCode.BAD_REQUEST, f"parameter '{shown(key)}' must be base64 text")


def _traces(request: Request) -> Any:
    settings, model = _trace_settings(request)
    return trace_settings.as_json(settings.now(model))


def _change_traces(request: Request) -> Any:
    settings, model = _trace_settings(request)
    # Who may is asked before the body is read.
    settings.gate.check(request.call.headers)
    values = trace_settings.from_json(_json_object(request.call.body))
    settings.change(values, request.call.headers, model, oip.model_names(request.directory))
    return trace_settings.as_json(settings.now(model))


def _trace_settings(request: Request) -> tuple[TraceSettings, str]:
    """With the model that is meant; "" for all."""
    settings = request.context.traces
    if settings is None:
        raise triton.not_supported("the trace extension")
    model = request.model if "model" in request.parts else ""
    if model:
        find_model(request.directory, model)
    return settings, model


def _log(request: Request) -> Any:
    return _log_settings(request).now()


def _change_log(request: Request) -> Any:
    settings = _log_settings(request)
    settings.gate.check(request.call.headers)
    said = _json_object(request.call.body)
    # Null says nothing.
    values = {key: value for key, value in said.items() if value is not None}
    settings.change(values, request.call.headers)
    return settings.now()


def _log_settings(request: Request) -> LogSettings:
    settings = request.context.log
    if settings is None:
        raise triton.not_supported("the logging extension")
    return settings


def _table(request: Request) -> bytes:
    """A scoring request's Parquet as CSV: the core goes on with it."""
    call, most = request.call, request.context.max_message_bytes
    return mlflow_parquet.to_csv(call.body, mlflow_parquet.Terms(most, call.hold, call.is_awaited))


def is_table(call: _core.Call) -> bool:
    """Whether it takes long: it is to be answered apart from others."""
    return call.protocol == "http" and call.path == _TABLE


def _core_only(request: Request) -> Any:
    raise ServingError(ErrorCode.NOT_FOUND, "Not Found")


def _unbuilt(what: str) -> Handler:
    def refuse(request: Request) -> Any:
        raise triton.not_supported(what)

    return refuse


# Where the core sends what came as Parquet.
_TABLE = "/invocations"
_MODEL = r"/v2/models/(?P<model>[^/]+)"
_VERSION = r"(?:/versions/(?P<version>[0-9]+))?"
_REPOSITORY = r"/v2/repository(?:/(?P<repository>[^/]+))?"
_SYSTEM, _CUDA = "/v2/systemsharedmemory", "/v2/cudasharedmemory"
_REGION = r"/region/(?P<region>[^/]+)"
_ANY_REGION = f"(?:{_REGION})?"
_GENERATE = _unbuilt("the generate extension")


def _region(request: Request) -> str:
    return unquote(request.parts["region"] or "", errors="replace")


def _region_status(request: Request) -> Any:
    return [one._asdict() for one in request.context.shared_memory.status(_region(request))]


def _register_region(request: Request) -> Any:
    request.context.shared_memory.admit(request.call.headers)
    body = _json_object(request.call.body)
    key = body.get("key")
    if not isinstance(key, str):
        raise ServingError(ErrorCode.BAD_REQUEST, "'key' must be a string")
    if not key.isprintable():  # lone surrogates among others
        raise ServingError(ErrorCode.BAD_REQUEST, f"{ascii(key)[:64]} is no key of shared memory")
    place = (key, _size(body, "offset", 0), _size(body, "byte_size"))
    request.context.shared_memory.register(request.call.headers, _region(request), *place)
    return b""


def _size(body: dict[str, Any], key: str, default: int | None = None) -> int:
    found = body.get(key, default)
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found < 2**64:
        raise ServingError(ErrorCode.BAD_REQUEST, f"'{key}' must be an integer of 0 to 2^64 - 1")
    return found


def _unregister_region(request: Request) -> Any:
    request.context.shared_memory.unregister(request.call.headers, _region(request))
    return b""


def _cuda_status(request: Request) -> Any:
    return request.context.shared_memory.cuda_status(_region(request))


def _register_cuda(request: Request) -> Any:
    request.context.shared_memory.register_cuda(request.call.headers, _region(request))
    return b""


def _unregister_cuda(request: Request) -> Any:
    request.context.shared_memory.unregister_cuda(request.call.headers)
    return b""


_ROWS: list[tuple[str, Mapping[str, Handler]]] = [
    (r"/", {"GET": _entrance}),
    # Only what came as Parquet.
    (_TABLE, {"POST": _table}),
    (r"/openapi\.json", {"GET": _described}),
    (r"/v2/?", {"GET": _server_metadata}),
    (r"/v2/health/(?:live|ready)", {"GET": _core_only}),
    (r"/v2/models", {"GET": _model_names}),
    # Before the row of a model's metadata: no model is called "stats" here.
    (r"/v2/models/stats", {"GET": _all_statistics}),
    (_MODEL + _VERSION, {"GET": _model_metadata}),
    (_MODEL + r"/openapi\.json", {"GET": _described_model}),
    (_MODEL + _VERSION + "/config", {"GET": _model_config}),
    (_MODEL + _VERSION + "/stats", {"GET": _model_statistics}),
    (_MODEL + _VERSION + "/ready", {"GET": _core_only}),
    (_MODEL + _VERSION + "/infer", {"POST": _core_only}),
    (_MODEL + _VERSION + "/generate(?:_stream)?", {"POST": _GENERATE}),
    (_MODEL + "/trace/setting", {"GET": _traces, "POST": _change_traces}),
    (r"/v2/trace/setting", {"GET": _traces, "POST": _change_traces}),
    (r"/v2/logging", {"GET": _log, "POST": _change_log}),
    (_REPOSITORY + "/index", {"POST": _repository_index}),
    (_REPOSITORY + "/models/(?P<model>[^/]+)/load", {"POST": _load}),
    (_REPOSITORY + "/models/(?P<model>[^/]+)/unload", {"POST": _unload}),
    (_SYSTEM + _ANY_REGION + "/status", {"GET": _region_status}),
    (_SYSTEM + _REGION + "/register", {"POST": _register_region}),
    (_SYSTEM + _ANY_REGION + "/unregister", {"POST": _unregister_region}),
    (_CUDA + _ANY_REGION + "/status", {"GET": _cuda_status}),
    (_CUDA + _REGION + "/register", {"POST": _register_cuda}),
    (_CUDA + _ANY_REGION + "/unregister", {"POST": _unregister_cuda}),
]
ROUTES = tuple((re.compile(pattern), verbs) for pattern, verbs in _ROWS)
