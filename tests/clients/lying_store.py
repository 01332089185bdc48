"""A server that speaks S3's API as far as a list and a file go, and lies as it is told to."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

from tests.clients.moto_environment import CREDENTIALS

Answer = Callable[["Handler"], None]
_ETAG, _DATE = '"abc"', "Thu, 01 Jan 2026 00:00:00 GMT"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, LyingStore)
        server.asked += 1
        # A client that has enough leaves.
        with contextlib.suppress(ConnectionError):
            server.answer(self)

    def log_message(self, *_: object) -> None:
        """Nothing of it is of interest."""

    @property
    def prefix(self) -> str:
        """Of a list; "" of all."""
        return parse_qs(urlsplit(self.path).query).get("prefix", [""])[0]

    @property
    def lists(self) -> bool:
        return "list-type" in self.path

    def send(self, status: int, body: bytes, **headers: str) -> None:
        self.head(status, len(body), **headers)
        self.wfile.write(body)

    def head(self, status: int, length: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def send_file(self, content: bytes, length: int | None = None) -> None:
        """As what its ``Range`` asks for; ``length``: what it says that it sends."""
        said = f"bytes 0-{len(content) - 1}/{len(content)}"
        length = len(content) if length is None else length
        self.head(206, length, Content_Range=said, ETag=_ETAG, Last_Modified=_DATE)
        for at in range(0, length, 1 << 20):
            self.wfile.write(content if at == 0 else bytes(1 << 20))


class LyingStore(ThreadingHTTPServer):
    """``answer``: how it answers, from now on; ``asked``: how often it was."""

    daemon_threads = True

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.asked = answer, 0
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def variables(self) -> dict[str, str]:
        """The environment of who takes it for S3."""
        return {**CREDENTIALS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.server_port}"}


@contextlib.contextmanager
def lying_store(answer: Answer) -> Iterator[LyingStore]:
    store = LyingStore(answer)
    try:
        yield store
    finally:
        store.shutdown()
        store.server_close()


def page(keys: Iterable[str], folders: Iterable[str] = (), more: str = "") -> bytes:
    """One of a list; ``more``: the token of the next one."""
    files = "".join(
        f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>{escape(_ETAG)}</ETag><Size>5</Size></Contents>"
        for key in keys
    )
    prefixes = "".join(
        f"<CommonPrefixes><Prefix>{one}</Prefix></CommonPrefixes>" for one in folders
    )
    token = f"<NextContinuationToken>{more}</NextContinuationToken>" if more else ""
    cut = "true" if more else "false"
    return (
        f"<ListBucketResult><Name>b</Name>{files}{prefixes}"
        f"<IsTruncated>{cut}</IsTruncated>{token}</ListBucketResult>"
    ).encode()


def listed(keys: Iterable[str]) -> Answer:
    """As a store does that has these files, of five bytes each."""
    known = sorted(keys)

    def answer(handler: Handler) -> None:
        if not handler.lists:
            return handler.send_file(b"bytes")
        below = [key for key in known if key.startswith(handler.prefix)]
        if "delimiter" not in handler.path:
            return handler.send(200, page(below))
        rest = {key: key.removeprefix(handler.prefix) for key in below}
        folders = {f"{handler.prefix}{one.split('/')[0]}/" for one in rest.values() if "/" in one}
        files = [key for key, one in rest.items() if "/" not in one]
        return handler.send(200, page(files, sorted(folders)))

    return answer


def endless(keys: int) -> Answer:
    """Page after page, each of so many files."""
    numbers = itertools.count()

    def answer(handler: Handler) -> None:
        number = next(numbers)
        names = [f"{handler.prefix}{number}-{at}" for at in range(keys)]
        handler.send(200, page(names, more=f"t{number}"))

    return answer
