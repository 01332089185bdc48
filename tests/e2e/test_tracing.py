"""Traces through a real gateway to a real collector: what is told, of whom, and what a
collector that is not well costs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import requests

from tests.clients import oip
from tests.clients.collector import GrpcCollector, HttpCollector, Received
from tests.clients.gateway import Gateway, free_ports, wait_until
from tests.clients.mlflow_environment import MlflowServer
from tests.clients.triton import channel, stub
from tests.small_models import UNBATCHED, slow, tiny, write

# A gateway for each way to send.
pytestmark = pytest.mark.slow

ROW = np.zeros((1, 4), np.float32)
TINY = {"inputs": [oip.json_input("x", ROW)]}
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{CALLER}-01"
HEADER = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-(0[01])")

StartGateway = Callable[..., Gateway]


@pytest.fixture
def collectors() -> Iterator[Callable[..., Any]]:
    made: list[Any] = []

    def make(kind: Any = HttpCollector) -> Any:
        made.append(kind())
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def models(repository: Any) -> Any:
    write(repository, "tiny", tiny())
    write(repository, "slow", slow(0.3), config=UNBATCHED)
    return repository


def traced(collector: Any, **settings: str) -> dict[str, str]:
    protocol = "grpc" if isinstance(collector, GrpcCollector) else "http"
    return {
        "tracing.endpoint": collector.endpoint,
        "tracing.protocol": protocol,
        **{key.replace("__", "."): value for key, value in settings.items()},
    }


def ask_http(gateway: Gateway, traceparent: str = "", model: str = "tiny") -> dict[str, str]:
    headers = {"traceparent": traceparent} if traceparent else {}
    answer = gateway.get(
        f"/v2/models/{model}/infer", oip_body(), "POST", {**headers, "x-request-id": "r-http"}
    )
    return answer.headers


def oip_body() -> bytes:
    import json

    return json.dumps(TINY).encode()


def ask_grpc(gateway: Gateway, traceparent: str = "") -> dict[str, str]:
    """The answer's initial metadata."""
    metadata = [("x-request-id", "r-grpc")]
    metadata += [("traceparent", traceparent)] if traceparent else []
    with channel(gateway) as one:
        call = stub(one).ModelInfer.with_call(
            oip.grpc_request("tiny", {"x": ROW}), metadata=metadata, timeout=20
        )[1]
        return dict(call.initial_metadata())


ASK = {"http": ask_http, "grpc": ask_grpc}


def only(spans: list[Received], name: str, **attributes: Any) -> Received:
    wanted = {f"serving.{key}": value for key, value in attributes.items()}
    (found,) = [
        one for one in spans if one.name == name and wanted.items() <= one.attributes.items()
    ]
    return found


# The whole path


@pytest.mark.parametrize("kind", [HttpCollector, GrpcCollector])
@pytest.mark.parametrize("door", ["http", "grpc"])
def test_a_request_is_told_from_its_caller_to_the_run(
    start_gateway: StartGateway, models: Any, collectors: Any, kind: Any, door: str
) -> None:
    collector = collectors(kind)
    gateway = start_gateway(models, traced(collector, name="gateway-7"))
    before = time.time_ns()
    headers = ASK[door](gateway, SAMPLED)
    spans = collector.wait_for("request", "queue", "batch", "run")
    request = only(spans, "request", request_id=f"r-{door}")
    queue, batch, run = (only(spans, name) for name in ("queue", "batch", "run"))

    # Ids: the caller's trace, under the caller's span; the answer names ours.
    assert (request.trace_id, request.parent_id) == (TRACE, CALLER)
    assert headers["traceparent"] == f"00-{TRACE}-{request.span_id}-01"
    assert (queue.trace_id, queue.parent_id) == (TRACE, request.span_id)
    assert (batch.parent_id, batch.links) == ("", [(TRACE, request.span_id)])
    assert batch.trace_id != TRACE
    assert (run.trace_id, run.parent_id) == (batch.trace_id, batch.span_id)
    assert request.links == [(batch.trace_id, batch.span_id)]

    # Times: each within what it is a part of, and all between question and answer.
    assert queue.within(request)
    assert run.within(batch)
    assert queue.span.end_time_unix_nano <= run.span.start_time_unix_nano + 5_000_000
    assert before <= request.span.start_time_unix_nano + 5_000_000
    assert request.span.end_time_unix_nano <= time.time_ns()

    # Facts.
    assert request.span.kind == 2
    assert request.attributes["serving.model"] == "tiny"
    assert (request.attributes["serving.version"], request.attributes["serving.rows"]) == (1, 1)
    assert (batch.attributes["serving.rows"], batch.attributes["serving.requests"]) == (1, 1)
    port = gateway.http_port if door == "http" else gateway.grpc_port
    assert request.attributes["server.port"] == port
    if door == "http":
        assert request.attributes["http.response.status_code"] == 200
        assert request.attributes["http.request.method"] == "POST"
    else:
        assert request.attributes["rpc.grpc.status_code"] == 0
        assert request.attributes["rpc.method"] == "ModelInfer"
    assert request.resource["service.name"] == "gateway-7"
    assert request.resource["process.pid"] == gateway.process.pid
    wait_until(
        lambda: gateway.metric("serving_span_exported_total") == 4, 10, "the spans are counted"
    )


def test_the_batch_of_several_requests_links_to_each(
    start_gateway: StartGateway, models: Any, collectors: Any
) -> None:
    collector = collectors()
    gateway = start_gateway(models, traced(collector, tracing__rate="1"))
    with channel(gateway) as one:
        request = oip.grpc_request("tiny", {"x": ROW})
        for future in [stub(one).ModelInfer.future(request, timeout=20) for _ in range(200)]:
            future.result()
    spans = collector.wait(
        lambda spans: (
            sum(s.attributes.get("serving.requests", 0) for s in spans) == 200
            and len([s for s in spans if s.name == "request"]) == 200
        ),
        "200 requests and all their batches are told",
    )
    asked = {(s.trace_id, s.span_id): s for s in spans if s.name == "request"}
    batches = {(s.trace_id, s.span_id): s for s in spans if s.name == "batch"}
    assert len(batches) < 200, "nothing was batched"
    linked = [link for batch in batches.values() for link in batch.links]
    assert sorted(linked) == sorted(asked)
    for batch in batches.values():
        assert len(batch.links) == batch.attributes["serving.requests"]
        for link in batch.links:
            assert asked[link].links == [(batch.trace_id, batch.span_id)]
    assert len({trace for trace, _ in asked}) == 200
    assert {s.parent_id for s in asked.values()} == {""}


def test_a_failed_request_says_why(
    start_gateway: StartGateway, models: Any, collectors: Any
) -> None:
    collector = collectors()
    gateway = start_gateway(models, traced(collector))
    headers = ask_http(gateway, SAMPLED, model="nowhere")
    request = only(collector.wait_for("request"), "request")
    assert headers["traceparent"] == f"00-{TRACE}-{request.span_id}-01"
    assert request.attributes["http.response.status_code"] == 404
    assert request.attributes["error.type"] == "not_found"
    assert "unknown model" in request.attributes["serving.message"]
    assert request.span.status.code == 0, "a mistake of the caller's is no error of the server"


# Who is traced


def test_only_the_callers_wish_starts_a_trace_at_rate_zero(
    start_gateway: StartGateway, models: Any, collectors: Any
) -> None:
    collector = collectors()
    gateway = start_gateway(models, traced(collector))
    unsampled = SAMPLED[:-2] + "00"
    for ask in ASK.values():
        assert "traceparent" not in ask(gateway)
        trace, span, flags = HEADER.fullmatch(ask(gateway, unsampled)["traceparent"]).groups()
        assert (trace, flags) == (TRACE, "00")
        assert span != CALLER
        assert HEADER.fullmatch(ask(gateway, SAMPLED)["traceparent"]).group(3) == "01"
    spans = collector.wait(
        lambda s: len([one for one in s if one.name == "request"]) == 2, "two requests are told"
    )
    assert {one.parent_id for one in spans if one.name == "request"} == {CALLER}


BROKEN = {
    "upper case": SAMPLED.upper(),
    "short": SAMPLED[:-1],
    "long": SAMPLED + "-00",
    "no trace": f"00-{'0' * 32}-{CALLER}-01",
    "no span": f"00-{TRACE}-{'0' * 16}-01",
    "version ff": "ff" + SAMPLED[2:],
    "no hex": SAMPLED.replace("a", "g"),
    "dashes": SAMPLED.replace("-", "_"),
    "empty": "-",
}


def test_a_malformed_traceparent_is_ignored(
    start_gateway: StartGateway, models: Any, collectors: Any
) -> None:
    collector = collectors()
    gateway = start_gateway(models, traced(collector))
    for words, value in BROKEN.items():
        for ask in ASK.values():
            assert "traceparent" not in ask(gateway, value), words
    ask_http(gateway, SAMPLED)
    spans = collector.wait_for("request", "queue", "batch", "run")
    assert len(spans) == 4, "only the good one is told"


def test_a_traceparent_of_a_version_to_come_is_understood(
    start_gateway: StartGateway, models: Any, collectors: Any
) -> None:
    collector = collectors()
    gateway = start_gateway(models, traced(collector))
    headers = ask_http(gateway, f"01-{TRACE}-{CALLER}-01-more")
    assert headers["traceparent"].startswith(f"00-{TRACE}-")
    assert only(collector.wait_for("request"), "request").parent_id == CALLER


def test_the_rate_is_the_share_of_requests_that_are_traced(
    start_gateway: StartGateway, models: Any, collectors: Any
) -> None:
    collector = collectors()
    gateway = start_gateway(models, traced(collector, tracing__rate="0.2"))
    with channel(gateway) as one:
        request = oip.grpc_request("tiny", {"x": ROW})
        futures = [stub(one).ModelInfer.future(request, timeout=30) for _ in range(1000)]
        told = sum("traceparent" in dict(f.initial_metadata()) for f in futures)
    # 1000 draws at 0.2: five standard deviations are 63.
    assert 137 <= told <= 263
    collector.wait(
        lambda s: len([one for one in s if one.name == "request"]) == told,
        "every request that was told of is exported",
    )


def test_without_an_endpoint_nothing_is_traced_nor_imported(
    start_gateway: StartGateway, models: Any
) -> None:
    gateway = start_gateway(models, {"tracing.rate": "1"})
    for ask in ASK.values():
        assert "traceparent" not in ask(gateway, SAMPLED)
    assert "serving_span_export" not in gateway.metrics_text()
    assert "traces_go_nowhere" in gateway.log()


# Collectors that are not well


FATES = (
    "serving_span_exported_total",
    "serving_span_export_dropped_total",
    "serving_span_dropped_total",
)


def test_what_does_not_fit_the_buffer_is_dropped_and_counted(
    start_gateway: StartGateway, models: Any, collectors: Any
) -> None:
    collector = collectors()
    collector.behaviour = "hang"
    settings = traced(collector, tracing__rate="1", tracing__buffer_spans="100")
    gateway = start_gateway(models, settings)
    ask_http(gateway)
    assert collector.asked.wait(20)
    for _ in range(99):
        ask_http(gateway)
    wait_until(
        lambda: gateway.metric("serving_span_dropped_total") >= 200, 20, "the buffer is full"
    )
    collector.behaviour = "take"
    collector.closing.set()
    wait_until(
        lambda: sum(gateway.metric(name) for name in FATES) == 400,
        20,
        "every span was taken or counted",
    )
    assert gateway.metric("serving_span_exported_total") >= 100, "the newest come after all"


@pytest.mark.parametrize("kind", [HttpCollector, GrpcCollector])
@pytest.mark.parametrize("behaviour", ["absent", "hang", "trickle", "garbage", 400, 503])
def test_fault_100_a_sick_collector_is_never_felt_by_a_request(
    start_gateway: StartGateway, models: Any, collectors: Any, kind: Any, behaviour: Any
) -> None:
    if kind is GrpcCollector:
        behaviour = {"trickle": 13, "garbage": "nonsense", 400: 3, 503: 14}.get(
            behaviour, behaviour
        )
    collector = collectors(kind)
    settings = traced(collector, tracing__rate="1")
    if behaviour == "absent":
        settings["tracing.endpoint"] = f"http://127.0.0.1:{free_ports(1)[0]}"
    else:
        collector.behaviour = behaviour
    gateway = start_gateway(models, settings)
    body = oip_body()

    def ask(_: int) -> tuple[int, float]:
        started = time.monotonic()
        status = gateway.get("/v2/models/tiny/infer", body, "POST").status
        return status, time.monotonic() - started

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(200)))
    assert {status for status, _ in answers} == {200}
    # A collector's time-out is two seconds; requests know nothing of it.
    assert max(seconds for _, seconds in answers) < 2
    wait_until(lambda: "traces_not_sent" in gateway.log(), 20, "the outage is told")
    started = time.monotonic()
    assert gateway.stop() == 0
    assert time.monotonic() - started < 15, "the end waits for no collector"
    gateway.assert_clean_log()


def test_traces_go_on_when_the_collector_comes_back(
    start_gateway: StartGateway, models: Any, collectors: Any
) -> None:
    collector = collectors()
    collector.behaviour = 503
    gateway = start_gateway(models, traced(collector))
    ask_http(gateway, SAMPLED)
    assert collector.asked.wait(20)
    assert not collector.spans
    collector.behaviour = "take"
    only(collector.wait_for("request", "run"), "request", request_id="r-http")
    wait_until(lambda: "traces_sent_again" in gateway.log(), 20, "the end of the outage is told")
    assert gateway.metric("serving_span_export_dropped_total") == 0


def test_what_was_traced_before_the_end_is_sent_before_the_end(
    start_gateway: StartGateway, models: Any, collectors: Any
) -> None:
    collector = collectors()
    gateway = start_gateway(models, traced(collector))
    ask_http(gateway, SAMPLED)
    gateway.finish()
    assert {one.name for one in collector.spans} == {"request", "queue", "batch", "run"}


def test_an_endpoint_that_can_not_be_meant_ends_the_start(
    start_gateway: StartGateway, models: Any
) -> None:
    gateway = start_gateway(models, {"tracing.endpoint": "collector:4318"}, wait=False)
    assert gateway.process.wait(60) == 1
    assert "tracing.endpoint: expected http://" in gateway.log()


# MLflow


@pytest.mark.mlflow
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_mlflows_tracking_server_takes_traces(
    start_gateway: StartGateway, models: Any, tmp_path: Any
) -> None:
    server = MlflowServer(tmp_path / "mlflow").start()
    try:
        settings = {
            "tracing.endpoint": "mlflow",
            "tracking.mlflow.uri": server.uri,
            "tracking.mlflow.experiment": "production traces",
            "tracking.mlflow.timeout_s": "20",
        }
        gateway = start_gateway(models, settings)
        callers = [f"{number}" * 32 for number in (1, 2)]
        for ask, trace in zip(ASK.values(), callers, strict=True):
            ask(gateway, SAMPLED.replace(TRACE, trace))
        wait_until(
            lambda: gateway.metric("serving_span_exported_total") == 8, 60, "the spans are taken"
        )
        number = server.get("experiments/get-by-name", experiment_name="production traces")
        asked = {
            "locations": [
                {
                    "type": "MLFLOW_EXPERIMENT",
                    "mlflow_experiment": {"experiment_id": number["experiment"]["experiment_id"]},
                }
            ],
            "max_results": 100,
        }
        answer = requests.post(f"{server.uri}/api/3.0/mlflow/traces/search", json=asked, timeout=30)
        assert answer.status_code == 200, answer.text
        found = answer.json()["traces"]
        # Two requests in their callers' traces, and a batch of each.
        ids = {one["trace_id"] for one in found}
        assert len(ids) == 4
        assert {f"tr-{trace}" for trace in callers} < ids
    finally:
        server.kill()
