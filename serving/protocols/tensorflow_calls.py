"""The calls of TensorFlow Serving's gRPC services that are no inference: one row an RPC."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from serving.errors import ErrorCode, ServingError
from serving.protocols.call_context import CallContext
from serving.protocols.repository import refuse_load
from serving.protocols.tensorflow_serving import model_metadata, model_status
from serving.protocols.views import check_size
from serving.wire import tfs_messages

if TYPE_CHECKING:
    from serving import _core

SERVICES = ("tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")
Handler = Callable[[CallContext, "_core.Call"], Any]


def answer(context: CallContext, call: _core.Call) -> bytes:
    """The serialized answer to the RPC that ``call`` names. Raises ServingError."""
    handler = HANDLERS.get(call.method)
    if handler is None:
        raise ServingError(ErrorCode.UNIMPLEMENTED, f"{call.method} is not supported")
    response: bytes = handler(context, call).SerializeToString()
    return response


def _request(call: _core.Call, kind: str) -> Any:
    body = call.body
    check_size(body)
    try:
        return getattr(tfs_messages, kind).FromString(body)
    except DecodeError:
        raise ServingError(ErrorCode.BAD_REQUEST, f"the message is not a valid {kind}") from None


def _metadata(context: CallContext, call: _core.Call) -> Any:
    return model_metadata(context.directory, _request(call, "GetModelMetadataRequest"))


def _status(context: CallContext, call: _core.Call) -> Any:
    return model_status(context.directory, _request(call, "GetModelStatusRequest"))


def _reload(context: CallContext, call: _core.Call) -> Any:
    """Whether the caller may is asked before anything is said."""
    if context.control is None:
        raise refuse_load()
    context.control.admit(call.headers)
    raise ServingError(
        ErrorCode.UNIMPLEMENTED,
        "HandleReloadConfigRequest is not supported: models are loaded and unloaded by the"
        " repository API or the admin port, and found in the directories that the server was"
        " started with",
    )


HANDLERS: Mapping[str, Handler] = {
    "GetModelMetadata": _metadata,
    "GetModelStatus": _status,
    "HandleReloadConfigRequest": _reload,
}
