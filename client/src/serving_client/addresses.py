"""Where servers are. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

EXPECTED = (
    "HOST:PORT or grpc://HOST:PORT for gRPC, http://HOST:PORT for HTTP, and grpcs:// or https://"
    " for the same with TLS"
)


class Protocol(StrEnum):
    GRPC = "grpc"
    HTTP = "http"


_SCHEMES = {
    "grpc": (Protocol.GRPC, False),
    "grpcs": (Protocol.GRPC, True),
    "http": (Protocol.HTTP, False),
    "https": (Protocol.HTTP, True),
}


@dataclass(frozen=True, slots=True)
class Address:
    """``target``: HOST:PORT for gRPC, a URL without a slash at its end for HTTP; ``tls``: whether
    it is asked so."""

    protocol: Protocol
    target: str
    tls: bool = False

    def __str__(self) -> str:
        return self.target

    @property
    def place(self) -> str:
        """HOST:PORT."""
        return (self.target.partition("://")[2] or self.target).partition("/")[0]

    @property
    def host(self) -> str:
        return self.place.rpartition(":")[0].strip("[]")


def parse_addresses(given: str | Sequence[str]) -> tuple[Address, ...]:
    """One address, several with commas between them, or a sequence of them; in their order, each
    once. Raises ValueError for what is none, and for both protocols, or some with TLS and some
    without, at once."""
    texts = given.split(",") if isinstance(given, str) else list(given)
    found = tuple(dict.fromkeys(parse_address(text.strip()) for text in texts))
    if not found:
        raise ValueError(f"no address: expected {EXPECTED}")
    if len({address.protocol for address in found}) > 1:
        raise ValueError("the addresses are of gRPC and of HTTP: a client speaks one of them")
    if len({address.tls for address in found}) > 1:
        raise ValueError("some of the addresses are asked with TLS, and some without: all or none")
    return found


def parse_address(text: str) -> Address:
    """Raises ValueError with what is wrong and what was expected."""
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower() if separator else "grpc"
    rest = rest if separator else text
    if scheme not in _SCHEMES:
        raise ValueError(f"'{text}' is no address of a server: expected {EXPECTED}")
    protocol, tls = _SCHEMES[scheme]
    place, slash, path = rest.partition("/")
    if protocol is Protocol.GRPC and path:
        raise ValueError(f"'{text}': an address of gRPC has no path: expected {EXPECTED}")
    if protocol is Protocol.HTTP and ":" not in place.rpartition("]")[2]:
        place += ":443" if tls else ":80"
    _check_place(text, place)
    if protocol is Protocol.GRPC:
        return Address(protocol, place, tls)
    return Address(protocol, f"{scheme}://{place}{slash}{path}".rstrip("/"), tls)


def _check_place(text: str, place: str) -> None:
    found = re.fullmatch(r"(?:\[[0-9A-Fa-f:.%]+\]|[^\s:@\[\]?#]+):([0-9]{1,5})", place)
    if found is None:
        raise ValueError(f"'{text}' names no host and port: expected {EXPECTED}")
    if not 0 < int(found[1]) < 1 << 16:
        raise ValueError(f"'{text}': a port is between 1 and 65535")
