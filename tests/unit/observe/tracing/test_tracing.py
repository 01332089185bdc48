"""Spans on their way out: what is sent, to which kind of collector, and what is lost when
it does not take them."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import grpc
import numpy as np
import pytest
from structlog.testing import capture_logs

from serving import _core
from serving.errors import ConfigError
from serving.http_client import HttpClient, HttpError
from serving.observe.otlp import GrpcSender, Sender, SendError, open_sender
from serving.observe.tracing import exporter
from serving.observe.tracing.convert import SpanConverter
from serving.observe.tracing.exporter import Converter, TraceExport
from serving.observe.tracing.setup import open_target, resource
from serving.settings import load_settings
from tests.clients.collector import Collector, GrpcCollector, HttpCollector, Received, decoded
from tests.clients.gateway import free_ports, wait_until
from tests.unit.core_world import Request, core

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "a" * 16
ADDRESSES = {"http": ("127.0.0.1", 8080), "grpc": ("127.0.0.1", 8081)}


@cache
def spans_of(
    rows: int = 2, request_id: str = "r-1", parent: str = PARENT, **fields: Any
) -> dict[str, _core.Span]:
    """By name, of a request whose caller's span is ``parent``."""
    x = np.zeros((rows, 1), np.float32)
    headers = {"x-request-id": request_id}
    if parent:
        headers["traceparent"] = f"00-{TRACE}-{parent}-01"
    asked = Request(
        (("X", "FP32", x.shape, x.tobytes()),),
        (("Y", "FP32", x.shape, x.tobytes()),),
        headers=tuple(headers.items()),
        **({"model": "tiny", "max_rows": 128} | fields),
    )
    return {converted(one).name: one for one in core().spans(asked)}


def a_span(**fields: Any) -> _core.Span:
    return spans_of(**fields)["request"]


def converted(span: _core.Span) -> Received:
    (one,) = decoded(SpanConverter({"service.name": "s"}, ADDRESSES).request([span]))
    return one


@cache
def two_spans() -> bytes:
    """As a request for a collector."""
    spans = [a_span(), a_span(request_id="r-2")]
    return SpanConverter({"service.name": "s"}).request(spans)


# What is sent


def test_a_request_over_grpc_is_told_in_opentelemetrys_words() -> None:
    one, batch = converted(a_span()), converted(spans_of()["batch"])
    assert (one.trace_id, one.parent_id) == (TRACE, PARENT)
    assert (one.name, one.span.kind) == ("request", 2)
    assert 0 < one.span.start_time_unix_nano < one.span.end_time_unix_nano <= time.time_ns()
    assert one.attributes == {
        "serving.model": "tiny",
        "serving.version": 3,
        "serving.route": "default",
        "serving.rows": 2,
        "serving.status": "ok",
        "serving.request_id": "r-1",
        "rpc.system": "grpc",
        "rpc.service": "inference.GRPCInferenceService",
        "rpc.method": "ModelInfer",
        "rpc.grpc.status_code": 0,
        "server.address": "127.0.0.1",
        "server.port": 8081,
    }
    assert one.links == [(batch.trace_id, batch.span_id)]
    assert (one.resource, one.scope) == ({"service.name": "s"}, "serving")
    assert one.span.status.code == 0


def test_a_request_over_http_is_told_in_opentelemetrys_words() -> None:
    one = converted(a_span(protocol="http", word="not_found"))
    assert one.attributes["http.request.method"] == "POST"
    assert one.attributes["http.response.status_code"] == 404
    assert one.attributes["error.type"] == "not_found"
    assert one.attributes["server.port"] == 8080
    assert not {"rpc.system", "protocol"} & set(one.attributes)


def test_only_the_servers_own_faults_are_errors_and_all_failures_have_words() -> None:
    failed = spans_of(word="internal", message="it broke")
    mine = converted(failed["request"])
    assert (mine.span.status.code, mine.span.status.message) == (2, "it broke")
    theirs = converted(a_span(word="not_found", message="no such model"))
    assert theirs.span.status.code == 0
    assert theirs.attributes["serving.message"] == "no such model"
    inner = converted(failed["batch"])
    assert (inner.span.status.code, inner.span.kind) == (2, 1)
    assert "serving.message" not in {**mine.attributes, **inner.attributes}


def test_a_span_that_failed_does_not_make_the_next_one_of_its_kind_fail() -> None:
    convert = SpanConverter({}, ADDRESSES)
    failed = [a_span(word="internal", message=message) for message in ("one", "two")]
    found = decoded(convert.request([*failed, a_span()]))
    assert [one.span.status.message for one in found] == ["one", "two", ""]
    assert [one.span.status.code for one in found] == [2, 2, 0]


def test_links_and_roots_are_kept_and_a_later_span_of_the_same_kind_has_its_own_values() -> None:
    convert = SpanConverter({}, ADDRESSES)
    asked = [spans_of(), spans_of(rows=64)]
    batches = [spans["batch"] for spans in asked]
    requests = [converted(spans["request"]) for spans in asked]
    first, second, third, run = decoded(convert.request([*batches, batches[0], asked[0]["run"]]))
    linked = [[(one.trace_id, one.span_id)] for one in requests]
    assert ([first.links, second.links], run.links) == (linked, [])
    assert [one.attributes["serving.rows"] for one in (first, second, third)] == [2, 64, 2]
    assert (first.parent_id, first.span == third.span) == ("", True)


@pytest.mark.parametrize(
    ("name", "caller", "parent", "flags"),
    [
        ("request", "", None, 0x001),
        ("request", PARENT, None, 0x301),
        ("queue", PARENT, "request", 0x101),
        ("batch", PARENT, None, 0x001),
        ("run", PARENT, "batch", 0x101),
    ],
)
def test_only_a_requests_parent_may_be_elsewhere(
    name: str, caller: str, parent: str | None, flags: int
) -> None:
    spans = {name: converted(span) for name, span in spans_of(parent=caller).items()}
    one = spans[name]
    expected = spans[parent].span_id if parent else caller if name == "request" else ""
    assert (one.name, one.parent_id, one.span.flags) == (name, expected, flags)
    links = [1] if name in ("request", "batch") else []
    assert [link.flags for link in one.span.links] == links


@pytest.mark.parametrize("letter", ["m", "é", "日", "🦀"])
def test_very_long_texts_are_cut_and_lose_no_span(letter: str) -> None:
    long = letter * 5000
    one = converted(a_span(word="not_found", message=long))
    assert one.attributes["serving.message"] == letter * 1024
    fault = converted(a_span(word="internal", message=long))
    assert fault.span.status.message == letter * 1024


def test_a_resource_may_have_text_that_is_no_unicode() -> None:
    (one,) = decoded(SpanConverter({"host.name": "\ud800x"}).request([a_span()]))
    assert one.resource == {"host.name": "?x"}


def test_many_spans_are_each_told_as_they_are() -> None:
    convert = SpanConverter({}, ADDRESSES)
    many = [*range(1, 101)] * 25
    spans = [a_span(rows=rows, request_id=f"r-{rows}") for rows in many]
    for _ in range(2):
        found = decoded(convert.request(spans))
        told = [(x.attributes["serving.rows"], x.attributes["serving.request_id"]) for x in found]
        assert told == [(rows, f"r-{rows}") for rows in many]


@pytest.mark.parametrize(
    ("protocol", "status", "is_fault"),
    [("grpc", "expired", True), ("http", "full", True), ("grpc", "full", False)],
)
def test_each_door_has_its_own_faults(protocol: str, status: str, is_fault: bool) -> None:
    one = converted(a_span(protocol=protocol, word=status, message="no"))
    assert (one.span.status.code == 2) is is_fault


@pytest.mark.parametrize("outcome", _core.OUTCOMES)
@pytest.mark.parametrize("protocol", _core.PROTOCOLS)
def test_every_outcome_is_told_with_the_code_of_its_door(protocol: str, outcome: str) -> None:
    word = "" if outcome == "ok" else outcome
    one = converted(a_span(protocol=protocol, word=word))
    code = _core.CODES[_core.PROTOCOLS.index(protocol)][_core.OUTCOMES.index(outcome)]
    if protocol == "http":
        assert one.attributes["http.response.status_code"] == int(code)
    else:
        number = one.attributes["rpc.grpc.status_code"]
        assert grpc.StatusCode[code].value[0] == number
    assert one.attributes.get("error.type", "ok") == outcome


def test_the_method_that_a_request_tells_is_passed_on() -> None:
    one = converted(a_span(method="ModelStreamInfer"))
    assert one.attributes["rpc.method"] == "ModelStreamInfer"


def test_the_resource_names_the_service_its_version_and_its_process() -> None:
    settings, _ = load_settings({"name": "gateway-7"}, environ={})
    found = resource(settings)
    assert found["service.name"] == "gateway-7"
    assert found["process.pid"] == os.getpid()
    assert set(found) >= {"service.version", "service.instance.id", "host.name"}


# To whom


@pytest.fixture(params=[HttpCollector, GrpcCollector])
def collector(request: pytest.FixtureRequest) -> Iterator[Collector]:
    one = request.param()
    try:
        yield one
    finally:
        one.close()


@pytest.fixture
def http_collector() -> Iterator[HttpCollector]:
    one = HttpCollector()
    try:
        yield one
    finally:
        one.close()


@contextmanager
def sender_to(collector: Any) -> Iterator[Sender]:
    protocol: Any = "grpc" if isinstance(collector, GrpcCollector) else "http"
    sender = open_sender(collector.endpoint, protocol, "traces", "tracing.endpoint")
    try:
        yield sender
    finally:
        sender.close()


def send(collector: Any, timeout_s: float = 5) -> int:
    with sender_to(collector) as sender:
        return sender.send(two_spans(), timeout_s)


def test_both_protocols_deliver(collector: Any) -> None:
    with sender_to(collector) as sender:
        assert sender.send(two_spans(), 5) == 0
        assert sender.send(two_spans(), 5) == 0
    sent = [one.span_id for one in decoded(two_spans())]
    assert [one.span_id for one in collector.spans] == sent * 2


def test_spans_that_the_collector_refuses_are_told(collector: Any) -> None:
    collector.behaviour = "partial"
    assert send(collector) == 1


@pytest.mark.parametrize(
    ("behaviour", "passing"),
    [(503, True), (429, True), (400, False), (404, False), (302, False), ("page", False)],
)
def test_only_failures_that_may_pass_are_worth_another_try_over_http(
    http_collector: HttpCollector, behaviour: Any, passing: bool
) -> None:
    http_collector.behaviour = behaviour
    with pytest.raises(SendError) as failure:
        send(http_collector)
    assert failure.value.passing is passing


@pytest.mark.parametrize(("code", "passing"), [(14, True), (8, True), (3, False), (12, False)])
def test_only_failures_that_may_pass_are_worth_another_try_over_grpc(
    code: int, passing: bool
) -> None:
    one = GrpcCollector()
    try:
        one.behaviour = code
        with pytest.raises(SendError) as failure:
            send(one)
        assert failure.value.passing is passing
    finally:
        one.close()


def test_an_answer_that_no_collector_gives_is_an_error(collector: Any) -> None:
    collector.behaviour = "nonsense"
    with pytest.raises(SendError, match="not as a collector") as failure:
        send(collector)
    assert not failure.value.passing


@pytest.mark.parametrize("behaviour", ["hang", "trickle", "garbage"])
def test_an_answer_that_never_ends_costs_no_more_than_the_time_out(
    http_collector: HttpCollector, behaviour: str
) -> None:
    http_collector.behaviour = behaviour
    started = time.monotonic()
    with pytest.raises(SendError) as failure:
        send(http_collector, 0.5)
    assert failure.value.passing
    assert time.monotonic() - started < 5
    http_collector.behaviour = "take"


def test_a_hanging_grpc_collector_costs_no_more_than_the_time_out() -> None:
    one = GrpcCollector()
    try:
        one.behaviour = "hang"
        with pytest.raises(SendError, match="DEADLINE_EXCEEDED") as failure:
            send(one, 0.5)
        assert failure.value.passing
    finally:
        one.close()


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_collector_that_is_not_there_may_come(protocol: Any) -> None:
    (port,) = free_ports(1)
    sender = open_sender(f"http://127.0.0.1:{port}", protocol, "traces", "tracing.endpoint")
    with pytest.raises(SendError) as failure:
        sender.send(two_spans(), 1)
    sender.close()
    assert failure.value.passing


def test_a_connection_closed_while_it_was_idle_is_opened_again(
    http_collector: HttpCollector,
) -> None:
    http_collector.leaves = True
    with sender_to(http_collector) as sender:
        for _ in range(3):
            assert sender.send(two_spans(), 5) == 0
            assert http_collector.left.wait(5)
            http_collector.left.clear()
    assert len(http_collector.spans) == 6


def test_an_endpoint_may_have_a_path_and_need_not_repeat_the_signals() -> None:
    for endpoint in ("http://c:4318", "http://c:4318/", "http://c:4318/v1/traces"):
        sender: Any = open_sender(endpoint, "http", "traces", "tracing.endpoint")
        assert sender._client._prefix + sender._path == "/v1/traces"
    sender = open_sender("https://c/otlp", "http", "traces", "tracing.endpoint")
    assert sender._client._prefix + sender._path == "/otlp/v1/traces"


@pytest.mark.parametrize(
    "endpoint",
    ["collector:4318", "ftp://c", "http://", "http://u:secret@c", "http://c:99999", "http://c?x=1"],
)
def test_an_endpoint_that_is_no_url_is_refused_without_repeating_it(endpoint: str) -> None:
    settings, _ = load_settings({"tracing.endpoint": endpoint}, environ={})
    with pytest.raises(ConfigError, match=r"tracing\.endpoint") as failure:
        open_target(settings)
    assert "secret" not in str(failure.value)


def test_grpc_takes_an_address_without_a_scheme_and_no_path() -> None:
    GrpcSender("collector:4317", "traces", "tracing.endpoint").close()
    with pytest.raises(ConfigError, match="no path"):
        GrpcSender("http://collector:4317/v1/traces", "traces", "tracing.endpoint")


@pytest.mark.parametrize(("protocol", "missing"), [("http", "opentelemetry"), ("grpc", "grpc")])
def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, protocol: str, missing: str
) -> None:
    def find_spec(name: str) -> object:
        return None if name.startswith(missing) else object()

    monkeypatch.setattr("importlib.util.find_spec", find_spec)
    wanted = {"tracing.endpoint": "http://c:1", "tracing.protocol": protocol}
    with pytest.raises(ConfigError, match=r"serving\[otel\]"):
        open_target(load_settings(wanted, environ={})[0])


def test_mlflow_as_a_target_needs_its_server() -> None:
    settings, _ = load_settings({"tracing.endpoint": "mlflow"}, environ={})
    with pytest.raises(ConfigError, match=r"tracking\.mlflow\.uri"):
        open_target(settings)


def test_without_an_endpoint_there_is_no_target_and_a_rate_is_remarked_upon() -> None:
    assert open_target(load_settings({}, environ={})[0]) is None
    with capture_logs() as records:
        assert open_target(load_settings({"tracing.rate": 0.1}, environ={})[0]) is None
    assert [one["event"] for one in records] == ["traces_go_nowhere"]


def test_http_answers_are_bounded() -> None:
    class Large(HttpCollector):
        def answer(self, handler: Any) -> None:
            handler.rfile.read(int(handler.headers["Content-Length"]))
            handler.send_response(200)
            handler.send_header("Content-Length", str(2 << 20))
            handler.end_headers()
            handler.wfile.write(bytes(2 << 20))

    one = Large()
    try:
        client = HttpClient(one.endpoint, "x", 5)
        with pytest.raises(HttpError, match="too large"):
            client.request("POST", "/v1/traces", b"x")
        client.close()
    finally:
        one.close()


class Mlflow(HttpCollector):
    """Only what traces need of it: one experiment, whose id may change."""

    def __init__(self) -> None:
        super().__init__()
        self.experiment = "7"
        self.asked_for: list[str] = []

    def answer(self, handler: Any) -> None:
        if handler.path == "/v1/traces":
            known = handler.headers["x-mlflow-experiment-id"] == self.experiment
            self.behaviour = "take" if known else 404
            super().answer(handler)

    def find(self, handler: Any) -> None:
        self.asked_for.append(handler.path)
        body = json.dumps({"experiment": {"experiment_id": self.experiment}}).encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


def test_mlflow_is_told_which_experiment_and_who_asks_and_is_asked_again_when_made_anew() -> None:
    one = Mlflow()
    wanted = {
        "tracing.endpoint": "mlflow",
        "tracking.mlflow.uri": one.endpoint,
        "tracking.mlflow.token": "t-123",
        "tracking.mlflow.experiment": "my models",
        "tracking.mlflow.timeout_s": 7,
    }
    try:
        target = open_target(load_settings(wanted, environ={})[0])
        assert target is not None
        assert target.timeout_s == 7
        assert "t-123" not in target.name
        assert target.sender.send(two_spans(), 5) == 0
        assert one.headers["authorization"] == "Bearer t-123"
        assert one.headers["x-mlflow-experiment-id"] == "7"
        one.experiment = "8"
        with pytest.raises(SendError, match="404"):
            target.sender.send(two_spans(), 5)
        assert target.sender.send(two_spans(), 5) == 0
        assert len(one.spans) == 4
        assert len(one.asked_for) == 2
        assert one.asked_for[0].endswith("?experiment_name=my%20models")
        target.sender.close()
    finally:
        one.close()


# How it goes on when it does not go well


class Source:
    """The method of the core that the exporter pulls from."""

    def __init__(self, handfuls: list[list[_core.Span]]) -> None:
        self.handfuls = handfuls
        self.ended = threading.Event()

    def spans(self, timeout: float) -> list[_core.Span] | None:
        assert timeout > 0
        if self.handfuls:
            return self.handfuls.pop(0)
        return None if self.ended.wait(min(timeout, 0.05)) else []


class Scripted:
    """A sender that does what it is told, then takes everything."""

    def __init__(self, *results: int | SendError) -> None:
        self.results = list(results)
        self.sent: list[bytes] = []
        self.closed = False

    def send(self, request: bytes, timeout_s: float) -> int:
        assert timeout_s > 0
        self.sent.append(request)
        result = self.results.pop(0) if self.results else 0
        if isinstance(result, SendError):
            raise result
        return result

    def close(self) -> None:
        self.closed = True


PASSING = SendError("busy", passing=True)
FINAL = SendError("not wanted", passing=False)


def exported(
    source: Source,
    sender: Any,
    until: Callable[[TraceExport], Any],
    converter: Converter | None = None,
) -> TraceExport:
    export = TraceExport(source, converter or SpanConverter({}), sender, "a collector")
    export.start()
    wait_until(lambda: until(export), 20, "the exporter is done", 0.01)
    source.ended.set()
    export.stop()
    return export


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter, "_FIRST_WAIT_S", 0.001)
    # One handful a request.
    monkeypatch.setattr(exporter, "AT_ONCE", 1)


@pytest.mark.usefixtures("quick")
def test_what_could_not_be_sent_is_sent_again_and_an_outage_is_told_once() -> None:
    sender = Scripted(PASSING, PASSING, PASSING)
    source = Source([[a_span()], [a_span()]])
    with capture_logs() as records:
        export = exported(source, sender, lambda e: e.exported == 2)
    assert len(sender.sent) == 5
    assert (export.exported, export.dropped) == (2, 0)
    assert [one["event"] for one in records] == ["traces_not_sent", "traces_sent_again"]
    assert export.status().error == ""
    assert sender.closed


@pytest.mark.usefixtures("quick")
def test_what_is_not_wanted_is_dropped_counted_and_not_sent_again() -> None:
    sender = Scripted(FINAL, 1)
    source = Source([[a_span(), a_span()], [a_span(), a_span()]])
    export = exported(source, sender, lambda e: e.exported)
    assert len(sender.sent) == 2
    # Two of the first handful, one of the second.
    assert (export.exported, export.dropped) == (1, 2 + 1)


@pytest.mark.usefixtures("quick")
def test_a_handful_that_never_goes_is_given_up() -> None:
    sender = Scripted(*[PASSING] * exporter.TRIES)
    export = exported(Source([[a_span()], [a_span()]]), sender, lambda e: e.exported)
    assert (export.exported, export.dropped) == (1, 1)
    assert len(sender.sent) == exporter.TRIES + 1


def test_a_failing_collector_does_not_hold_the_end_up() -> None:
    class Never(Scripted):
        def send(self, request: bytes, timeout_s: float) -> int:
            self.sent.append(request)
            raise PASSING

    sender = Never()
    started = time.monotonic()
    export = exported(Source([[a_span()]] * 3), sender, lambda _: sender.sent)
    assert time.monotonic() - started < 10
    assert (export.exported, export.dropped) == (0, 3)
    assert export.status().error == "busy"


@pytest.mark.usefixtures("quick")
def test_a_span_that_can_not_be_converted_costs_its_handful_and_not_the_thread() -> None:
    run = spans_of()["run"]

    class Choosy(SpanConverter):
        def request(self, spans: Sequence[_core.Span]) -> bytes:
            if spans[0] is run:
                raise KeyError("run")
            return super().request(spans)

    source = Source([[run], [a_span()]])
    with capture_logs() as records:
        export = exported(source, Scripted(), lambda e: e.exported, Choosy({}))
    assert (export.exported, export.dropped) == (1, 1)
    assert "traces_failed" in [one["event"] for one in records]


def test_handfuls_that_come_together_are_sent_together() -> None:
    sender = Scripted()
    export = exported(Source([[a_span()] * 64] * 10), sender, lambda e: e.exported == 640)
    assert len(sender.sent) == 2
    assert export.status().last_success is not None
