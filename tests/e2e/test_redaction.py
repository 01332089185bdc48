"""Values of inputs that the request log redacts reach nothing that the gateway writes down: the
client alone, who sent them, reads them in its error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests import small_models
from tests.clients import oip
from tests.clients.collector import HttpCollector
from tests.clients.gateway import Gateway, HttpAnswer, wait_until
from tests.e2e.test_schema_enforcement import lay, refused

# In every value that is redacted here, and in nothing else.
SECRET = "73519"
VALUE = np.array([[0, float(SECRET), 0, 0]], np.float32)
OPEN = np.array([[0, 6.25, 0, 0]], np.float32)
SCHEMA = 'feature { name: "x[1]" type: FLOAT float_domain { max: 5 } }\n'
SHY = "request_log: {redact: [x, X, I]}\n"
REJECT, LOG = "validation: {mode: reject}\n", "validation: {mode: log}\n"
BRIEF = "feature 'x[1]' of input 'x': too_large"


@pytest.fixture(scope="module")
def collector() -> Iterator[HttpCollector]:
    one = HttpCollector()
    yield one
    one.close()


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, collector: HttpCollector
) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("redaction")
    models = folder / "models"
    for name, config in (
        ("tiny_reject", REJECT + SHY),
        ("tiny_log", LOG + SHY),
        ("tiny_open", REJECT),
        ("tiny_later", REJECT),
    ):
        lay(models, name, small_models.tiny(), SCHEMA, config)
    lay(models, "narrow", small_models.identity("INT8"), "", SHY)
    lay(models, "gather", small_models.gather(), "", SHY)
    settings = {
        "loading.trial": "off",
        "log.level": "debug",
        "log.access_rate": "1",
        "mlflow.default_model": "narrow",
        "request_log.path": str(folder / "requests"),
        "request_log.rate": "1",
        "tracing.endpoint": collector.endpoint,
        "tracing.protocol": "http",
        "tracing.rate": "1",
    }
    one = Gateway(models, folder / "gateway", settings=settings)
    yield one.wait_ready()
    one.finish()


def told(gateway: Gateway, model: str) -> dict[str, Any]:
    """The newest error of that model in the log."""
    found: list[dict[str, Any]] = []

    def is_there() -> bool:
        found[:] = [one for one in gateway.events("request_failed") if one["model"] == model]
        return bool(found)

    wait_until(is_there, 20, "it is told")
    return found[-1]


def write_down(gateway: Gateway, collector: HttpCollector) -> str:
    """All that is written of requests until now."""
    # What is told after everything else.
    with_id = {"x-request-id": "the-last"}
    body = json.dumps({"inputs": [oip.json_input("x", np.zeros((1, 4), np.float32))]}).encode()
    gateway.get("/v2/models/tiny_open/infer", body, "POST", with_id)
    written: list[str] = []

    def is_there() -> bool:
        files = (gateway.folder.parent / "requests").iterdir()
        requests = "".join(one.read_text() for one in files)
        spans = "".join(f"{one.span} {one.attributes}" for one in collector.spans)
        written[:] = [gateway.log(), requests, spans]
        return all("the-last" in one for one in written)

    wait_until(is_there, 20, "it is written")
    for view in gateway.get("/api/v1/models", port=gateway.admin_port).json()["models"]:
        errors = f"/api/v1/models/{view['name']}/errors"
        written.append(gateway.get(errors, port=gateway.admin_port).body.decode())
    return "\n".join(written)


def test_a_refused_value_is_told_to_its_client_alone(gateway: Gateway) -> None:
    assert f"got {SECRET}" in refused(gateway, "tiny_reject", VALUE)
    assert told(gateway, "tiny_reject")["message"] == BRIEF
    assert "got 6.25" in refused(gateway, "tiny_open", OPEN)
    assert "got 6.25" in told(gateway, "tiny_open")["message"]


def test_a_value_that_is_answered_all_the_same_is_logged_without(gateway: Gateway) -> None:
    assert refused(gateway, "tiny_log", VALUE) == ""
    wait_until(lambda: bool(gateway.events("request_anomaly")), 20, "it is told")
    (one,) = gateway.events("request_anomaly")
    assert (one["model"], one["reason"]) == ("tiny_log", BRIEF)


def test_what_the_model_s_run_says_of_a_value_is_logged_without(gateway: Gateway) -> None:
    words = refused(gateway, "gather", {"I": np.array([int(SECRET)], np.int64)})
    error = told(gateway, "gather")
    assert "an index is out of range" in words
    assert words == error["message"]
    assert "detail" not in error


def narrow(gateway: Gateway) -> Iterator[tuple[str, HttpAnswer]]:
    """Requests of each protocol with a value that is none of an INT8, and how they are answered."""
    tensor = {"name": "X", "datatype": "INT8", "shape": [1, 1]}
    for data in (SECRET, f"{SECRET}.5", f'"{SECRET}"'):
        body = {"inputs": [{**tensor, "data": [json.loads(data)]}]}
        yield f"oip {data}", gateway.infer("narrow", body)
        # Whose values these are nobody knows.
        yield f"nobody's {data}", gateway.infer("nobody", body)
        yield f"tf {data}", gateway.post("/v1/models/narrow:predict", {"instances": [[data]]})
        rows = {"inputs": {"X": [[json.loads(data)]]}}
        yield f"tf columns {data}", gateway.post("/v1/models/narrow:predict", rows)
        yield (
            f"mlflow {data}",
            gateway.post("/invocations", rows, **{"content-type": "application/json"}),
        )
    csv = {"content-type": "text/csv"}
    yield "csv", gateway.get("/invocations", f"X\n{SECRET}\n".encode(), "POST", csv)


def test_a_value_that_no_protocol_can_read_is_in_nothing_that_is_written(
    gateway: Gateway, collector: HttpCollector
) -> None:
    quoted = 0
    for what, answer in narrow(gateway):
        assert answer.status in (400, 404), (what, answer)
        quoted += SECRET in answer.body.decode()
    assert quoted >= 10
    typed = refused(gateway, "narrow", {"X": np.array([[int(SECRET)]], np.int64)}, typed=True)
    assert typed
    written = write_down(gateway, collector)
    lines = [line for line in written.splitlines() if SECRET in line]
    assert not lines, lines[:5]


def test_a_name_or_a_shape_is_no_value(gateway: Gateway) -> None:
    tensor = {"name": "X", "datatype": "INT8", "shape": [1, 1, 1], "data": [0]}
    answer = gateway.infer("narrow", {"inputs": [tensor]})
    words = answer.json()["error"]
    assert "unexpected shape" in words
    wait_until(lambda: told(gateway, "narrow")["message"] == words, 20, "it is told")


def test_what_a_model_begins_to_redact_while_it_serves_is_redacted_from_then_on(
    gateway: Gateway,
) -> None:
    config = gateway.repository / "tiny_later" / "model.yaml"
    config.write_text(REJECT + SHY)

    def is_redacted() -> bool:
        refused(gateway, "tiny_later", OPEN)
        return bool(told(gateway, "tiny_later")["message"] == BRIEF)

    wait_until(is_redacted, 20, "it is redacted", every=0.3)
