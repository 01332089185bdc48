"""What a gRPC call that failed means. Pure, and without grpcio."""

from __future__ import annotations

import re
from collections.abc import Mapping

from serving_client.addresses import Address
from serving_client.errors import (
    ConnectionLostError,
    ServingError,
    UnreachableError,
    WrongServerError,
    kind_of,
    no_answer,
)
from serving_client.exchange import REQUEST_ID

PUSHBACK = "grpc-retry-pushback-ms"
# More than a number of 64 bits has is no time that can be meant.
_MAX_DIGITS = 18

# How grpcio's own core tells that a connection broke.
_BROKEN = (
    "Socket closed",
    "Connection reset",
    "Broken pipe",
    "Endpoint closing",
    "GOAWAY",
    "keepalive watchdog",
    "recvmsg",
    "sendmsg",
    "Stream removed",
    "Stream refused",
    "transport",
    "Connection closed",
    "connection attempt timed out",
)
# It met an HTTP/1 answer: the type of frame that it takes "HTTP" or "<!DO" for.
_HTTP1 = ("http1", "got frame type 80", "got frame type 79")


def grpc_error(
    address: Address, code: str, details: str, said: Mapping[str, str], allowed: float
) -> ServingError:
    """``said``: the metadata that came with the status; ``allowed``: seconds for the whole call."""
    if code == "UNAVAILABLE" and not said and (lost := _lost(address, details)):
        return lost
    if code == "UNIMPLEMENTED" and (other := _other_server(address, details)):
        return other
    if code == "DEADLINE_EXCEEDED" and not said and details == "Deadline Exceeded":
        return no_answer(str(address), allowed)
    repeatable, retry_after = _hint(code, said.get(PUSHBACK))
    return kind_of(code, retry_after)(
        details or f"{address}: {code}, no reason given",
        address=str(address),
        request_id=said.get(REQUEST_ID, ""),
        retry_after=retry_after,
        repeatable=repeatable,
        code=code,
    )


def _hint(code: str, pushback: str | None) -> tuple[bool, float | None]:
    """Whether to ask again, and after how many seconds: what the server says, by gRPC's rules (what
    is negative or no number means never); where it says nothing, only what is not available."""
    if pushback is None:
        return code == "UNAVAILABLE", None
    if not (pushback.isascii() and pushback.isdigit() and len(pushback) <= _MAX_DIGITS):
        return False, None
    return code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED"), int(pushback) / 1000


def _untrusted(address: Address, details: str) -> str:
    """What a TLS handshake failed of; '' where none did."""
    if found := re.search(r"CERTIFICATE_VERIFY_FAILED: ([^:]*)", details):
        return f"{address}: its certificate is not trusted: {found[1]}"
    if "Hostname Verification" in details:
        return f"{address}: its certificate is not trusted: it is for another name"
    if "WRONG_VERSION_NUMBER" in details:
        return f"{address}: it does not speak TLS: try grpc://{address}"
    return ""


def _lost(address: Address, details: str) -> UnreachableError | None:
    """None where a server was reached, and says itself that it is not available."""
    place = str(address)
    if any(mark in details for mark in _HTTP1):
        return WrongServerError(f"{place}: it speaks HTTP: try http://{place}", address=place)
    if "Failed parsing HTTP/2" in details:
        return WrongServerError(f"{place}: what listens there speaks no gRPC", address=place)
    if words := _untrusted(address, details):
        return WrongServerError(words, address=place)
    if "Connection refused" in details:
        words = f"nothing listens at {place}"
    elif "resol" in details or "lookup" in details:
        words = f"{place}: no machine is known by the name '{address.host}'"
    elif "handshaker shutdown" in details:
        # What is left of an attempt that was given up.
        words = f"{place} can't be reached: timed out"
    elif details.startswith("failed to connect"):
        words = f"{place} can't be reached: {details.rpartition(': ')[2]}"
    elif any(mark in details for mark in _BROKEN):
        words = f"{place}: the connection ended before the answer ({details})"
        return ConnectionLostError(words, address=place, repeatable=True)
    else:
        return None
    return UnreachableError(words, address=place, repeatable=True)


def _other_server(address: Address, details: str) -> WrongServerError | None:
    """None where it is a server of the protocol without this call."""
    if "speaks HTTP only" in details:
        # A gateway's HTTP port, which says where gRPC is.
        return WrongServerError(details, address=str(address))
    if "http2 header with status" in details:
        words = f"{address}: what listens there answers, but not in gRPC's way ({details})"
        return WrongServerError(words, address=str(address))
    if details in ("", "Method not found!") or details.startswith("unknown service"):
        said = f" (it says: {details})" if details else ""
        words = (
            f"{address}: a gRPC server, but none of the Open Inference Protocol: it does not know"
            f" inference.GRPCInferenceService{said}"
        )
        return WrongServerError(words, address=str(address))
    return None
