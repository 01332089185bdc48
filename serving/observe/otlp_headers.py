"""Headers for a collector, as one text: ``api-key=secret,x-scope=team%20a``.

The form is that of OpenTelemetry's OTEL_EXPORTER_OTLP_HEADERS: pairs with commas between
them, values percent-encoded.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from serving.errors import ConfigError

# A header's name (RFC 9110, token), as far as gRPC takes it as well.
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
# Those that the protocol itself writes.
_OWN = frozenset({"content-type", "content-length", "host", "te", "user-agent"})


def headers_of(text: str, setting: str) -> dict[str, str]:
    """Lower-case name -> value. Raises ConfigError naming ``setting``; its words hold no value."""
    return dict(_pair(part.strip(), setting) for part in text.split(",") if part.strip())


def _pair(part: str, setting: str) -> tuple[str, str]:
    written, equals, value = part.partition("=")
    name, value = written.strip().lower(), unquote(value.strip())
    if not equals or not _NAME.fullmatch(name):
        raise ConfigError(f"{setting}: expected NAME=VALUE, with commas between several")
    if name in _OWN or name.startswith("grpc-") or name.endswith("-bin"):
        raise ConfigError(f"{setting}: '{name}' is not for settings to say")
    if not value or not (value.isascii() and value.isprintable()):
        raise ConfigError(f"{setting}: no header can carry the value of '{name}'")
    return name, value
