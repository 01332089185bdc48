"""Hosts and origins as settings name them."""

from __future__ import annotations

import ipaddress
import re

_NAME = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?", re.IGNORECASE)
_USUAL_PORTS = {"http": ":80", "https": ":443"}


def checked_hosts(values: tuple[str, ...]) -> tuple[str, ...]:
    """Names and addresses without a port; ``*.`` before a name: all below it; ``*``: any.

    Raises ValueError naming one that is none."""
    for value in values:
        if not (value == "*" or _NAME.fullmatch(value) or _is_address(value)):
            raise ValueError(
                f"'{value}' is no host: expected a name or an address without a port,"
                " '*.example.com' for all below, or '*'"
            )
    return values


def checked_origins(values: tuple[str, ...]) -> tuple[str, ...]:
    """As browsers write them: in lower case, without the port that goes without saying.

    Raises ValueError naming one that is none."""
    return tuple(value if value == "*" else _origin(value) for value in values)


def _origin(value: str) -> str:
    scheme, _, host = value.lower().partition("://")
    name, _, port = host.rpartition(":") if re.search(r":[0-9]{1,5}$", host) else (host, "", "0")
    is_name = _NAME.fullmatch(name) and "*" not in name
    is_address = name.startswith("[") and _is_address(name)
    usual = _USUAL_PORTS.get(scheme)
    if usual is None or not (is_name or is_address) or int(port) > 65535:
        raise ValueError(
            f"'{value}' is no origin: expected 'https://host' or 'https://host:port', or '*'"
        )
    return f"{scheme}://{host}".removesuffix(usual)


def _is_address(value: str) -> bool:
    bare = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        return False
    return "%" not in bare
