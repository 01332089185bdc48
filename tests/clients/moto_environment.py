"""A server with the API of S3, by moto in an environment of its own, and a proxy that spoils it."""

from __future__ import annotations

import http.client
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests

from tests.clients import environments
from tests.clients.gateway import free_ports, wait_until

REQUIREMENT = "moto==5.2.5"
_EXTRAS = "moto[s3,server]==5.2.5"
# What S3's clients find in the environment; moto believes everybody.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "somebody",
    "AWS_SECRET_ACCESS_KEY": "something",
    "AWS_REGION": "us-east-1",
}


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """Its URL. Skips the test, loudly, only when the package index is out of reach."""
    interpreter = environments.interpreter(REQUIREMENT, 600, (_EXTRAS,))
    (port,) = free_ports(1)
    with (folder / "moto.log").open("ab") as log:
        process = subprocess.Popen(
            [interpreter, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            env={**environments.variables(), "HOME": str(folder)},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"

    def up() -> bool:
        assert process.poll() is None, (folder / "moto.log").read_text()
        try:
            return requests.get(url, timeout=5).status_code == 200
        except requests.RequestException:
            return False

    try:
        wait_until(up, 60, "moto answers", every=0.2)
        yield url
    finally:
        process.kill()
        process.wait()


@dataclass
class Spoiling:
    """``delay_s``: before each answer; ``status``: in place of each; ``cut``: bytes of a body that
    are sent at most; ``flip``: a bit of each body of a model is another one."""

    delay_s: float = 0.0
    status: int = 0
    cut: int | None = None
    flip: bool = False


@dataclass
class Proxy:
    """In front of a server. ``asked``: method and path of each question."""

    target: str
    spoiling: Spoiling = field(default_factory=Spoiling)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        proxy = self

        class Bound(_Handler):
            bound = proxy

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bound: Proxy

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._do
        raise AttributeError(name)

    def _do(self) -> None:
        proxy = self.bound
        spoiling = proxy.spoiling
        proxy.asked.append((self.command, self.path))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(spoiling.delay_s)
        if spoiling.status:
            return self._send(spoiling.status, {}, b"<Error/>", None)
        connection = http.client.HTTPConnection(proxy.target.removeprefix("http://"), timeout=30)
        connection.request(self.command, self.path, body, dict(self.headers.items()))
        with connection.getresponse() as answer:
            content, headers = answer.read(), dict(answer.getheaders())
        connection.close()
        # Not the lists, nor the manifests: these are held against their form.
        if self.command == "GET" and self.path.endswith(".onnx"):
            if spoiling.flip and content:
                content = content[:-1] + bytes([content[-1] ^ 1])
            return self._send(answer.status, headers, content, spoiling.cut)
        return self._send(answer.status, headers, content, None)

    def _send(self, status: int, headers: dict[str, str], body: bytes, cut: int | None) -> None:
        self.send_response_only(status)
        length = str(len(body))
        for name, value in headers.items():
            if name.lower() in ("transfer-encoding", "connection"):
                continue
            if name.lower() == "content-length":
                length = value if self.command == "HEAD" else length
                continue
            self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(body[:cut] if self.command != "HEAD" else b"")
        if cut is not None and cut < len(body):
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Nothing."""


def variables(endpoint: str) -> dict[str, str]:
    """For a process that asks there."""
    return {**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint}
