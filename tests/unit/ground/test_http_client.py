"""Files over HTTP, piece by piece."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from serving.http_client import HttpClient, HttpError, StatusError


class Handler(BaseHTTPRequestHandler):
    """``/SAYS/SENDS``: says that so many bytes come ("-": says nothing), and sends so many."""

    def do_GET(self) -> None:
        _, says, sends = self.path.split("/")
        if says == "missing":
            self.send_error(404)
            return
        self.send_response(200)
        if says.isdigit():
            self.send_header("Content-Length", says)
        self.end_headers()
        if sends == "slowly":
            for _ in range(50):
                self.wfile.write(b"x")
                time.sleep(0.1)
        else:
            self.wfile.write(b"x" * int(sends))

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def came(url: str, path: str, size: int | None, most: int = 10_000_000, wait_s: float = 5.0) -> int:
    client = HttpClient(url, "a.setting", wait_s)
    return sum(map(len, client.pieces(path, size, most)))


def test_a_file_comes_whole(url: str) -> None:
    assert came(url, "/3000000/3000000", 3_000_000) == 3_000_000
    assert came(url, "/3000000/3000000", None) == 3_000_000
    assert came(url, "/-/5", 5) == 5
    assert came(url, "/0/0", 0) == 0


@pytest.mark.parametrize(
    ("path", "size", "most", "words"),
    [
        ("/10/10", 9, 9, "more than 9 bytes"),
        ("/-/10", 9, 9, "more than 9 bytes"),
        ("/10/10", None, 9, "more than 9 bytes"),
        ("/10/10", 11, 11, "10 of 11 bytes came"),
        ("/10/4", 10, 10, "4 of 10 bytes came"),
        ("/10/4", None, 100, "4 of 10 bytes came"),
    ],
)
def test_one_that_is_longer_or_shorter_is_an_error(
    url: str, path: str, size: int | None, most: int, words: str
) -> None:
    with pytest.raises(HttpError, match=words):
        came(url, path, size, most)


def test_another_answer_than_the_file_is_told(url: str) -> None:
    with pytest.raises(StatusError) as other:
        came(url, "/missing/0", 5)
    assert other.value.answer.status == 404


def test_one_that_trickles_ends_in_time(url: str) -> None:
    before = time.monotonic()
    with pytest.raises(HttpError, match="no answer in time"):
        came(url, "/-/slowly", 50, wait_s=0.5)
    assert time.monotonic() - before < 4
