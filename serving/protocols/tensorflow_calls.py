"""The calls of TensorFlow Serving's gRPC services that are no inference: one row an RPC."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from serving.errors import ErrorCode, ServingError
from serving.protocols.call_context import CallContext
from serving.protocols.later import Later
from serving.protocols.reload_config import MAX_BODY_BYTES as MAX_LIST_BYTES
from serving.protocols.repository import refuse_load
from serving.protocols.tensorflow_serving import model_metadata, model_status
from serving.protocols.views import MAX_BODY_BYTES, check_size
from serving.wire import tfs_messages

if TYPE_CHECKING:
    from serving import _core

_RELOAD = "HandleReloadConfigRequest"
SERVICES = ("tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")
Handler = Callable[[CallContext, "_core.Call"], Any]


def answer(context: CallContext, call: _core.Call) -> bytes | Later:
    """The serialized answer to the RPC that ``call`` names, or what it waits for. Raises
    ServingError."""
    if call.method == _RELOAD:
        return _reload(context, call)
    handler = HANDLERS.get(call.method)
    if handler is None:
        raise ServingError(ErrorCode.UNIMPLEMENTED, f"{call.method} is not supported")
    response: bytes = handler(context, call).SerializeToString()
    return response


def _request(call: _core.Call, kind: str, limit: int = MAX_BODY_BYTES) -> Any:
    body = call.body
    check_size(body, limit)
    try:
        return getattr(tfs_messages, kind).FromString(body)
    except DecodeError:
        raise ServingError(ErrorCode.BAD_REQUEST, f"the message is not a valid {kind}") from None


def _metadata(context: CallContext, call: _core.Call) -> Any:
    return model_metadata(context.directory, _request(call, "GetModelMetadataRequest"))


def _status(context: CallContext, call: _core.Call) -> Any:
    return model_status(context.directory, _request(call, "GetModelStatusRequest"))


def _reload(context: CallContext, call: _core.Call) -> Later:
    """Whether the caller may is asked before anything is read."""
    if context.control is None or context.lists is None:
        raise refuse_load()
    context.control.admit(call.headers)
    request = _request(call, "ReloadConfigRequest", MAX_LIST_BYTES)
    return context.lists.reload(request, call.is_awaited)


HANDLERS: Mapping[str, Handler] = {
    "GetModelMetadata": _metadata,
    "GetModelStatus": _status,
}
