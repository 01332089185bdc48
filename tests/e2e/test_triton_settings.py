"""Triton's trace and log settings through a real gateway, by Triton's own client: what they change
is seen where traces and log lines arrive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from tests.clients import oip
from tests.clients.collector import HttpCollector
from tests.clients.gateway import Gateway, wait_until
from tests.clients.triton import channel, stub
from tests.small_models import tiny, write

# Gateways of their own.
pytestmark = pytest.mark.slow

ROW = np.zeros((1, 4), np.float32)
DOORS = {"grpc": tritonclient.grpc, "http": tritonclient.http}
SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TOKEN = "a-token-of-this-test"

StartGateway = Callable[..., Gateway]


@pytest.fixture
def collector() -> Iterator[HttpCollector]:
    made = HttpCollector()
    yield made
    made.close()


@pytest.fixture
def models(repository: Path) -> Path:
    for name in ("tiny", "other"):
        write(repository, name, tiny())
    return repository


@pytest.fixture
def traced(start_gateway: StartGateway, models: Path, collector: HttpCollector) -> Gateway:
    """Nothing is drawn at first."""
    return start_gateway(models, {"tracing.endpoint": collector.endpoint})


def client(gateway: Gateway, door: str) -> Any:
    url = gateway.grpc if door == "grpc" else gateway.http
    return DOORS[door].InferenceServerClient(url)


def change(gateway: Gateway, door: str, model: str | None, **settings: Any) -> dict[str, Any]:
    """Say it, and what is told then, as gRPC has it."""
    with client(gateway, door) as one:
        one.update_trace_settings(model_name=model, settings=settings)
        return told(gateway, door, model)


def told(gateway: Gateway, door: str, model: str | None = None) -> dict[str, Any]:
    with client(gateway, door) as one:
        if door == "grpc":
            found = one.get_trace_settings(model_name=model, as_json=True)["settings"]
            return {key: value["value"] for key, value in found.items()}
        found = one.get_trace_settings(model_name=model)
        return {key: v if isinstance(v, list) else [v] for key, v in found.items()}


def ask(gateway: Gateway, door: str, model: str, traceparent: str = "") -> bool:
    """Whether the answer says that it is traced."""
    head = {"traceparent": traceparent} if traceparent else {}
    if door == "http":
        body = {"inputs": [oip.json_input("x", ROW)]}
        headers = gateway.post(f"/v2/models/{model}/infer", body, **head).headers
    else:
        with channel(gateway) as one:
            request = oip.grpc_request(model, {"x": ROW})
            call = stub(one).ModelInfer.with_call(request, metadata=[*head.items()], timeout=20)[1]
            headers = dict(call.initial_metadata())
    return headers.get("traceparent", "-00").endswith("-01")


def traces(gateway: Gateway, model: str, requests: int = 4) -> dict[str, int]:
    """Of so many requests for each door."""
    return {door: sum(ask(gateway, door, model) for _ in range(requests)) for door in DOORS}


@pytest.mark.parametrize("door", DOORS)
def test_what_is_traced_follows_what_is_said(
    traced: Gateway, collector: HttpCollector, door: str
) -> None:
    start = told(traced, door)
    assert start == {
        "trace_level": ["TIMESTAMPS"],
        "trace_rate": ["0"],
        "trace_count": ["-1"],
        "trace_mode": ["opentelemetry"],
    }
    assert traces(traced, "tiny") == {"grpc": 0, "http": 0}
    # All of one model's requests, and none of the other's.
    assert change(traced, door, "tiny", trace_rate="1")["trace_rate"] == ["1"]
    assert told(traced, door) == start
    assert traces(traced, "tiny") == {"grpc": 4, "http": 4}
    assert traces(traced, "other") == {"grpc": 0, "http": 0}
    # All of the others', and of the one only what is left to be counted.
    change(traced, door, None, trace_rate="1")
    change(traced, door, "tiny", trace_count="5")
    assert traces(traced, "other") == {"grpc": 4, "http": 4}
    assert sum(traces(traced, "tiny").values()) == 5
    assert told(traced, door, "tiny")["trace_count"] == ["0"]
    # What callers trace is traced all the same, unless it is off.
    assert ask(traced, "grpc", "tiny", SAMPLED)
    assert ask(traced, "http", "tiny", SAMPLED)
    change(traced, door, "tiny", trace_level=["OFF"])
    assert not ask(traced, "grpc", "tiny", SAMPLED)
    assert not ask(traced, "http", "tiny", SAMPLED)
    # Nothing of its own any more.
    change(traced, door, "tiny", trace_level=None, trace_rate=None, trace_count=None)
    assert told(traced, door, "tiny") == told(traced, door)
    assert traces(traced, "tiny") == {"grpc": 4, "http": 4}
    wait_until(
        lambda: models_of(collector) == {"tiny": 8 + 5 + 2 + 8, "other": 8}, 20, "they are sent"
    )


def models_of(collector: HttpCollector) -> Counter[str]:
    """Of the requests that are traced."""
    return Counter(span.attributes["serving.model"] for span in collector.named("request"))


def test_requests_that_name_no_model_follow_what_holds_for_all(traced: Gateway) -> None:
    change(traced, "http", None, trace_rate="1")
    change(traced, "http", "tiny", trace_level=["OFF"])
    answer = traced.post("/v2/models/nowhere/infer", {"inputs": [oip.json_input("x", ROW)]})
    assert answer.status == 404
    assert answer.headers["traceparent"].endswith("-01")


def test_a_stream_follows_each_messages_model(traced: Gateway, collector: HttpCollector) -> None:
    change(traced, "grpc", "tiny", trace_rate="1")
    with channel(traced) as one:
        requests = [oip.grpc_request(name, {"x": ROW}) for name in ("tiny", "other", "tiny")]
        answers = list(stub(one).ModelStreamInfer(iter(requests), timeout=20))
    assert [one.error_message for one in answers] == [""] * 3
    wait_until(lambda: models_of(collector) == {"tiny": 2}, 20, "they are sent")


@pytest.mark.parametrize("door", DOORS)
def test_faults_63_64_settings_need_the_token_to_be_changed(
    start_gateway: StartGateway, models: Path, collector: HttpCollector, tmp_path: Path, door: str
) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    settings = {"tracing.endpoint": collector.endpoint, "admin_token_file": str(file)}
    gateway = start_gateway(models, settings)
    with client(gateway, door) as one:
        for update in (
            lambda **more: one.update_trace_settings(settings={"trace_rate": "1"}, **more),
            lambda **more: one.update_log_settings({"log_verbose_level": 1}, **more),
        ):
            with pytest.raises(InferenceServerException, match="token"):
                update()
            update(headers={"authorization": f"Bearer {TOKEN}"})
        assert told(gateway, door)["trace_rate"] == ["1"]
        assert one.get_log_settings() is not None
    assert TOKEN not in gateway.log()


@pytest.mark.parametrize("door", DOORS)
def test_what_is_logged_follows_what_is_said(
    start_gateway: StartGateway, models: Path, door: str
) -> None:
    gateway = start_gateway(models)

    def say(**settings: Any) -> None:
        with client(gateway, door) as one:
            one.update_log_settings(settings)

    def levels() -> list[str]:
        return [one["level"] for one in gateway.events("request_failed")]

    def fail() -> None:
        """A client's mistake, which the log has as information, and a refusal that only says
        something to who looks closely."""
        assert gateway.infer("tiny", {"inputs": []}).status == 400
        late = {"inputs": [oip.json_input("x", ROW)], "parameters": {"timeout": 1}}
        assert gateway.infer("tiny", late).status == 504

    fail()
    wait_until(lambda: levels() == ["info"], 10, "mistakes are logged")
    say(log_info=False, log_verbose_level=1)
    fail()
    # In the order in which they happened, so that the other one would stand before it.
    wait_until(lambda: levels() == ["info", "debug"], 10, "refusals are logged instead")
    say(log_info=True, log_verbose_level=0)
    fail()
    wait_until(lambda: levels() == ["info", "debug", "info"], 10, "all is as it was")
    told = [(one["info"], one["verbose"]) for one in gateway.events("log_settings")]
    assert told == [(False, 1)]


def test_what_is_offered_is_listed(start_gateway: StartGateway, models: Path) -> None:
    gateway = start_gateway(models)
    extensions = gateway.get("/v2").json()["extensions"]
    assert "logging" in extensions
    # Traces could go nowhere.
    assert "trace" not in extensions
