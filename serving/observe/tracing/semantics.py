"""What the core says of a span, in OpenTelemetry's words where there are some.

``serving.*`` are ours. The status of a request is told as each door tells it
(``core/engine/src/status.rs``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from serving.errors import ErrorCode

Value = str | int | float | bool
Address = tuple[str, int]

# Error word -> (HTTP status, gRPC code).
STATUS: Mapping[str, tuple[int, int]] = {
    "ok": (200, 0),
    ErrorCode.CANCELLED: (499, 1),
    ErrorCode.BAD_REQUEST: (400, 3),
    ErrorCode.BAD_DATA: (400, 3),
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: (415, 3),
    ErrorCode.EXPIRED: (504, 4),
    ErrorCode.SLOW_BODY: (408, 4),
    ErrorCode.NOT_FOUND: (404, 5),
    ErrorCode.PERMISSION_DENIED: (403, 7),
    ErrorCode.FULL: (503, 8),
    ErrorCode.TOO_LARGE: (413, 8),
    ErrorCode.UNIMPLEMENTED: (501, 12),
    ErrorCode.UNSUPPORTED_ENCODING: (415, 12),
    ErrorCode.UNMET_EXPECTATION: (417, 3),
    ErrorCode.METHOD_NOT_ALLOWED: (405, 12),
    ErrorCode.INTERNAL: (500, 13),
    ErrorCode.UNAVAILABLE: (503, 14),
    ErrorCode.UNAUTHENTICATED: (401, 16),
}
# The codes that a server's span calls an error; the others are the caller's business.
_GRPC_FAULTS = frozenset({2, 4, 12, 13, 14, 15})
_HTTP_FAULTS_FROM = 500

REQUEST_ID = "serving.request_id"
# What the client was told, where the error is its own.
MESSAGE = "serving.message"
_NAMES = {
    "model": "serving.model",
    "version": "serving.version",
    "rows": "serving.rows",
    "requests": "serving.requests",
    "status": "serving.status",
    "request_id": REQUEST_ID,
}
# Told by the door's attributes.
_OF_THE_DOOR = frozenset({"protocol", "method", "path", "code"})
_SERVICE = "inference.GRPCInferenceService"


def is_fault(protocol: str, status: str) -> bool:
    """Whether a request that ended so is an error of this server."""
    http, grpc = STATUS.get(status, (500, 2))
    return grpc in _GRPC_FAULTS if protocol == "grpc" else http >= _HTTP_FAULTS_FROM


def attributes_of(
    items: Iterable[tuple[str, Value]], addresses: Mapping[str, Address]
) -> dict[str, Value]:
    """The exported attributes for those of the core; ``addresses`` by protocol."""
    given = dict(items)
    found = {
        _NAMES.get(key, f"serving.{key}"): value
        for key, value in given.items()
        if key not in _OF_THE_DOOR
    }
    protocol = str(given.get("protocol", ""))
    if protocol:
        found |= _door(protocol, given)
    if protocol in addresses:
        found["server.address"], found["server.port"] = addresses[protocol]
    status = str(given.get("status", "ok"))
    if status != "ok":
        found["error.type"] = status
    return found


def _door(protocol: str, given: Mapping[str, Value]) -> dict[str, Value]:
    http, grpc = STATUS.get(str(given.get("status", "ok")), (500, 2))
    if protocol == "grpc":
        method = str(given.get("method", "ModelInfer"))
        return {
            "rpc.system": "grpc",
            "rpc.service": _SERVICE,
            "rpc.method": method,
            "rpc.grpc.status_code": grpc,
        }
    found: dict[str, Value] = {
        "http.request.method": given.get("method", "POST"),
        "http.response.status_code": http,
    }
    if "path" in given:
        found["url.path"] = given["path"]
    return found
