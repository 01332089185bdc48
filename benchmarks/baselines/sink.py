"""Takes whatever is sent to it, and counts it: a collector that costs nothing.

python -m benchmarks.baselines.sink PORT      GET answers the bytes that POST brought
"""

from __future__ import annotations

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_lock = threading.Lock()
_taken = 0


class Sink(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(str(_taken).encode())

    def do_POST(self) -> None:
        global _taken  # noqa: PLW0603 - one counter of one small process
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with _lock:
            _taken += len(body)
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Sink).serve_forever()
