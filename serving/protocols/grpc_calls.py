"""The calls of OIP's gRPC service that are not inference or health: one row an RPC."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from serving.errors import ErrorCode, ServingError
from serving.protocols import oip, triton
from serving.protocols.call_context import CallContext
from serving.protocols.later import Later
from serving.protocols.repository import refuse_load
from serving.protocols.views import (
    MAX_BODY_BYTES,
    check_name,
    check_size,
    find_model,
    named_version,
)
from serving.wire import messages

if TYPE_CHECKING:
    from serving import _core

SERVICE = "inference.GRPCInferenceService"
Handler = Callable[[CallContext, Any], Any]


def answer(context: CallContext, call: _core.Call) -> bytes | Later:
    """The serialized answer to the RPC that ``call`` names. Raises ServingError."""
    guarded = _GUARDED.get(call.method)
    if guarded is not None:
        return guarded(context, call)
    handler = HANDLERS.get(call.method)
    if handler is None:
        raise triton.not_supported(call.method)
    request = _request(call, MAX_BODY_BYTES)
    response: bytes = handler(context, request).SerializeToString()
    return response


def _request(call: _core.Call, limit: int) -> Any:
    body = call.body
    check_size(body, limit)
    try:
        return getattr(messages, f"{call.method}Request").FromString(body)
    except DecodeError:
        raise ServingError(
            ErrorCode.BAD_REQUEST, f"the message is not a valid {call.method}Request"
        ) from None


def _control(context: CallContext, call: _core.Call) -> Later:
    """Whether the caller may is asked before the message is read: it may carry a model."""
    control = context.control
    if control is None:
        raise refuse_load()
    control.admit(call.headers)
    loads = call.method == "RepositoryModelLoad"
    request = _request(call, control.max_body_bytes if loads else MAX_BODY_BYTES)
    if request.repository_name:
        raise triton.refuse_repository_name()
    name = check_name(request.model_name)
    parameters = {key: _value(value) for key, value in request.parameters.items()}
    if loads:
        return control.load(name, parameters, request.ByteSize())
    return control.unload(name, parameters)


def _regions(context: CallContext, call: _core.Call) -> bytes:
    """Their messages are small, and read before anybody asks whether the caller may."""
    request, headers = _request(call, MAX_BODY_BYTES), call.headers
    shared_memory = context.shared_memory
    match call.method:
        case "SystemSharedMemoryStatus":
            response = messages.SystemSharedMemoryStatusResponse()
            for one in shared_memory.status(request.name):
                region = response.regions[one.name]
                region.name, region.key = one.name, one.key
                region.offset, region.byte_size = one.offset, one.byte_size
            return bytes(response.SerializeToString())
        case "SystemSharedMemoryRegister":
            place = (request.name, request.key, request.offset, request.byte_size)
            shared_memory.register(headers, *place)
        case "SystemSharedMemoryUnregister":
            shared_memory.unregister(headers, request.name)
        case "CudaSharedMemoryStatus":
            shared_memory.cuda_status(request.name)
        case "CudaSharedMemoryRegister":
            shared_memory.register_cuda(headers, request.name)
        case _:
            shared_memory.unregister_cuda(headers)
    # The answers to all but the first have no fields that would be set.
    return b""


def _value(parameter: Any) -> Any:
    choice = parameter.WhichOneof("parameter_choice")
    return None if choice is None else getattr(parameter, choice)


def _server_metadata(context: CallContext, request: Any) -> Any:
    return oip.server_metadata(context.server_name, context.extensions)


def _version(context: CallContext, request: Any) -> int | None:
    return named_version(context.directory, request.name, request.version)


def _model_metadata(context: CallContext, request: Any) -> Any:
    return oip.model_metadata(context.directory, request.name, _version(context, request))


def _model_config(context: CallContext, request: Any) -> Any:
    config = triton.model_config(context.directory, request.name, _version(context, request))
    return messages.ModelConfigResponse(config=config)


def _model_statistics(context: CallContext, request: Any) -> Any:
    return triton.model_statistics(context.directory, request.name, _version(context, request))


def _repository_index(context: CallContext, request: Any) -> Any:
    if request.repository_name:
        raise triton.refuse_repository_name()
    return triton.repository_index(context.directory, ready=request.ready)


def _trace_setting(context: CallContext, call: _core.Call) -> bytes:
    """One call tells and changes: a change names settings."""
    if context.traces is None:
        raise triton.not_supported(call.method)
    request = _request(call, MAX_BODY_BYTES)
    name = request.model_name
    if name:
        find_model(context.directory, name)
    if request.settings:
        values = {key: tuple(one.value) for key, one in request.settings.items()}
        known = oip.model_names(context.directory)
        context.traces.change(values, call.headers, name, known)
    response = messages.TraceSettingResponse()
    for key, texts in context.traces.now(name).items():
        response.settings[key].value.extend(texts)
    told: bytes = response.SerializeToString()
    return told


def _log_settings(context: CallContext, call: _core.Call) -> bytes:
    """As above."""
    if context.log is None:
        raise triton.not_supported(call.method)
    request = _request(call, MAX_BODY_BYTES)
    if request.settings:
        values = {key: _value(one) for key, one in request.settings.items()}
        context.log.change(values, call.headers)
    response = messages.LogSettingsResponse()
    for key, value in context.log.now().items():
        setattr(response.settings[key], _LOG_CHOICES[type(value)], value)
    told: bytes = response.SerializeToString()
    return told


_LOG_CHOICES = {bool: "bool_param", int: "uint32_param", str: "string_param"}
# Those that look at who calls.
_GUARDED: Mapping[str, Callable[[CallContext, _core.Call], bytes | Later]] = {
    "RepositoryModelLoad": _control,
    "RepositoryModelUnload": _control,
    "TraceSetting": _trace_setting,
    "LogSettings": _log_settings,
    **{
        f"{kind}SharedMemory{verb}": _regions
        for kind in ("System", "Cuda")
        for verb in ("Status", "Register", "Unregister")
    },
}

HANDLERS: Mapping[str, Handler] = {
    "ServerMetadata": _server_metadata,
    "ModelMetadata": _model_metadata,
    "ModelConfig": _model_config,
    "ModelStatistics": _model_statistics,
    "RepositoryIndex": _repository_index,
}
