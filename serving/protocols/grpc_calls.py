"""The gRPC calls that are not inference or health: one row an RPC."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import DecodeError

from serving.errors import ServingError, Word
from serving.protocols import oip, triton
from serving.protocols.views import Directory, check_size, parse_version
from serving.wire import messages

Handler = Callable[[Directory, str, Any], Any]

# Refused unread: a load may carry a whole model.
_LOADING = frozenset({"RepositoryModelLoad", "RepositoryModelUnload"})


def answer(directory: Directory, server_name: str, method: str, body: bytes) -> bytes:
    """The serialized answer to the RPC ``method``. Raises ServingError."""
    if method in _LOADING:
        raise triton.refuse_load()
    handler = HANDLERS.get(method)
    if handler is None:
        raise triton.not_supported(method)
    check_size(body)
    try:
        request = getattr(messages, f"{method}Request").FromString(body)
    except DecodeError:
        raise ServingError(
            Word.BAD_REQUEST, f"the message is not a valid {method}Request"
        ) from None
    response: bytes = handler(directory, server_name, request).SerializeToString()
    return response


def _server_metadata(_: Directory, server_name: str, request: Any) -> Any:
    return oip.server_metadata(server_name)


def _model_metadata(directory: Directory, _: str, request: Any) -> Any:
    return oip.model_metadata(directory, request.name, parse_version(request.version))


def _model_config(directory: Directory, _: str, request: Any) -> Any:
    config = triton.model_config(directory, request.name, parse_version(request.version))
    return messages.ModelConfigResponse(config=config)


def _model_statistics(directory: Directory, _: str, request: Any) -> Any:
    return triton.model_statistics(directory, request.name, parse_version(request.version))


def _repository_index(directory: Directory, _: str, request: Any) -> Any:
    if request.repository_name:
        raise triton.refuse_repository_name()
    return triton.repository_index(directory, ready=request.ready)


HANDLERS: Mapping[str, Handler] = {
    "ServerMetadata": _server_metadata,
    "ModelMetadata": _model_metadata,
    "ModelConfig": _model_config,
    "ModelStatistics": _model_statistics,
    "RepositoryIndex": _repository_index,
}
