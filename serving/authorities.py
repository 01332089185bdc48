"""Whose certificates are trusted: as the variables say that other clients of such servers read."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path

from serving.errors import ConfigError
from serving.user_files import read_file

# In the order in which they count; a target may have one of its own before these.
VARIABLES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
_MOST_BYTES = 16 * 1024 * 1024


def context(setting: str, own: str = "") -> ssl.SSLContext:
    """What checks a server: against the file, or folder, that the first of the variables names
    that is set, else the system's authorities.

    ``own``: a variable that counts before ``VARIABLES``. Raises ConfigError, naming ``setting``
    and the variable, where what it names is of no use.
    """
    found = _named(own)
    if found is None:
        return ssl.create_default_context()
    variable, path = found
    try:
        if Path(path).is_dir():
            return ssl.create_default_context(capath=path)
        return ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise ConfigError(f"{setting}: {variable}: {path} holds no certificate") from None
    except OSError as error:
        raise _unreadable(setting, variable, path, error) from None


def naming(own: str = "") -> str:
    """The variable that counts; where none is set, the one that says it for most programs."""
    found = _named(own)
    return found[0] if found is not None else VARIABLES[-1]


def roots(setting: str) -> bytes | None:
    """The same for gRPC, which takes certificates as PEM and no folder; None: its own."""
    found = _named("")
    if found is None:
        return None
    variable, path = found
    try:
        return read_file(path, _MOST_BYTES)
    except OSError as error:
        raise _unreadable(setting, variable, path, error) from None


def _named(own: str, environ: Mapping[str, str] = os.environ) -> tuple[str, str] | None:
    """The variable and what it names."""
    for variable in (own, *VARIABLES):
        if variable and environ.get(variable):
            return variable, environ[variable]
    return None


def _unreadable(setting: str, variable: str, path: str, error: OSError) -> ConfigError:
    words = (error.strerror or str(error)).lower()
    return ConfigError(f"{setting}: {variable}: {path}: {words}")
