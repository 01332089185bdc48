"""Why no gateway answered at an address, in words for people. Pure."""

from __future__ import annotations

import socket

from serving.cli.output import UserError

WHERE = (
    "is the gateway started, and is that its port? It says where it listens when it starts:"
    " HTTP on 8080, gRPC on 8081, admin on 8082, unless set otherwise"
)


class UnreachedError(UserError):
    """No gateway is there, or not behind this port: asking again is of no use."""


def not_connected(place: str, host: str, error: OSError) -> UnreachedError | None:
    """``place``: the address as it was given. None for what may be otherwise the next time."""
    if isinstance(error, ConnectionRefusedError):
        return UnreachedError(_nobody(place))
    if isinstance(error, socket.gaierror):
        return UnreachedError(_nameless(place, host))
    return None


def _nobody(place: str) -> str:
    return f"nothing listens at {place}: {WHERE}"


def _nameless(place: str, host: str) -> str:
    return f"{place}: no machine is known by the name '{host}'"
