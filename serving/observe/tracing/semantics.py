"""What the core says of a span, in OpenTelemetry's words where there are some.

``serving.*`` are ours. The status of a request is told as each door tells it
(``core/engine/src/status.rs``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Value = str | int | float | bool
Address = tuple[str, int]

# Before what the core calls model, version, rows, requests, status and request_id.
PREFIX = "serving."
# What the client was told, where the error is its own.
MESSAGE = "serving.message"
ERROR = "error.type"


@dataclass(frozen=True, slots=True)
class Door:
    """``method``, ``code``: what these are called. ``faults``: the codes that a server's span
    calls an error; the others are the caller's business. ``fixed``: what all requests have."""

    method: str
    code: str
    faults: Sequence[int]
    fixed: Mapping[str, Value] = field(default_factory=dict)


DOORS: Mapping[str, Door] = {
    "grpc": Door(
        method="rpc.method",
        code="rpc.grpc.status_code",
        faults=(2, 4, 12, 13, 14, 15),
        fixed={"rpc.system": "grpc", "rpc.service": "inference.GRPCInferenceService"},
    ),
    "http": Door(
        method="http.request.method",
        code="http.response.status_code",
        faults=range(500, 600),
    ),
}


def address_of(address: Address) -> dict[str, Value]:
    """Where a door's requests went."""
    host, port = address
    return {"server.address": host, "server.port": port}
