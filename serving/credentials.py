"""Addresses that may hold a user and a password."""

from __future__ import annotations

import base64
from urllib.parse import unquote, urlsplit

from serving.errors import ConfigError


def shown(uri: str) -> str:
    """The address without user and password."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return ""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def secrets(uri: str, token: str) -> tuple[str, ...]:
    """What proves who asks, in every form in which it might come back."""
    try:
        password = urlsplit(uri).password or ""
    except ValueError:
        password = ""
    proofs = authorization(uri, token, "").values()
    sent = [proof.partition(" ")[2] for proof in proofs]
    return tuple({one for one in (token, password, unquote(password), *sent) if one})


def authorization(uri: str, token: str, setting: str) -> dict[str, str]:
    """The header that proves who asks: ``token`` as a bearer token, else user and password of
    the address as basic authorization, else none.

    Raises ConfigError, whose words hold neither, where a header can't carry it.
    """
    if token:
        if not (token.isascii() and token.isprintable()):
            raise ConfigError(f"{setting}: it holds characters that no header can carry")
        return {"Authorization": f"Bearer {token}"}
    try:
        parts = urlsplit(uri)
    except ValueError:
        return {}  # not usable at all; said where it is opened
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
