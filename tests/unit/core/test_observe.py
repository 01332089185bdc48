"""What the core notes of single requests: spans, samples and the access log, on both doors."""

from __future__ import annotations

import json
import struct
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from serving import _core
from serving.observe.request_log.record import from_line, record_of
from serving.observe.tracing.convert import SpanConverter
from serving.settings import load_settings
from serving.wire import messages
from tests.clients.collector import Received, decoded
from tests.unit.request_log_samples import assert_reads_back

SETTINGS, _ = load_settings({"http_port": 0, "grpc_port": 0}, None, {})
TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{SPAN}-01"
UNSAMPLED = f"00-{TRACE}-{SPAN}-00"
# OTLP's kinds of spans.
INTERNAL, SERVER = 1, 2
SERVICE = "/inference.GRPCInferenceService/"

OFF: dict[str, Any] = {
    "trace_rate": 0.0,
    "trace_parents": False,
    "span_buffer": 1000,
    "sample_buffer_bytes": 1 << 20,
    "sample_max_bytes": 1 << 16,
    "access_rate": 0.0,
}
ALL = {**OFF, "trace_rate": 1.0, "access_rate": 1.0}


@dataclass(frozen=True)
class Answer:
    ok: bool
    code: str
    headers: dict[str, str]
    words: list[str] = field(default_factory=list)


class World:
    """A server whose one model ``echo`` answers its words, unless one of them is ``bad``."""

    def __init__(self) -> None:
        spec = _core.TensorSpec
        self.queue = _core.Queue(
            model="echo",
            version=3,
            inputs=[spec("x", "BYTES", [-1])],
            outputs=[spec("y", "BYTES", [-1])],
            max_rows=8,
            max_queue_rows=100,
        )
        self.server = _core.Server(SETTINGS.core())
        self.publish([self.queue])
        self.server.start()
        self.server.set_ready(True)
        self.runner = threading.Thread(target=self._run, daemon=True)
        self.runner.start()

    def publish(self, queues: Sequence[_core.Queue]) -> None:
        versions = dict.fromkeys([3], queues[0]) if queues else {}
        if versions:
            self.server.publish([_core.Route("echo", versions, 3)])
        else:
            self.server.publish([], ["echo"])

    def _run(self) -> None:
        while (batch := self.queue.next_batch()) is not None:
            words = batch.inputs["x"]
            if "bad" not in words:
                batch.complete([words])
            elif (halves := batch.split()) is None:
                batch.fail("bad_data", "a bad word", "the original's text")
            else:
                for half in halves:
                    half.fail("bad_data", "a bad word")

    def close(self) -> None:
        self.queue.close()
        self.server.stop()
        self.runner.join(10)

    def counters(self) -> dict[str, int]:
        return self.server.counters()

    def spans(self, names: str = "request queue batch run") -> dict[str, Received]:
        """The spans of one request by name, all of them there."""
        wanted = names.split()
        found = told(self.take(self.server.spans, len(wanted)))
        assert sorted(span.name for span in found) == sorted(wanted)
        return {span.name: span for span in found}

    def samples(self, count: int = 1) -> list[_core.Sample]:
        return self.take(self.server.samples, count)

    def records(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        def take(timeout: float) -> list[dict[str, Any]] | None:
            records = self.server.events(timeout) or []
            return [record for record in records if record["event"] == event]

        return self.take(take, count)

    def take(self, pull: Callable[[float], list[Any] | None], count: int) -> list[Any]:
        taken: list[Any] = []
        deadline = time.monotonic() + 10
        while len(taken) < count:
            assert time.monotonic() < deadline, f"{count} wanted, got {taken}"
            taken += pull(0.02) or []
        return taken


def told(spans: Sequence[_core.Span]) -> list[Received]:
    return decoded(SpanConverter({}).request(spans))


def error_of(span: Received) -> str:
    return str(span.span.status.message or span.attributes.get("serving.message", ""))


@pytest.fixture
def world() -> Iterator[World]:
    with closing(World()) as made:
        yield made


class Http:
    protocol = "http"
    told: Mapping[str, object] = {
        "http.request.method": "POST",
        "http.response.status_code": 200,
    }

    def ask(
        self, world: World, words: Sequence[str] = ("a",), model: str = "echo", **headers: str
    ) -> Answer:
        host, port = world.server.http_address
        x = {"name": "x", "datatype": "BYTES", "shape": [len(words)], "data": list(words)}
        body = json.dumps({"id": "own", "inputs": [x]}).encode()
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        url = f"http://{host}:{port}/v2/models/{model}/infer"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, sent), timeout=10) as got:
                data = json.load(got)["outputs"][0]["data"]
                return Answer(True, str(got.status), _lower(got.headers.items()), data)
        except urllib.error.HTTPError as error:
            with error:
                return Answer(False, str(error.code), _lower(error.headers.items()))


class Grpc:
    protocol = "grpc"
    told: Mapping[str, object] = {
        "rpc.system": "grpc",
        "rpc.service": "inference.GRPCInferenceService",
        "rpc.method": "ModelInfer",
        "rpc.grpc.status_code": 0,
    }

    def ask(
        self, world: World, words: Sequence[str] = ("a",), model: str = "echo", **headers: str
    ) -> Answer:
        host, port = world.server.grpc_address
        sent = [(key.replace("_", "-"), value) for key, value in headers.items()]
        with grpc.insecure_channel(f"{host}:{port}") as channel:
            call = channel.unary_unary(SERVICE + "ModelInfer")
            try:
                body, done = call.with_call(grpc_message(words, model), 10, sent)
            except grpc.RpcError as error:
                head = [*error.initial_metadata(), *error.trailing_metadata()]
                return Answer(False, error.code().name, _lower(head))
        response = messages.ModelInferResponse.FromString(body)
        data = [word.decode() for word in elements(response.raw_output_contents[0])]
        return Answer(True, "OK", _lower(done.initial_metadata()), data)


def grpc_message(words: Sequence[str], model: str = "echo") -> bytes:
    request = messages.ModelInferRequest(model_name=model, id="own")
    request.inputs.add(name="x", datatype="BYTES", shape=[len(words)])
    request.raw_input_contents.append(prefixed(words))
    return bytes(request.SerializeToString())


def prefixed(words: Sequence[str]) -> bytes:
    return b"".join(struct.pack("<I", len(w.encode())) + w.encode() for w in words)


def elements(data: bytes) -> Iterator[bytes]:
    while data:
        (length,) = struct.unpack_from("<I", data)
        yield data[4 : 4 + length]
        data = data[4 + length :]


def _lower(headers: Any) -> dict[str, str]:
    return {key.lower(): value for key, value in headers}


@pytest.fixture(params=[Http(), Grpc()], ids=lambda door: door.protocol)
def door(request: pytest.FixtureRequest) -> Http | Grpc:
    made: Http | Grpc = request.param
    return made


def test_nothing_is_noted_until_the_server_observes(world: World, door: Http | Grpc) -> None:
    world.queue.sample(1.0)
    answer = door.ask(world, traceparent=SAMPLED)
    assert answer.ok
    assert "traceparent" not in answer.headers
    assert "x-request-id" not in answer.headers
    assert world.server.spans(0) == []
    assert world.server.samples(0) == []
    assert world.server.events(0) == []
    lost = ("spans_dropped", "samples_dropped", "samples_too_large")
    assert [world.counters()[name] for name in lost] == [0, 0, 0]


def test_a_traced_request_hangs_under_its_callers_span(world: World, door: Http | Grpc) -> None:
    world.server.observe(**{**OFF, "trace_parents": True})
    before = time.time_ns()
    answer = door.ask(world, ["a", "b"], traceparent=SAMPLED, x_request_id="r-1")
    assert answer.words == ["a", "b"]
    spans = world.spans()
    request, queue, batch, run = (spans[name] for name in ("request", "queue", "batch", "run"))
    assert (request.trace_id, request.parent_id, request.span.kind) == (TRACE, SPAN, SERVER)
    assert answer.headers["traceparent"] == f"00-{TRACE}-{request.span_id}-01"
    assert (queue.trace_id, queue.parent_id) == (TRACE, request.span_id)
    assert batch.trace_id != TRACE
    assert (batch.parent_id, batch.links) == ("", [(TRACE, request.span_id)])
    assert (run.trace_id, run.parent_id) == (batch.trace_id, batch.span_id)
    assert request.links == [(batch.trace_id, batch.span_id)]
    assert queue.links == run.links == []
    assert {one.span.kind for one in (queue, batch, run)} == {INTERNAL}
    assert batch.attributes == {
        "serving.model": "echo",
        "serving.version": 3,
        "serving.rows": 2,
        "serving.requests": 1,
    }
    assert request.attributes == {
        "serving.model": "echo",
        "serving.version": 3,
        "serving.route": "default",
        "serving.rows": 2,
        "serving.status": "ok",
        "serving.request_id": "r-1",
        **door.told,
    }
    assert queue.within(request)
    assert run.within(batch)
    assert before - 10**9 < request.span.start_time_unix_nano
    assert request.span.end_time_unix_nano < time.time_ns() + 10**9
    assert {error_of(span) for span in spans.values()} == {""}


def test_a_span_leaves_out_what_says_nothing(world: World) -> None:
    world.server.observe(**ALL)
    assert not Grpc().ask(world, model="").ok
    attributes = world.spans("request")["request"].attributes
    assert attributes["serving.status"] != "ok"
    assert not {"serving.model", "serving.version", "serving.rows"} & set(attributes)


def test_the_caller_is_told_the_span_also_where_nothing_is_kept(
    world: World, door: Http | Grpc
) -> None:
    world.server.observe(**{**OFF, "trace_rate": 1e-15})
    header = door.ask(world, traceparent=SAMPLED).headers["traceparent"]
    assert header[:36] == f"00-{TRACE}-"
    assert header[36:52] != SPAN
    assert header[52:] == "-00"
    assert "traceparent" not in door.ask(world).headers
    assert world.server.spans(0) == []


@pytest.mark.parametrize(
    "header", ["", "nonsense", SAMPLED.upper(), SAMPLED + "-00", f"00-{'0' * 32}-{SPAN}-01"]
)
def test_a_malformed_traceparent_is_as_none(world: World, door: Http | Grpc, header: str) -> None:
    world.server.observe(**{**OFF, "trace_parents": True})
    answer = door.ask(world, traceparent=header)
    assert answer.ok
    assert "traceparent" not in answer.headers
    world.server.observe(**ALL)
    assert door.ask(world, traceparent=header).headers["traceparent"][3:35] != TRACE
    assert world.spans()["request"].parent_id == ""


def test_an_unsampled_caller_has_the_servers_own_rate(world: World, door: Http | Grpc) -> None:
    world.server.observe(**{**OFF, "trace_parents": True})
    assert door.ask(world, traceparent=UNSAMPLED).headers["traceparent"].endswith("-00")
    assert world.server.spans(0) == []
    world.server.observe(**ALL)
    assert door.ask(world, traceparent=UNSAMPLED).headers["traceparent"].endswith("-01")
    assert world.spans()["request"].parent_id == SPAN


def test_each_message_of_a_stream_is_a_request(world: World) -> None:
    world.server.observe(**ALL)
    host, port = world.server.grpc_address
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        call = channel.stream_stream(SERVICE + "ModelStreamInfer")
        sent = iter([grpc_message(["a"]), grpc_message(["b"], "absent")])
        assert len(list(call(sent, 10, [("traceparent", SAMPLED)]))) == 2
    spans = told(world.take(world.server.spans, 5))
    requests = [span for span in spans if span.name == "request"]
    assert [(r.trace_id, r.parent_id) for r in requests] == [(TRACE, SPAN)] * 2
    assert sorted(r.attributes["serving.status"] for r in requests) == ["not_found", "ok"]
    methods = [record["method"] for record in world.records("request", 2)]
    assert methods == ["ModelStreamInfer"] * 2


def test_a_sample_has_the_tensors_as_they_came_and_went(world: World, door: Http | Grpc) -> None:
    world.server.observe(**OFF)
    world.queue.sample(1.0)
    words = ["", "één", "日本"]
    before = time.time()
    door.ask(world, words, x_request_id="r-1")
    (sample,) = world.samples()
    assert sample.inputs == [("x", "BYTES", (3,), prefixed(words))]
    assert sample.outputs == [("y", "BYTES", (3,), prefixed(words))]
    assert (sample.model, sample.version, sample.protocol) == ("echo", 3, door.protocol)
    assert (sample.id, sample.request_id, sample.word, sample.message) == ("own", "r-1", "", "")
    assert before - 1 < sample.at < time.time() + 1
    assert 0 <= sample.queue_s + sample.compute_s <= sample.total_s < 10
    assert sample.parameters == {}
    world.queue.sample(0.0)
    door.ask(world)
    assert world.server.samples(0) == []


def test_failed_runs_are_sampled_and_refusals_before_the_model_are_not(
    world: World, door: Http | Grpc
) -> None:
    world.server.observe(**OFF)
    world.queue.sample(1.0)
    assert not door.ask(world, ["bad"]).ok
    (sample,) = world.samples()
    assert (sample.word, sample.message) == ("bad_data", "a bad word")
    assert (len(sample.inputs), sample.outputs) == (1, [])
    assert not door.ask(world, model="absent").ok
    assert world.server.samples(0) == []


def test_samples_become_lines_that_read_back(world: World, door: Http | Grpc) -> None:
    world.server.observe(**OFF)
    world.queue.sample(1.0)
    for word in ("a", "bad", "é\n"):
        door.ask(world, [word])
    samples = world.samples(3)
    lines, count = _core.json_lines(samples, [None, ["y"], ["x"]], 1 << 16)
    assert count == 3
    read = [from_line(line) for line in lines.splitlines(keepends=True)]
    shown = [None, ("y",), ("x",)]
    made = [record_of(sample, names) for sample, names in zip(samples, shown, strict=True)]
    for found, expected in zip(read, made, strict=True):
        assert_reads_back(found, expected)


def test_each_sample_is_told_what_of_it_is_shown(world: World) -> None:
    world.server.observe(**OFF)
    world.queue.sample(1.0)
    Grpc().ask(world)
    samples = world.samples()
    assert _core.json_lines([], [], 100) == (b"", 0)
    with pytest.raises(ValueError, match="shown"):
        _core.json_lines(samples, [], 100)


def test_the_priority_and_time_out_of_a_request_are_in_its_sample(world: World) -> None:
    world.server.observe(**OFF)
    world.queue.sample(1.0)
    host, port = world.server.http_address
    x = {"name": "x", "datatype": "BYTES", "shape": [1], "data": ["a"]}
    body = {"inputs": [x], "parameters": {"priority": 2, "timeout": 9_000_000}}
    url = f"http://{host}:{port}/v2/models/echo/infer"
    urllib.request.urlopen(url, json.dumps(body).encode(), timeout=10).close()
    (sample,) = world.samples()
    assert sample.parameters == {"priority": 2, "timeout": 9_000_000}
    assert sample.id == ""
    assert len(sample.request_id) == 32


def test_what_is_too_large_or_too_much_is_counted_and_not_kept(
    world: World, door: Http | Grpc
) -> None:
    bounds = {"sample_max_bytes": 100, "sample_buffer_bytes": 2500, "span_buffer": 4}
    world.server.observe(**{**ALL, **bounds})
    world.queue.sample(1.0)
    door.ask(world, ["w" * 60])
    assert world.counters()["samples_too_large"] == 1
    for _ in range(9):
        door.ask(world, ["w" * 40])
    kept = world.take(world.server.samples, 1)
    assert len(kept) + world.counters()["samples_dropped"] == 9
    assert 1 <= len(kept) <= 3
    assert world.counters()["samples_too_large"] == 1
    spans = world.take(world.server.spans, 1)
    assert len(spans) <= 4
    # The last batch tells its spans after it has told the answer.
    world.queue.close()
    world.runner.join(10)
    spans += world.server.spans(0) or []
    assert len(spans) + world.counters()["spans_dropped"] == 4 * 10
    text = world.server.metrics().decode()
    assert f"\nserving_span_dropped_total {world.counters()['spans_dropped']}\n" in text
    assert "\nserving_sample_too_large_total 1\n" in text


def test_the_access_log_says_how_a_request_went(world: World, door: Http | Grpc) -> None:
    world.server.observe(**{**OFF, "access_rate": 1.0})
    answer = door.ask(world, ["a", "b"])
    (record,) = world.records("request")
    assert record["request_id"] == answer.headers["x-request-id"]
    assert (record["level"], record["protocol"]) == ("info", door.protocol)
    assert (record["model"], record["version"], record["rows"]) == ("echo", 3, 2)
    assert (record["status"], record["code"]) == ("ok", answer.code)
    http = door.protocol == "http"
    assert record["method"] == ("POST" if http else "ModelInfer")
    assert record.get("path") == ("/v2/models/echo/infer" if http else None)
    assert record["bytes_in"] > 10
    assert record["bytes_out"] > 10
    parts = record["queue_ms"] + record["compute_ms"]
    assert 0 < record["total_ms"] < 10_000
    assert parts <= record["total_ms"] + 0.002  # each is cut to the microsecond
    assert "trace_id" not in record


def test_the_access_log_has_what_is_not_inference_too(world: World) -> None:
    world.server.observe(**{**OFF, "access_rate": 1.0})

    def answer() -> None:
        for _ in range(2):
            call = world.server.next_call()
            assert call is not None
            assert call.request_id == "r-1"
            if call.path == "/v2/models/echo":
                call.respond(b"{}")
            else:
                call.fail("bad_request", "no")

    puller = threading.Thread(target=answer)
    puller.start()
    host, port = world.server.http_address
    for path in (
        "/v2/health/live",
        "/v2/models/absent/ready",
        "/v2/models/echo?x=1",
        "/v2/models/echo/stats",
        "/elsewhere",
    ):
        request = urllib.request.Request(f"http://{host}:{port}{path}")
        request.add_header("x-request-id", "r-1")
        with suppress(urllib.error.HTTPError):
            urllib.request.urlopen(request, timeout=10).close()
    puller.join(10)
    host, port = world.server.grpc_address
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        channel.unary_unary(SERVICE + "ServerLive")(b"", 10)
    records = world.records("request", 6)
    assert [(r["method"], r.get("path"), r["status"], r["code"]) for r in records] == [
        ("GET", "/v2/health/live", "ok", "200"),
        ("GET", "/v2/models/absent/ready", "not_found", "404"),
        ("GET", "/v2/models/echo", "ok", "200"),
        ("GET", "/v2/models/echo/stats", "bad_request", "400"),
        ("GET", "/elsewhere", "not_found", "404"),
        ("ServerLive", None, "ok", "OK"),
    ]
    assert {record["request_id"] for record in records[:5]} == {"r-1"}
    assert all(record["total_ms"] > 0 and record["bytes_out"] > 0 for record in records)
    assert not {"model", "rows", "queue_ms"} & set().union(*records)


def test_errors_are_logged_under_the_same_id_whatever_is_drawn(
    world: World, door: Http | Grpc
) -> None:
    for rules in (OFF, ALL):
        world.server.observe(**rules)
        answer = door.ask(world, ["bad"])
        (failed,) = (found := world.take(world.server.events, 1))[-1:]
        assert failed["event"] == "request_failed"
        assert failed["request_id"] == answer.headers["x-request-id"]
        assert {record["request_id"] for record in found} == {failed["request_id"]}
    assert found[0]["status"] == "bad_data"
    assert "original" not in json.dumps(found[0])


@contextmanager
def observed(world: World, rules: dict[str, Any] | None) -> Iterator[None]:
    if rules is not None:
        world.server.observe(**rules)
        world.queue.sample(1.0)
    yield


def test_fault_98_answers_are_the_same_with_all_observers_on(door: Http | Grpc) -> None:
    def statuses(rules: dict[str, Any] | None) -> list[tuple[str, list[str]]]:
        with closing(World()) as world, observed(world, rules):
            answers = [
                door.ask(world, ["a", "b"]),
                door.ask(world, ["bad"]),
                door.ask(world, ["a"] * 20),
                door.ask(world, ["a"] * 101),
                door.ask(world, model="absent"),
                door.ask(world, traceparent="nonsense"),
            ]
            world.queue.close()
            answers.append(door.ask(world))
            return [(answer.code, answer.words) for answer in answers]

    expected = statuses(None)
    assert len({code for code, _ in expected}) == 4
    assert statuses(ALL) == expected
    # Rings too small for anything: all is dropped, nothing else happens.
    nothing_fits = {"span_buffer": 1, "sample_buffer_bytes": 1}
    assert statuses({**ALL, **nothing_fits}) == expected


def test_fault_98_an_abandoned_request_is_told_as_cancelled(world: World) -> None:
    world.server.observe(**ALL)
    held = _core.Queue(
        model="held",
        version=1,
        inputs=[_core.TensorSpec("x", "BYTES", [-1])],
        outputs=[_core.TensorSpec("y", "BYTES", [-1])],
    )
    held.sample(1.0)
    world.server.publish([_core.Route("held", {1: held}, 1)])
    host, port = world.server.grpc_address
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        call = channel.unary_unary(SERVICE + "ModelInfer").future(grpc_message(["a"], "held"), 30)
        deadline = time.monotonic() + 10
        while held.depth()["requests"] == 0:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        call.cancel()
        spans = world.spans("request queue")
    assert spans["request"].attributes["serving.status"] == "cancelled"
    assert error_of(spans["queue"])
    (sample,) = world.samples()
    assert (sample.word, sample.outputs) == ("cancelled", [])
    (record,) = world.records("request")
    assert (record["status"], record["code"]) == ("cancelled", "CANCELLED")
    assert held.depth()["requests"] == 0


def test_who_waits_for_spans_or_samples_is_let_go_by_the_end(world: World) -> None:
    world.server.observe(**ALL)
    ended: list[object] = []
    pulls = [world.server.spans, world.server.samples]
    threads = [threading.Thread(target=lambda p=pull: ended.append(p(600))) for pull in pulls]
    for thread in threads:
        thread.start()
    world.server.stop()
    for thread in threads:
        thread.join(10)
    assert ended == [None, None]


def test_a_share_is_drawn(world: World, door: Http | Grpc) -> None:
    world.server.observe(**{**OFF, "access_rate": 0.5})
    for _ in range(60):
        door.ask(world)
    assert 5 < len(world.records("request")) < 55  # 10 standard deviations off is a bug


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_rate_is_from_0_to_1(world: World, rate: float) -> None:
    for name in ("trace_rate", "access_rate"):
        with pytest.raises(ValueError, match=f"{name} is no rate from 0 to 1"):
            world.server.observe(**{**OFF, name: rate})
    with pytest.raises(ValueError, match="rate is no rate from 0 to 1"):
        world.queue.sample(rate)
