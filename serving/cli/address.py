"""Which door an address names: http://HOST:PORT, grpc://HOST:PORT, or HOST:PORT for gRPC."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated

import typer

from serving.cli.output import UserError

EXPECTED = "http://HOST:PORT, grpc://HOST:PORT, or HOST:PORT for gRPC"


class Protocol(StrEnum):
    HTTP = "http"
    GRPC = "grpc"


URLS = {Protocol.HTTP: "http://127.0.0.1:8080", Protocol.GRPC: "127.0.0.1:8081"}

Url = Annotated[
    str | None,
    typer.Option(
        help=f"{EXPECTED}. Default: {URLS[Protocol.HTTP]}, with --protocol grpc"
        f" {URLS[Protocol.GRPC]}.",
        show_default=False,
        envvar="SERVING_URL",
    ),
]
ProtocolOption = Annotated[
    Protocol | None,
    typer.Option(help="The door to use. Default: the one that --url names.", show_default=False),
]


def door(url: str | None, protocol: Protocol | None) -> tuple[Protocol, str]:
    """The protocol, and the address in the form that its client takes. Raises UserError."""
    if url is None:
        protocol = protocol or Protocol.HTTP
        return protocol, URLS[protocol]
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    named = _named(url, scheme.lower())
    if named is not None and protocol not in (None, named):
        raise UserError(f"--url {url} is {named}, --protocol says {protocol}", code=2)
    chosen = named or protocol or Protocol.GRPC
    if chosen is Protocol.HTTP and named is not None:
        return chosen, url
    if not re.fullmatch(r"\S*[^:\s]:[0-9]{1,5}", rest):
        raise UserError(f"'{url}' names no port: expected {EXPECTED}", code=2)
    return chosen, rest if chosen is Protocol.GRPC else f"http://{rest}"


def _named(url: str, scheme: str) -> Protocol | None:
    """None where the address has no scheme."""
    if scheme in ("https", "grpcs"):
        raise UserError(f"'{url}': TLS is not spoken here: expected {EXPECTED}", code=2)
    if scheme and scheme not in list(Protocol):
        raise UserError(f"'{url}' is no address of a gateway: expected {EXPECTED}", code=2)
    return Protocol(scheme) if scheme else None
