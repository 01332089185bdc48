"""An OTLP collector for tests: what it is sent over HTTP or gRPC, it keeps; told to, it fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent import futures
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.clients.gateway import wait_until

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@dataclass(frozen=True)
class Received:
    """A span as it came, with its attributes and those of its resource as plain values."""

    span: Span
    attributes: dict[str, Any]
    resource: dict[str, Any]
    scope: str

    @property
    def name(self) -> str:
        return str(self.span.name)

    @property
    def trace_id(self) -> str:
        return bytes(self.span.trace_id).hex()

    @property
    def span_id(self) -> str:
        return bytes(self.span.span_id).hex()

    @property
    def parent_id(self) -> str:
        return bytes(self.span.parent_span_id).hex()

    @property
    def links(self) -> list[tuple[str, str]]:
        return [(bytes(x.trace_id).hex(), bytes(x.span_id).hex()) for x in self.span.links]

    def within(self, other: Received) -> bool:
        return (
            other.span.start_time_unix_nano <= self.span.start_time_unix_nano
            and self.span.start_time_unix_nano <= self.span.end_time_unix_nano
            and self.span.end_time_unix_nano <= other.span.end_time_unix_nano
        )


def decoded(request: bytes) -> list[Received]:
    found = []
    for of_resource in ExportTraceServiceRequest.FromString(request).resource_spans:
        resource = _plain(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            found += [
                Received(span, _plain(span.attributes), resource, of_scope.scope.name)
                for span in of_scope.spans
            ]
    return found


def _plain(attributes: Sequence[Any]) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


class Collector:
    """``behaviour``: ``take``; ``hang`` and ``trickle`` until it is closed; ``garbage``, no
    HTTP; ``page``, a web page; ``nonsense``, no export response;
    ``partial``, refuses one span of each request; or a status."""

    def __init__(self) -> None:
        self.behaviour: str | int = "take"
        self.headers: dict[str, str] = {}
        self.requests = 0
        self.asked = threading.Event()
        self.closing = threading.Event()
        self._spans: list[Received] = []
        self._lock = threading.Lock()

    @property
    def spans(self) -> list[Received]:
        with self._lock:
            return list(self._spans)

    def named(self, name: str) -> list[Received]:
        return [one for one in self.spans if one.name == name]

    def wait(
        self, enough: Callable[[list[Received]], Any], what: str, timeout: float = 20.0
    ) -> list[Received]:
        wait_until(lambda: enough(self.spans), timeout, what)
        return self.spans

    def wait_for(self, *names: str) -> list[Received]:
        """Until there is a span of each name."""
        return self.wait(
            lambda spans: set(names) <= {one.name for one in spans}, f"spans {names} come"
        )

    def keep(self, request: bytes) -> None:
        with self._lock:
            self._spans += decoded(request)

    def note(self) -> None:
        self.requests += 1
        self.asked.set()


class HttpCollector(Collector):
    def __init__(self, port: int = 0) -> None:
        super().__init__()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                collector.answer(self)

            def do_GET(self) -> None:
                collector.find(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - theirs
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def shutdown_request(self, request: Any) -> None:
                super().shutdown_request(request)
                collector.left.set()

        # Whether it closes a connection after an answer, without having said so.
        self.leaves = False
        self.left = threading.Event()
        self._server = Server(("127.0.0.1", port), Handler)
        self.port = self._server.server_address[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        self.headers = {key.lower(): value for key, value in handler.headers.items()}
        behaviour = self.behaviour
        self.note()
        if behaviour == "hang":
            self.closing.wait(60)
        elif behaviour == "trickle":
            self._trickle(handler)
        elif behaviour == "garbage":
            handler.wfile.write(b"\x00\x01 no protocol that is known\r\n\r\n")
            handler.close_connection = True
        elif behaviour == "page":
            _reply(handler, 200, b"<html>It works!</html>", "text/html")
        elif behaviour == "nonsense":
            _reply(handler, 200, b"\xff\xff\xff", "application/x-protobuf")
        elif isinstance(behaviour, int):
            secret = handler.headers.get("Authorization", "")
            _reply(handler, behaviour, f"refused {secret}".encode(), "text/plain")
        elif handler.path != "/v1/traces":
            _reply(handler, 404, b"", "text/plain")
        else:
            self.keep(body)
            _reply(handler, 200, _response(behaviour == "partial"), "application/x-protobuf")
            handler.close_connection = handler.close_connection or self.leaves

    def find(self, handler: BaseHTTPRequestHandler) -> None:
        """Whatever else it is asked for."""
        _reply(handler, 404, b"", "text/plain")

    def _trickle(self, handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        handler.close_connection = True
        while not self.closing.wait(0.1):
            try:
                handler.wfile.write(b"x")
            except OSError:
                return

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _reply(handler: BaseHTTPRequestHandler, status: int, body: bytes, kind: str) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def _response(partial: bool) -> bytes:
    response = ExportTraceServiceResponse()
    if partial:
        response.partial_success.rejected_spans = 1
        response.partial_success.error_message = "one too many"
    return bytes(response.SerializeToString())


class GrpcCollector(Collector):
    def __init__(self) -> None:
        super().__init__()
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        method = grpc.unary_unary_rpc_method_handler(self.answer)
        service, name = EXPORT.strip("/").split("/")
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {name: method}),)
        )
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._server.start()

    def answer(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        behaviour = self.behaviour
        self.headers = {key: str(value) for key, value in context.invocation_metadata()}
        self.note()
        if behaviour == "hang":
            self.closing.wait(60)
        elif behaviour == "nonsense":
            return b"\xff\xff\xff"
        elif isinstance(behaviour, int):
            context.abort(next(c for c in grpc.StatusCode if c.value[0] == behaviour), "refused")
        else:
            self.keep(request)
        return _response(behaviour == "partial")

    def close(self) -> None:
        self.closing.set()
        self._server.stop(0).wait()
