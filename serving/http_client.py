"""HTTP to a server that the operator named: bounded in time and in bytes."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from serving import __version__
from serving.authorities import context, naming
from serving.errors import ConfigError
from serving.timed_http import Connection, Timer

_MAX_ANSWER_BYTES = 1 << 20
# Of a file that is downloaded: at once, and how slowly it may come in all (bytes a second).
_PIECE = 1 << 20
_SLOWEST = 64 * 1024


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


class StatusError(Exception):
    """Another answer than the file that was asked for."""

    def __init__(self, answer: HttpAnswer) -> None:
        super().__init__(f"status {answer.status}")
        self.answer = answer


class HttpClient:
    """One connection to one server, kept open between requests. For one thread.

    ``url``: ``http://host:port/path`` or ``https://...``; its path goes before those of
    requests. ``timeout_s``: from the start of a request to the end of its answer;
    ``most_bytes``: that an answer may have.
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
        most_bytes: int = _MAX_ANSWER_BYTES,
    ) -> None:
        secure, host, port, self._prefix = parse_url(url, setting)
        self._timeout_s, self._most_bytes = timeout_s, most_bytes
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

    def pieces(self, path: str, size: int | None, most: int) -> Iterator[bytes]:
        """The bytes of a file, as they come. ``size``: what it has to have, None where nobody
        said; then ``most``. The time limit is for each pause; the whole may take a second more for
        each 64 KiB.

        Raises StatusError, HttpError, also where the file is longer or shorter.
        """
        expected = most if size is None else size
        timer = Timer(self._timeout_s + expected / _SLOWEST, self._timeout_s)
        self.close()  # one that was idle may be closed, which would show too late
        # No coding: what is counted is what was sent.
        headers = {**self._headers, "Accept-Encoding": "identity"}
        try:
            with self._connection.ask(timer, "GET", self._prefix + path, None, headers) as response:
                if response.status != 200:
                    found = {key.lower(): value for key, value in response.getheaders()}
                    raise StatusError(HttpAnswer(response.status, found, _content(response)))
                yield from _pieces(response, size, most)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise HttpError(_words(error, self._trusted_by)) from None
        finally:
            self.close()

    def close(self) -> None:
        self._connection.close()

    def _once(
        self, timer: Timer, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> HttpAnswer:
        whole = {**self._headers, **headers}
        with self._connection.ask(timer, method, self._prefix + path, body, whole) as response:
            content = _content(response, self._most_bytes)
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


def _content(response: http.client.HTTPResponse, most: int = _MAX_ANSWER_BYTES) -> bytes:
    expected = response.length
    content = response.read(most + 1)
    if len(content) > most:
        raise ValueError("the answer is too large")
    if expected is not None and len(content) < expected:
        raise ValueError("the answer is cut off")
    return content


def _pieces(response: http.client.HTTPResponse, size: int | None, most: int) -> Iterator[bytes]:
    """Raises ValueError where it is not of that size. ``http.client`` itself takes a body that
    ends early for whole, where it is read in pieces."""
    size = response.length if size is None else size
    left = most if size is None else size
    if left > most or (response.length is not None and response.length > left):
        raise ValueError(f"the file has more than {min(left, most)} bytes")
    came = 0
    while piece := response.read(min(_PIECE, left - came + 1)):
        came += len(piece)
        if came > left:
            raise ValueError(f"the file has more than {left} bytes")
        yield piece
    if size is not None and came < size:
        raise ValueError(f"the file was cut off: {came} of {size} bytes came")


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
