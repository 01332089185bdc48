"""What the gateway says of itself and its models: the same facts through every door."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import requests
import tritonclient.grpc
import tritonclient.http
from google.protobuf import json_format
from tritonclient.grpc import service_pb2 as pb

from tests.clients.gateway import Gateway
from tests.clients.triton import channel, refusal, stub


@pytest.fixture(scope="module")
def over_http(gateway: Gateway) -> Any:
    with tritonclient.http.InferenceServerClient(gateway.http) as client:
        yield client


@pytest.fixture(scope="module")
def over_grpc(gateway: Gateway) -> Any:
    with tritonclient.grpc.InferenceServerClient(gateway.grpc) as client:
        yield client


HEALTH = [
    ("/v2/health/live", {"live": True}),
    ("/v2/health/ready", {"ready": True}),
    ("/v2/models/tiny/ready", {"name": "tiny", "ready": True}),
    ("/v2/models/versions/versions/2/ready", {"name": "versions", "ready": True}),
]


@pytest.mark.parametrize(("path", "expected"), HEALTH)
@pytest.mark.parametrize("query", ["", "?", "?verbose=1&x=%20"])
def test_health_is_exact_json_for_clients_that_parse_it(
    gateway: Gateway, path: str, expected: object, query: str
) -> None:
    answer = requests.get(f"http://{gateway.http}{path}{query}", timeout=10)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == expected


def test_kserve_like_checks_hold(gateway: Gateway) -> None:
    base = f"http://{gateway.http}"
    assert requests.get(f"{base}/v2/health/live", timeout=10).json()["live"] is True
    assert requests.get(f"{base}/v2/health/ready", timeout=10).json()["ready"] is True
    assert requests.get(f"{base}/v2/models/tiny/ready", timeout=10).ok
    error = requests.get(f"{base}/v2/models/nowhere/ready", timeout=10)
    assert error.headers["Content-Type"] == "application/json"
    assert isinstance(error.json()["error"], str)


@pytest.mark.parametrize("door", ["over_http", "over_grpc"])
def test_tritonclient_health_holds(door: str, request: pytest.FixtureRequest) -> None:
    client = request.getfixturevalue(door)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("tiny")
    assert client.is_model_ready("versions", "7")
    assert not client.is_model_ready("broken")
    assert not client.is_model_ready("nowhere")
    assert not client.is_model_ready("versions", "9")


@pytest.mark.parametrize("path", ["/v2", "/v2/", "/v2?a=b"])
def test_server_metadata_with_and_without_slash(gateway: Gateway, path: str) -> None:
    answer = gateway.get(path)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body["name"] == "serving"
    assert body["version"]
    assert {"binary_tensor_data", "statistics", "model_configuration"} <= set(body["extensions"])
    # No traces without a collector.
    unbuilt = {"sequence", "system_shared_memory", "cuda_shared_memory", "trace"}
    assert not unbuilt & set(body["extensions"])


def test_server_metadata_is_the_same_through_both_doors(over_http: Any, over_grpc: Any) -> None:
    assert over_http.get_server_metadata() == over_grpc.get_server_metadata(as_json=True)


def test_model_metadata_names_shapes_and_datatypes(over_http: Any) -> None:
    body = over_http.get_model_metadata("add_sub")
    assert body["name"] == "add_sub"
    assert body["versions"] == ["1"]
    assert body["platform"] == "onnxruntime_onnx"
    inputs = [{"name": f"INPUT{i}", "datatype": "INT32", "shape": [-1, 4]} for i in (0, 1)]
    outputs = [{"name": f"OUTPUT{i}", "datatype": "INT32", "shape": [-1, 4]} for i in (0, 1)]
    assert body["inputs"] == inputs
    assert body["outputs"] == outputs


def test_rank_zero_is_shown_as_an_empty_shape(over_http: Any) -> None:
    assert over_http.get_model_metadata("scalar")["inputs"][0]["shape"] == []


def _numbers(value: Any) -> Any:
    """JSON of a proto prints 64-bit integers as strings; compare numbers."""
    if isinstance(value, dict):
        return {key: _numbers(one) for key, one in value.items() if one not in ([], {}, "")}
    if isinstance(value, list):
        return [_numbers(one) for one in value]
    return int(value) if isinstance(value, str) and value.lstrip("-").isdigit() else value


@pytest.mark.parametrize("model", ["tiny", "add_sub", "scalar", "constant", "versions", "id_bf16"])
def test_model_metadata_is_the_same_through_both_doors(
    over_http: Any, over_grpc: Any, model: str
) -> None:
    through_grpc = over_grpc.get_model_metadata(model, as_json=True)
    through_http = over_http.get_model_metadata(model)
    # tritonclient's copy of the proto does not know the field.
    del through_http["properties"]
    assert _numbers(through_http) == _numbers(through_grpc)


def test_metadata_of_one_version_lists_that_version(over_http: Any) -> None:
    assert set(over_http.get_model_metadata("versions")["versions"]) == {"1", "2", "7"}
    assert over_http.get_model_metadata("versions", "2")["versions"] == ["2"]


def test_metadata_names_the_provider_that_runs_the_nodes(over_http: Any) -> None:
    properties = over_http.get_model_metadata("tiny").get("properties", {})
    assert "CPUExecutionProvider" in str(properties)


def test_models_are_listed(gateway: Gateway) -> None:
    answer = gateway.get("/v2/models")
    assert answer.status == 200
    assert {"tiny", "odd name", "versions"} <= set(answer.json()["models"])


def test_percent_encoded_names_are_decoded_once(gateway: Gateway) -> None:
    assert gateway.get("/v2/models/odd%20name").json()["name"] == "odd name"
    assert gateway.get("/v2/models/t%69ny/ready").status == 200
    assert gateway.get("/v2/models/t%2569ny/ready").status == 404


CONFIG_KEYS = {
    "name",
    "platform",
    "backend",
    "version_policy",
    "max_batch_size",
    "input",
    "output",
    "instance_group",
    "default_model_filename",
    "cc_model_filenames",
    "metric_tags",
    "parameters",
    "model_warmup",
    "batch_input",
    "batch_output",
    "optimization",
}


def test_config_over_http_is_snake_case_with_all_primitive_fields(over_http: Any) -> None:
    config = over_http.get_model_config("tiny")
    assert CONFIG_KEYS - {"version_policy", "optimization"} <= set(config), CONFIG_KEYS - set(
        config
    )
    assert config["name"] == "tiny"
    assert config["max_batch_size"] == 64
    assert config["dynamic_batching"]["max_queue_delay_microseconds"] == 0
    assert config["input"][0]["name"] == "x"
    assert config["input"][0]["data_type"] == "TYPE_FP32"
    assert config["input"][0]["dims"] == [4]
    assert config["input"][0]["optional"] is False
    assert config["output"][0]["dims"] == [3]
    assert "sequence_batching" not in config
    assert "ensemble_scheduling" not in config


def test_config_of_a_model_that_cannot_batch_says_zero(over_http: Any) -> None:
    config = over_http.get_model_config("cumulative")
    assert config["max_batch_size"] == 0
    assert "dynamic_batching" not in config
    assert config["input"][0]["dims"] == [-1, 2]


def test_config_honours_the_folder_config(over_http: Any) -> None:
    assert over_http.get_model_config("gather")["max_batch_size"] == 8


@pytest.mark.parametrize("model", ["tiny", "gather", "cumulative", "versions"])
def test_config_is_the_same_through_both_doors(
    gateway: Gateway, over_http: Any, model: str
) -> None:
    with channel(gateway) as one:
        message = stub(one).ModelConfig(pb.ModelConfigRequest(name=model), timeout=10).config
    through_http = json_format.ParseDict(
        over_http.get_model_config(model), pb.ModelConfigResponse().config.__class__()
    )
    assert through_http == message


STATISTICS = [
    "success",
    "fail",
    "queue",
    "compute_input",
    "compute_infer",
    "compute_output",
    "cache_hit",
    "cache_miss",
]


def test_statistics_have_every_key_as_numbers(gateway: Gateway) -> None:
    stats = gateway.stats("id_uint8")
    assert stats["name"] == "id_uint8"
    assert stats["version"] == "1"
    for key in ("last_inference", "inference_count", "execution_count"):
        assert type(stats[key]) is int, key
    assert list(stats["inference_stats"]) == STATISTICS
    for one in stats["inference_stats"].values():
        assert {type(one["count"]), type(one["ns"])} == {int}
    for key in ("response_stats", "batch_stats", "memory_usage"):
        assert key in stats


def test_statistics_count_elements_runs_and_failures(gateway: Gateway) -> None:
    before = gateway.stats("add_sub_fp32")
    rows = np.zeros((3, 4), np.float32)
    body = {
        "inputs": [
            {
                "name": f"INPUT{i}",
                "shape": [3, 4],
                "datatype": "FP32",
                "data": rows.ravel().tolist(),
            }
            for i in (0, 1)
        ]
    }
    for _ in range(2):
        assert gateway.infer("add_sub_fp32", body).status == 200
    after = gateway.stats("add_sub_fp32")
    assert after["inference_count"] - before["inference_count"] == 6
    assert after["execution_count"] - before["execution_count"] == 2
    done = (
        after["inference_stats"]["success"]["count"] - before["inference_stats"]["success"]["count"]
    )
    assert done == 2
    assert (
        after["inference_stats"]["queue"]["count"] == after["inference_stats"]["success"]["count"]
    )
    assert after["last_inference"] > 1_600_000_000_000
    sizes = {one["batch_size"]: one["compute_infer"]["count"] for one in after["batch_stats"]}
    assert sizes[3] >= 2


@pytest.mark.parametrize("path", ["/v2/models/stats", "/v2/models/tiny/stats"])
def test_statistics_paths(gateway: Gateway, path: str) -> None:
    names = {one["name"] for one in gateway.get(path).json()["model_stats"]}
    assert "tiny" in names
    assert "broken" not in names


def test_statistics_over_grpc_agree(gateway: Gateway, over_grpc: Any) -> None:
    (through_grpc,) = over_grpc.get_inference_statistics("scalar_int64", as_json=True)[
        "model_stats"
    ]
    assert through_grpc["name"] == "scalar_int64"
    count = int(through_grpc.get("inference_count", 0))
    assert count == gateway.stats("scalar_int64")["inference_count"]
    every = over_grpc.get_inference_statistics().model_stats
    assert {one.name for one in every} >= {"tiny", "versions"}


def test_index_shows_states_and_reasons(gateway: Gateway, over_grpc: Any) -> None:
    index = gateway.index()
    assert index["tiny", "1"]["state"] == "READY"
    assert {version for name, version in index if name == "versions"} == {"1", "2", "7"}
    broken = index["broken", "1"]
    assert broken["state"] == "UNAVAILABLE"
    assert broken["reason"]
    assert str(gateway.repository) not in broken["reason"]
    assert "reason" not in index["tiny", "1"] or not index["tiny", "1"]["reason"]
    through_grpc = {
        (one.name, one.version): one.state for one in over_grpc.get_model_repository_index().models
    }
    assert through_grpc == {key: one.get("state", "") for key, one in index.items()}


def test_index_of_ready_models_only(gateway: Gateway, over_http: Any) -> None:
    answer = gateway.post("/v2/repository/index", {"ready": True})
    assert answer.status == 200
    assert {one["state"] for one in answer.json()} == {"READY"}
    assert gateway.post("/v2/repository/index", {"ready": "yes"}).status == 400
    assert {one["name"] for one in over_http.get_model_repository_index()} >= {"tiny", "broken"}
    with channel(gateway) as one:
        ready = stub(one).RepositoryIndex(pb.RepositoryIndexRequest(ready=True), timeout=10)
        assert {model.state for model in ready.models} == {"READY"}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2/nothing", 404),
        ("/elsewhere", 404),
        ("/v2/models/tiny/nothing", 404),
        ("/v2/models/tiny/versions/x", 404),
        ("/v2/models/nowhere", 404),
        ("/v2/models/nowhere/config", 404),
        ("/v2/models/tiny/versions/9", 404),
        ("/v2/models/broken", 503),
    ],
)
def test_paths_that_lead_nowhere(gateway: Gateway, path: str, status: int) -> None:
    answer = gateway.get(path)
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"]


def test_grpc_metadata_of_an_unknown_model(gateway: Gateway) -> None:
    with channel(gateway) as one:
        error = refusal(stub(one).ModelMetadata, pb.ModelMetadataRequest(name="nowhere"))
        assert error.code().name == "NOT_FOUND"
        assert error.details().startswith("Request for unknown model")
        error = refusal(stub(one).ModelConfig, pb.ModelConfigRequest(name="nowhere"))
        assert error.code().name == "NOT_FOUND"


def test_the_scrape_is_valid_prometheus_text(gateway: Gateway) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    families = {one.name: one for one in text_string_to_metric_families(gateway.metrics_text())}
    own = {name for name in families if name.startswith("serving_")}
    assert {
        "serving_request",
        "serving_request_duration_seconds",
        "serving_queue_duration_seconds",
        "serving_compute_duration_seconds",
        "serving_batch_size",
        "serving_queue_requests",
        "serving_queue_bytes",
        "serving_in_flight_requests",
        "serving_executing_batches",
        "serving_model_state",
        "serving_build_info",
    } <= own
    assert "process_resident_memory_bytes" in families
    labels = {frozenset(one.labels) for one in families["serving_request"].samples}
    assert labels == {frozenset({"model", "version", "protocol", "code"})}
    answer = gateway.get("/metrics", port=gateway.admin_port)
    assert answer.headers["content-type"].startswith("text/plain")
