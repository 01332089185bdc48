"""Why no gateway answered at an address, in words for people. Pure, and without grpcio."""

from __future__ import annotations

import socket

from serving.cli.output import UserError, clean

_WHERE = (
    "is the gateway started, and is that its port? It says where it listens when it starts:"
    " HTTP on 8080, gRPC on 8081, admin on 8082, unless set otherwise"
)
# How grpcio says that it met an HTTP/1 answer: the type that it takes "HTTP" or "<!DO" for.
_HTTP1 = ("http1", "got frame type 80", "got frame type 79")


class UnreachedError(UserError):
    """No gateway is there, or not behind this port: asking again is of no use."""


def not_connected(place: str, host: str, error: OSError) -> UnreachedError | None:
    """``place``: the address as it was given. None for what may be otherwise the next time."""
    if isinstance(error, ConnectionRefusedError):
        return UnreachedError(_nobody(place))
    if isinstance(error, socket.gaierror):
        return UnreachedError(_nameless(place, host))
    return None


def no_gateway(place: str, what: str) -> UnreachedError:
    return UnreachedError(f"{place}: what answers there is no gateway ({what})")


def grpc_failed(target: str, code: str, details: str, timeout: float) -> UserError:
    """Of a call to ``target`` (HOST:PORT) that ended with a status: its name, its message."""
    if code == "UNAVAILABLE" and (words := _not_reached(target, details)):
        return UnreachedError(words)
    if code == "UNIMPLEMENTED":
        return UnreachedError(_other_service(target, details))
    if code == "DEADLINE_EXCEEDED" and details == "Deadline Exceeded":
        return UserError(f"{target}: no answer within {timeout:g} s")
    return UserError(
        f"{code}: {clean(details)}" if details else f"{target}: {code}, no reason given"
    )


def _not_reached(target: str, details: str) -> str:
    """ "" where it was reached, and says itself that it is not available."""
    if "Connection refused" in details:
        return _nobody(target)
    if "resol" in details or "lookup" in details:
        return _nameless(target, target.rpartition(":")[0].strip("[]"))
    if any(mark in details for mark in _HTTP1):
        return f"{target}: it speaks HTTP: try http://{target}"
    if "Failed parsing HTTP/2" in details:
        return f"{target}: what listens there speaks no gRPC"
    if details.startswith("failed to connect"):
        return f"{target} can't be reached: {details.rpartition(': ')[2]}"
    return ""


def _other_service(target: str, details: str) -> str:
    # A gateway's HTTP port, which says where gRPC is.
    if "speaks HTTP only" in details:
        return details
    if "http2 header with status" in details:
        return f"{target}: what listens there answers, but not in gRPC's way ({details})"
    said = f" (it says: {details})" if details else ""
    return (
        f"{target}: a gRPC server, but none of the Open Inference Protocol: it does not know"
        f" inference.GRPCInferenceService{said}"
    )


def _nobody(place: str) -> str:
    return f"nothing listens at {place}: {_WHERE}"


def _nameless(place: str, host: str) -> str:
    return f"{place}: no machine is known by the name '{host}'"
