"""URLs of object stores. Pure."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from serving.errors import ConfigError
from serving.registry.names import why_no_model

SCHEMES = ("s3", "gs", "az", "http", "https", "file")


def is_address(text: str) -> bool:
    """Whether it is meant as a URL, and not as a path."""
    return "://" in text


def checked(url: str, setting: str) -> str:
    """The URL, without a slash at its end. Raises ConfigError that names the ``setting``; its words
    don't repeat what may be a password."""
    try:
        parts = urlsplit(url)
        user = parts.username
    except ValueError:
        raise ConfigError(f"{setting}: not a URL") from None
    if parts.scheme not in SCHEMES:
        known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise ConfigError(f"{setting}: '{parts.scheme}://': expected one of {known}")
    if user is not None or parts.query or parts.fragment:
        raise ConfigError(
            f"{setting}: a URL without user, query or fragment; the environment says who asks"
        )
    if parts.scheme == "file" and (parts.netloc or not parts.path.startswith("/")):
        raise ConfigError(f"{setting}: expected file:///PATH")
    if parts.scheme != "file" and not parts.netloc:
        raise ConfigError(f"{setting}: expected {parts.scheme}://NAME/PATH")
    return url.rstrip("/")


def shown(url: str) -> str:
    """As a place that is no path of this machine."""
    parts = urlsplit(url)
    return f"{parts.scheme}:{parts.netloc}{parts.path}"


def name_of(url: str) -> str:
    """What a model is called that lies in the URL itself. Raises ConfigError."""
    parts = urlsplit(url)
    name = unquote(parts.path.rstrip("/").rpartition("/")[2]) or parts.netloc
    if why := why_no_model(name):
        raise ConfigError(f"{shown(url)}: {why}")
    return name
