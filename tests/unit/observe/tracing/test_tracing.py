"""Spans on their way out: what is sent, to which kind of collector, and what is lost when
it does not take them."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from serving import _core
from serving.errors import ConfigError
from serving.observe.http import HttpClient, HttpError
from serving.observe.otlp import GrpcSender, Sender, SendError, open_sender
from serving.observe.tracing import exporter
from serving.observe.tracing.convert import SpanConverter
from serving.observe.tracing.exporter import Converter, TraceExport
from serving.observe.tracing.setup import open_target, resource
from serving.settings import load_settings
from tests.clients.collector import Collector, GrpcCollector, HttpCollector, Received, decoded
from tests.clients.gateway import free_ports, wait_until

TRACE, SPAN, PARENT, BATCH = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "a" * 16, "c"
ADDRESSES = {"http": ("127.0.0.1", 8080), "grpc": ("127.0.0.1", 8081)}


def a_span(**changes: Any) -> _core.Span:
    """A request's span; ``attributes`` change single ones, None takes one away."""
    attributes: dict[str, Any] = {
        "model": "tiny",
        "version": 3,
        "protocol": "grpc",
        "rows": 2,
        "status": "ok",
        "request_id": "r-1",
    }
    span: dict[str, Any] = {
        "trace_id": TRACE,
        "span_id": SPAN,
        "parent_id": PARENT,
        "name": "request",
        "kind": "server",
        "start_ns": 1_700_000_000_000_000_001,
        "end_ns": 1_700_000_000_000_500_000,
        "links": [(BATCH * 32, BATCH * 16)],
        "error": "",
    }
    attributes.update(changes.pop("attributes", {}))
    given = {key: value for key, value in attributes.items() if value is not None}
    return _core.Span(**{**span, **changes}, attributes=given)


def a_batch(**changes: Any) -> _core.Span:
    own = {"protocol": None, "status": None, "request_id": None, "requests": 1}
    attributes = {**own, **changes.pop("attributes", {})}
    span = {"name": "batch", "kind": "internal", "parent_id": "", "links": [(TRACE, SPAN)]}
    return a_span(**{**span, **changes}, attributes=attributes)


def converted(span: _core.Span) -> Received:
    (one,) = decoded(SpanConverter({"service.name": "s"}, ADDRESSES).request([span]))
    return one


# What is sent


def test_a_request_over_grpc_is_told_in_opentelemetrys_words() -> None:
    one = converted(a_span())
    assert (one.trace_id, one.span_id, one.parent_id) == (TRACE, SPAN, PARENT)
    assert (one.name, one.span.kind) == ("request", 2)
    assert one.span.start_time_unix_nano == 1_700_000_000_000_000_001
    assert one.span.end_time_unix_nano == 1_700_000_000_000_500_000
    assert one.attributes == {
        "serving.model": "tiny",
        "serving.version": 3,
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
    assert one.links == [(BATCH * 32, BATCH * 16)]
    assert (one.resource, one.scope) == ({"service.name": "s"}, "serving")
    assert one.span.status.code == 0


def test_a_request_over_http_is_told_in_opentelemetrys_words() -> None:
    one = converted(a_span(attributes={"protocol": "http", "status": "not_found"}))
    assert one.attributes["http.request.method"] == "POST"
    assert one.attributes["http.response.status_code"] == 404
    assert one.attributes["error.type"] == "not_found"
    assert one.attributes["server.port"] == 8080
    assert not {"rpc.system", "protocol"} & set(one.attributes)


def test_only_the_servers_own_faults_are_errors_and_all_failures_have_words() -> None:
    mine = converted(a_span(error="it broke", attributes={"status": "internal"}))
    assert (mine.span.status.code, mine.span.status.message) == (2, "it broke")
    theirs = converted(a_span(error="no such model", attributes={"status": "not_found"}))
    assert theirs.span.status.code == 0
    assert theirs.attributes["serving.message"] == "no such model"
    inner = converted(a_batch(error="it broke"))
    assert (inner.span.status.code, inner.span.kind) == (2, 1)
    assert "serving.message" not in {**mine.attributes, **inner.attributes}


def test_a_span_that_failed_does_not_make_the_next_one_of_its_kind_fail() -> None:
    convert = SpanConverter({}, ADDRESSES)
    failed = {"attributes": {"status": "internal"}}
    spans = [a_span(error="one", **failed), a_span(error="two", **failed), a_span()]
    found = decoded(convert.request(spans))
    assert [one.span.status.message for one in found] == ["one", "two", ""]
    assert [one.span.status.code for one in found] == [2, 2, 0]


def test_links_and_roots_are_kept_and_a_later_span_of_the_same_kind_has_its_own_values() -> None:
    batch = a_batch()
    convert = SpanConverter({}, ADDRESSES)
    other = a_batch(attributes={"rows": 64}, links=[])
    first, second, third = decoded(convert.request([batch, other, batch]))
    assert (first.parent_id, first.links) == ("", [(TRACE, SPAN)])
    assert [one.attributes["serving.rows"] for one in (first, second, third)] == [2, 64, 2]
    assert (second.links, first.span == third.span) == ([], True)


@pytest.mark.parametrize(
    ("name", "kind", "parent_id", "flags"),
    [
        ("request", "server", "", 0x001),
        ("request", "server", PARENT, 0x301),
        ("queue", "internal", PARENT, 0x101),
        ("batch", "internal", "", 0x001),
        ("run", "internal", PARENT, 0x101),
    ],
)
def test_only_a_requests_parent_may_be_elsewhere(
    name: str, kind: str, parent_id: str, flags: int
) -> None:
    one = converted(a_span(name=name, kind=kind, parent_id=parent_id))
    assert (one.name, one.parent_id, one.span.flags) == (name, parent_id, flags)
    assert [link.flags for link in one.span.links] == [1]


@pytest.mark.parametrize("letter", ["m", "é", "日", "🦀"])
def test_very_long_texts_are_cut_and_lose_no_span(letter: str) -> None:
    long = letter * 5000
    failed = {"request_id": long, "model": long, "status": "not_found"}
    one = converted(a_span(attributes=failed, error=long))
    for name in ("serving.request_id", "serving.model", "serving.message"):
        assert one.attributes[name] == letter * 1024
    fault = converted(a_span(attributes={**failed, "status": "internal"}, error=long))
    assert fault.span.status.message == letter * 1024


def test_a_resource_may_have_text_that_is_no_unicode() -> None:
    (one,) = decoded(SpanConverter({"host.name": "\ud800x"}).request([a_span()]))
    assert one.resource == {"host.name": "?x"}


def test_many_spans_are_each_told_as_they_are() -> None:
    convert = SpanConverter({}, ADDRESSES)
    spans = [a_span(attributes={"rows": rows, "request_id": f"r-{rows}"}) for rows in range(2500)]
    for _ in range(2):
        found = decoded(convert.request(spans))
        told = [(x.attributes["serving.rows"], x.attributes["serving.request_id"]) for x in found]
        assert told == [(rows, f"r-{rows}") for rows in range(2500)]


@pytest.mark.parametrize(
    "changes",
    [
        {"trace_id": TRACE.upper()},
        {"trace_id": SPAN},
        {"span_id": "0" * 16},
        {"span_id": TRACE},
        {"parent_id": "no hex"},
        {"links": [(SPAN, TRACE)]},
        {"name": "walk"},
        {"kind": "client"},
        {"attributes": {"colour": "red"}},
    ],
)
def test_a_span_that_the_core_never_makes_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"is no (trace|span) id|unknown (name|kind)"):
        a_span(**changes)


def test_a_span_tells_what_it_was_made_of_without_what_says_nothing() -> None:
    span = a_span(attributes={"method": ""}, error="it broke")
    assert (span.trace_id, span.span_id, span.parent_id) == (TRACE, SPAN, PARENT)
    assert (span.name, span.kind, span.error) == ("request", "server", "it broke")
    assert (span.start_ns, span.end_ns) == (1_700_000_000_000_000_001, 1_700_000_000_000_500_000)
    assert span.links == [(BATCH * 32, BATCH * 16)]
    assert span.attributes == a_span().attributes
    assert span.attributes["rows"] == 2


@pytest.mark.parametrize(
    ("protocol", "status", "is_fault"),
    [("grpc", "expired", True), ("http", "full", True), ("grpc", "full", False)],
)
def test_each_door_has_its_own_faults(protocol: str, status: str, is_fault: bool) -> None:
    one = converted(a_span(error="no", attributes={"protocol": protocol, "status": status}))
    assert (one.span.status.code == 2) is is_fault


@pytest.mark.parametrize("outcome", _core.OUTCOMES)
@pytest.mark.parametrize("protocol", _core.PROTOCOLS)
def test_every_outcome_is_told_with_the_code_of_its_door(protocol: str, outcome: str) -> None:
    one = converted(a_span(attributes={"protocol": protocol, "status": outcome}))
    code = _core.CODES[_core.PROTOCOLS.index(protocol)][_core.OUTCOMES.index(outcome)]
    if protocol == "http":
        assert one.attributes["http.response.status_code"] == int(code)
    else:
        number = one.attributes["rpc.grpc.status_code"]
        assert grpc.StatusCode[code].value[0] == number
    assert one.attributes.get("error.type", "ok") == outcome


def test_the_method_that_a_request_tells_is_passed_on() -> None:
    one = converted(a_span(attributes={"method": "ModelStreamInfer"}))
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
        return sender.send(REQUEST, timeout_s)


REQUEST = SpanConverter({"service.name": "s"}).request([a_span(), a_span(span_id="b" * 16)])


def test_both_protocols_deliver(collector: Any) -> None:
    with sender_to(collector) as sender:
        assert sender.send(REQUEST, 5) == 0
        assert sender.send(REQUEST, 5) == 0
    assert [one.span_id for one in collector.spans] == [SPAN, "b" * 16] * 2


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
        sender.send(REQUEST, 1)
    sender.close()
    assert failure.value.passing


def test_a_connection_closed_while_it_was_idle_is_opened_again(
    http_collector: HttpCollector,
) -> None:
    http_collector.leaves = True
    with sender_to(http_collector) as sender:
        for _ in range(3):
            assert sender.send(REQUEST, 5) == 0
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
        assert target.sender.send(REQUEST, 5) == 0
        assert one.headers["authorization"] == "Bearer t-123"
        assert one.headers["x-mlflow-experiment-id"] == "7"
        one.experiment = "8"
        with pytest.raises(SendError, match="404"):
            target.sender.send(REQUEST, 5)
        assert target.sender.send(REQUEST, 5) == 0
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
    class Choosy(SpanConverter):
        def request(self, spans: Sequence[_core.Span]) -> bytes:
            if spans[0].name == "run":
                raise KeyError("run")
            return super().request(spans)

    source = Source([[a_span(name="run")], [a_span()]])
    with capture_logs() as records:
        export = exported(source, Scripted(), lambda e: e.exported, Choosy({}))
    assert (export.exported, export.dropped) == (1, 1)
    assert "traces_failed" in [one["event"] for one in records]


def test_handfuls_that_come_together_are_sent_together() -> None:
    sender = Scripted()
    export = exported(Source([[a_span()] * 64] * 10), sender, lambda e: e.exported == 640)
    assert len(sender.sent) == 2
    assert export.status().last_success is not None
