"""What both clients are given, checked once. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from serving_client.addresses import Address, Protocol, parse_addresses
from serving_client.exchange import NO_HEADERS, REQUEST_ID, Codec, InferOptions, Parameter
from serving_client.retrying import NO_RETRY, Retry
from serving_client.session import Session
from serving_client.tls import Tls

# The largest message of gRPC.
MAX_MESSAGE_BYTES = 2**31 - 1
MAX_REQUEST_ID = 128
_NO_PARAMETERS: Mapping[str, Parameter] = {}


@dataclass(frozen=True, slots=True)
class Options:
    addresses: tuple[Address, ...]
    timeout: float
    retry: Retry
    headers: Mapping[str, str]
    keepalive: float
    max_message_bytes: int
    tls: Tls | None = None

    @property
    def protocol(self) -> Protocol:
        return self.addresses[0].protocol

    def codec(self) -> Codec:
        if self.protocol is Protocol.GRPC:
            from serving_client.grpc_codec import GrpcCodec

            return GrpcCodec()
        from serving_client.http_codec import HttpCodec

        return HttpCodec()

    def session(self, codec: Codec) -> Session:
        return Session(codec, len(self.addresses), self.retry)

    def seconds(self, timeout: float | None) -> float:
        return self.timeout if timeout is None else checked_timeout(timeout)


def options_of(
    addresses: str | Sequence[str],
    timeout: float,
    retry: Retry | None,
    headers: Mapping[str, str] | None,
    keepalive: float,
    max_message_bytes: int,
    tls: Tls | None = None,
) -> Options:
    """Raises ValueError for what can't be meant."""
    _check_seconds("keepalive", keepalive)
    if not 0 < max_message_bytes <= MAX_MESSAGE_BYTES:
        raise ValueError(f"max_message_bytes: 1 to {MAX_MESSAGE_BYTES}, got {max_message_bytes}")
    parsed = parse_addresses(addresses)
    if tls is not None and not parsed[0].tls:
        raise ValueError(f"tls: '{parsed[0]}' is asked without it: expected grpcs:// or https://")
    return Options(
        addresses=parsed,
        timeout=checked_timeout(timeout),
        retry=NO_RETRY if retry is None else retry,
        headers=lower(headers or {}),
        keepalive=keepalive,
        max_message_bytes=max_message_bytes,
        tls=(tls or Tls()) if parsed[0].tls else None,
    )


def checked_timeout(timeout: float) -> float:
    _check_seconds("timeout", timeout)
    return timeout


def _check_seconds(option: str, seconds: float) -> None:
    # A day: what is meant to have no end has one.
    if not 0 < seconds <= 86_400:
        raise ValueError(f"{option}: seconds, above 0 and at most 86400, got {seconds}")


def lower(headers: Mapping[str, str]) -> dict[str, str]:
    """As gRPC's metadata wants names. Raises ValueError for what can be no header."""
    for name, value in headers.items():
        if not (name.isascii() and name.isprintable() and " " not in name and name):
            raise ValueError(f"'{name}' is no header's name")
        if not (value.isascii() and value.isprintable()):
            raise ValueError(f"header '{name}': printable ASCII only")
    return {name.lower(): value for name, value in headers.items()}


def version_text(version: int | str | None) -> str:
    return "" if version is None else str(version)


def infer_options(
    version: int | str | None,
    outputs: Sequence[str] | str | None,
    parameters: Mapping[str, Parameter] | None,
    priority: int | None,
    request_id: str | None,
    headers: Mapping[str, str] | None,
    timeout: float,
) -> InferOptions:
    """Raises ValueError for what can't be meant, and TypeError for a parameter that is none."""
    said = parameters or _NO_PARAMETERS
    if priority is not None:
        said = {**said, "priority": priority}
    if said:
        said = {name: _parameter(name, value) for name, value in said.items()}
    sent = lower(headers) if headers else NO_HEADERS
    if request_id:
        if len(request_id) > MAX_REQUEST_ID:
            raise ValueError(f"request_id: at most {MAX_REQUEST_ID} characters")
        sent = {**lower({REQUEST_ID: request_id}), **sent}
    return InferOptions(
        version=version_text(version),
        outputs=(outputs,) if isinstance(outputs, str) else tuple(outputs or ()),
        parameters=said,
        id=request_id or "",
        headers=sent,
        timeout=timeout,
    )


def _parameter(name: str, value: object) -> Parameter:
    """Also from NumPy's scalars."""
    plain = value.item() if isinstance(value, np.generic) else value
    if not isinstance(plain, bool | int | float | str):
        words = f"expected bool, int, float or str, got {type(value).__name__}"
        raise TypeError(f"parameter '{name}': {words}")
    return plain


def named_inputs(
    inputs: Mapping[str, ArrayLike] | None, named: dict[str, ArrayLike]
) -> Mapping[str, ArrayLike]:
    """Raises TypeError for a name that is given both ways."""
    if not inputs:
        return named
    twice = inputs.keys() & named.keys()
    if twice:
        raise TypeError(f"input given twice: {', '.join(sorted(twice))}")
    return {**inputs, **named}
