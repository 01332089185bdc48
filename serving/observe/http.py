"""HTTP to a server that the operator named: bounded in time and in bytes."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from serving import __version__
from serving.errors import ConfigError
from serving.observe.authorities import context, naming
from serving.timed_http import Connection, Timer

_MAX_ANSWER_BYTES = 1 << 20


class HttpError(Exception):
    """No answer came in time, or none that is HTTP. In words for the operator."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """``headers`` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class HttpClient:
    """One connection to one server, kept open between requests. For one thread.

    ``url``: ``http://host:port/path`` or ``https://...``; its path goes before those of
    requests. ``timeout_s``: from the start of a request to the end of its answer.
    ``headers`` go with every request. ``authorities``: a variable that names those trusted, of
    this kind of server. Raises ConfigError, naming ``setting``, for anything else than such a
    URL, and for authorities that can't be read.
    """

    def __init__(
        self,
        url: str,
        setting: str,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
        authorities: str = "",
    ) -> None:
        secure, host, port, self._prefix = parse_url(url, setting)
        self._timeout_s = timeout_s
        self._headers = {"User-Agent": f"serving/{__version__}", **(headers or {})}
        tls = context(setting, authorities) if secure else None
        self._trusted_by = naming(authorities)
        self._connection = Connection(host, port, tls)

    def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> HttpAnswer:
        """Raises HttpError where no answer came in time. A connection that had been idle may
        have been closed meanwhile: then the request is sent a second time."""
        timer = Timer(self._timeout_s if timeout_s is None else timeout_s)
        used = self._connection.is_open
        try:
            try:
                return self._once(timer, method, path, body, headers or {})
            except (ConnectionResetError, BrokenPipeError):
                self.close()
                if not used:
                    raise
                return self._once(timer, method, path, body, headers or {})
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise HttpError(_words(error, self._trusted_by)) from None

    def close(self) -> None:
        self._connection.close()

    def _once(
        self, timer: Timer, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> HttpAnswer:
        whole = {**self._headers, **headers}
        with self._connection.ask(timer, method, self._prefix + path, body, whole) as response:
            content = _content(response)
            found = {key.lower(): value for key, value in response.getheaders()}
            return HttpAnswer(response.status, found, content)


def parse_url(url: str, setting: str) -> tuple[bool, str, int | None, str]:
    """Whether with TLS, host, port or None, and the path without a slash at its end.

    Raises ConfigError for anything but an HTTP URL; the words don't repeat it, for it may
    hold a password.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ConfigError(f"{setting}: not a URL") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError(f"{setting}: expected http://HOST:PORT or https://HOST:PORT")
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigError(f"{setting}: expected a URL without user, query or fragment")
    return parts.scheme == "https", host, port, parts.path.rstrip("/")


def _content(response: http.client.HTTPResponse) -> bytes:
    expected = response.length
    content = response.read(_MAX_ANSWER_BYTES + 1)
    if len(content) > _MAX_ANSWER_BYTES:
        raise ValueError("the answer is too large")
    if expected is not None and len(content) < expected:
        raise ValueError("the answer is cut off")
    return content


def _words(error: Exception, trusted_by: str) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return "its name is not known"
    if isinstance(error, http.client.RemoteDisconnected):
        return "it closed the connection"
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted: {error.verify_message.rstrip('.')}"
            f" ({trusted_by} names the authorities)"
        )
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or 'failed'}"
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__).lower()
    return str(error) if type(error) is ValueError else "the answer is not HTTP"
