"""Who may control the gateway: the one place that decides, for the admin port and the doors.

On the loopback interface control is free until a token is configured; then every call must
bring it. On every other address nothing is allowed without a token. Who says which names the
gateway has is the setting http.allowed_hosts: without a token only those that it has in full count,
since under a pattern anybody's name could be meant (DNS rebinding).
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from serving.errors import ConfigError, ErrorCode, ServingError
from serving.events import log
from serving.settings import Settings
from serving.user_files import open_file

MAX_TOKEN_BYTES = 4096
_ON_THE_ADMIN_PORT = (
    "every call below /api/v1 needs the token, a list of models too (/metrics and /v2/health need"
    " none)"
)
_ON_THE_DOORS = "a call that changes the server needs the token (inference needs none)"
# Between two looks at the token's file.
_LOOK_EVERY_S = 1.0


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


class Secret:
    """Bytes that are compared in constant time and never shown."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def matches(self, other: bytes) -> bool:
        return hmac.compare_digest(self._value, other)

    def is_same(self, other: Secret | None) -> bool:
        return other is not None and other.matches(self._value)

    def __repr__(self) -> str:
        return "Secret(***)"


class TokenFile:
    """The token in a file, read again when the file changes. Safe from any thread.

    A file that has become unreadable matches nothing until it is whole again.
    Raises ConfigError where it is no token's file to begin with.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._now = now
        self._lock = threading.Lock()
        self._secret: Secret | None
        self._seen, self._secret = _read(path)
        self._looked_at = now()

    def matches(self, token: str) -> bool:
        secret = self._current()
        given = token.encode("utf-8", "surrogateescape")
        return secret is not None and secret.matches(given)

    def reload(self) -> str:
        """Read the file now, whatever it looks like: ``changed``, ``unchanged``, ``unusable``."""
        with self._lock:
            before, self._looked_at = self._secret, self._now()
            self._read_again()
            if self._secret is None:
                return "unusable"
            return "unchanged" if self._secret.is_same(before) else "changed"

    def _current(self) -> Secret | None:
        with self._lock:
            if self._now() - self._looked_at >= _LOOK_EVERY_S:
                self._looked_at = self._now()
                self._look()
            return self._secret

    def _look(self) -> None:
        if _mark(self._path) != self._seen:
            self._read_again()

    def _read_again(self) -> None:
        before = self._secret
        try:
            self._seen, self._secret = _read(self._path)
            if not self._secret.is_same(before):
                log.info("control_token_changed", file=str(self._path))
        except ConfigError as error:
            if before is not None:
                log.error("control_token_lost", reason=str(error))
            self._seen, self._secret = None, None


def _mark(path: Path) -> tuple[int, ...] | None:
    """Changes with the file; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _read(path: Path) -> tuple[tuple[int, ...] | None, Secret]:
    """The file's mark and the token in it. Raises ConfigError."""
    mark = _mark(path)
    try:
        with open_file(path, MAX_TOKEN_BYTES) as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(MAX_TOKEN_BYTES)
    except OSError as error:
        raise ConfigError(f"admin_token_file: {path}: {error.strerror}") from None
    token = content.strip()
    if not token:
        raise ConfigError(f"admin_token_file: {path} is empty")
    if not all(0x21 <= byte <= 0x7E for byte in token):
        raise ConfigError(
            f"admin_token_file: {path}: a token is one line of visible ASCII without spaces"
        )
    if mode & 0o077:
        log.warning("control_token_readable_by_others", file=str(path), mode=oct(mode & 0o777))
    return mark, Secret(token)


@dataclass(frozen=True, slots=True)
class Gate:
    """What a control call must pass on a port that listens on ``host``; ``needs``: what there
    needs the token, in words; ``allowed``: other names that it is known by, of which patterns
    count only beside a token."""

    host: str
    token: TokenFile | None
    needs: str = "this call needs the token"
    allowed: tuple[str, ...] = ()

    @property
    def shut(self) -> bool:
        """Whether no call can pass."""
        return self.token is None and not is_loopback(self.host)

    def check(self, headers: Mapping[str, str]) -> None:
        """``headers``: the call's, by lower-case name; gRPC's metadata is the same thing.

        Raises ServingError: UNAUTHENTICATED without the right token, PERMISSION_DENIED for
        who may not even with one.
        """
        self._refuse_browsers(headers)
        if self.shut:
            _deny(
                "control is refused on this address: no token is configured"
                " (setting admin_token_file)"
            )
        if self.token is None:
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not given.strip():
            raise ServingError(
                ErrorCode.UNAUTHENTICATED, f"{self.needs}: 'Authorization: Bearer TOKEN'"
            )
        if not self.token.matches(given.strip()):
            raise ServingError(ErrorCode.UNAUTHENTICATED, "the token is not the right one")

    def _refuse_browsers(self, headers: Mapping[str, str]) -> None:
        """A page from elsewhere may send its reader's browser here, also under a name of its
        own that it lets point to this machine; a token it cannot know."""
        host = headers.get("host", "")
        origin = headers.get("origin")
        if origin is not None and (not host or _host_of(origin) != host.lower()):
            _deny("control calls from pages of another site are refused")
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            _deny("control calls from pages of another site are refused")
        if self.token is None and host and not self._is_known(host):
            _deny(
                "without a token control calls are taken only under an IP address, 'localhost', or"
                " a name that the setting http.allowed_hosts has in full"
            )

    def _is_known(self, host: str) -> bool:
        from serving import _core

        in_full = tuple(name for name in self.allowed if not _is_pattern(name))
        if _core.is_own_host(host, self.host, "127.0.0.1", in_full):
            return True
        try:
            ipaddress.ip_address(urlsplit(f"//{host}").hostname or "")
        except ValueError:
            return False
        return True


def _is_pattern(name: str) -> bool:
    return name.startswith("*")


def _host_of(origin: str) -> str | None:
    """The host and port of an origin; None for what none can be read from, or could be meant
    to look like another (fault 108)."""
    try:
        return urlsplit(origin).netloc.lower() if origin.isascii() else None
    except ValueError:
        return None


def _deny(words: str) -> NoReturn:
    raise ServingError(ErrorCode.PERMISSION_DENIED, words)


@dataclass(frozen=True, slots=True)
class Gates:
    """One for the admin port, one for the HTTP and gRPC doors."""

    admin: Gate
    doors: Gate


def open_gates(settings: Settings) -> Gates:
    """Both with the same token. What no call can pass, and names under which none is taken, are
    said in the log, once.

    Raises ConfigError for a token file that is not one.
    """
    path = settings.admin_token_file
    token = TokenFile(path) if path is not None else None
    gates = Gates(
        Gate(settings.admin_host, token, _ON_THE_ADMIN_PORT, settings.http.allowed_hosts),
        Gate(settings.host, token, _ON_THE_DOORS, settings.http.allowed_hosts),
    )
    controlled = {"admin_host": gates.admin}
    if settings.model_control != "poll" or settings.shared_memory.enabled:
        controlled["host"] = gates.doors
    for setting, gate in controlled.items():
        if gate.shut:
            log.warning(
                "control_refused",
                address=gate.host,
                setting=setting,
                reason="it is not a loopback address and no admin_token_file is configured",
            )
    patterns = list(filter(_is_pattern, settings.http.allowed_hosts))
    if patterns and token is None and not all(gate.shut for gate in controlled.values()):
        log.warning(
            "control_names_ignored",
            setting="http.allowed_hosts",
            names=patterns,
            reason="no admin_token_file is configured, so control is not taken under a pattern",
        )
    return gates
