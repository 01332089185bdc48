"""The URLs under /v2 that Python answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serving import __version__
from serving.errors import ErrorCode
from tests.unit.protocol_views import (
    Counted,
    Models,
    RecordedCall,
    call,
    failed,
    http,
    model,
    version,
)

COUNTED = {
    "name": "m",
    "version": "2",
    "last_inference": 1_700_000_000_000,
    "inference_count": 2**63,
    "execution_count": 3,
    "inference_stats": {"success": {"count": 5, "ns": 2**60}, "queue": {"count": 5, "ns": 7}},
    "response_stats": {},
    "batch_stats": [{"batch_size": 8, "compute_infer": {"count": 1, "ns": 9}}],
    "memory_usage": [],
}
MODELS = Models(
    model(
        "m", version(1), version(2, stats=Counted(COUNTED), max_rows=0), failed(3, "it is broken")
    ),
    model("caf\u00e9 au lait", version(1)),
    model("none", reason="no version is whole"),
)


def test_the_entrance_needs_no_ports() -> None:
    found = http(MODELS, "GET", "/")
    assert (found["name"], found["version"]) == ("serving", __version__)
    assert "port" not in found["http"]


def test_null_and_a_byte_order_mark_are_as_nothing() -> None:
    index = http(MODELS, "POST", "/v2/repository/index")
    for body in (b'{"ready": null}', b"\xef\xbb\xbf{}"):
        assert http(MODELS, "POST", "/v2/repository/index", body) == index


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_the_server_says_its_name_version_and_what_works(path: str) -> None:
    found = http(MODELS, "GET", path)

    assert (found["name"], found["version"]) == ("serving", __version__)
    assert "binary_tensor_data" in found["extensions"]
    assert "statistics" in found["extensions"]
    assert "classification" in found["extensions"]
    for unbuilt in ("model_repository", "sequence", "trace", "logging"):
        assert unbuilt not in found["extensions"]
    assert not any("shared_memory" in word for word in found["extensions"])


def test_models_are_listed() -> None:
    assert http(MODELS, "GET", "/v2/models") == {"models": ["m", "caf\u00e9 au lait", "none"]}


def test_metadata_lists_what_may_be_asked_for() -> None:
    found = http(MODELS, "GET", "/v2/models/m")

    assert found["name"] == "m"
    assert found["versions"] == ["1", "2"]
    assert found["platform"] == "onnxruntime_onnx"
    assert found["inputs"] == [
        {"name": "x", "datatype": "FP32", "shape": [-1, 4]},
        {"name": "k", "datatype": "INT64", "shape": []},
    ]
    assert found["outputs"] == [{"name": "y", "datatype": "BYTES", "shape": [-1]}]
    assert found["properties"]["provider"] == "CPUExecutionProvider"
    assert found["properties"]["batching"].startswith("unbatched: ")
    assert found["properties"]["optional_inputs"] == "k"
    assert found["properties"]["left_out_outputs"].startswith("probabilities: ")
    assert "notes" not in found["properties"]


def test_metadata_notes_what_is_other_than_asked_for() -> None:
    noted = Models(model("m", version(1, notes=("one thing", "another"))))
    assert http(noted, "GET", "/v2/models/m")["properties"]["notes"] == "one thing; another"


def test_metadata_of_a_named_version_lists_that_one() -> None:
    assert http(MODELS, "GET", "/v2/models/m/versions/1")["versions"] == ["1"]


def test_names_are_percent_decoded() -> None:
    assert http(MODELS, "GET", "/v2/models/caf%C3%A9%20au%20lait")["name"] == "caf\u00e9 au lait"


def test_config_is_tritons() -> None:
    found = http(MODELS, "GET", "/v2/models/m/versions/2/config")

    assert found["name"] == "m"
    assert found["max_batch_size"] == 0
    assert found["input"][0]["dims"] == [-1, 4]
    assert found["input"][1]["optional"] is True
    assert found["platform"] == "onnxruntime_onnx"


def test_statistics_have_every_key_and_numbers() -> None:
    (found,) = http(MODELS, "GET", "/v2/models/m/versions/2/stats")["model_stats"]

    assert (found["name"], found["version"]) == ("m", "2")
    assert found["inference_count"] == 2**63
    assert found["last_inference"] == 1_700_000_000_000
    assert set(found["inference_stats"]) == {
        "success",
        "fail",
        "queue",
        "compute_input",
        "compute_infer",
        "compute_output",
        "cache_hit",
        "cache_miss",
    }
    assert found["inference_stats"]["success"] == {"count": 5, "ns": 2**60}
    assert found["inference_stats"]["cache_hit"] == {"count": 0, "ns": 0}
    (batch,) = found["batch_stats"]
    assert batch["batch_size"] == 8
    assert batch["compute_infer"] == {"count": 1, "ns": 9}
    assert batch["compute_output"] == {"count": 0, "ns": 0}
    assert found["memory_usage"] == []
    assert found["response_stats"] == {}


def test_statistics_are_of_ready_versions_only() -> None:
    def versions(path: str) -> list[tuple[str, str]]:
        found = http(MODELS, "GET", path)["model_stats"]
        return [(entry["name"], entry["version"]) for entry in found]

    assert versions("/v2/models/m/stats") == [("m", "1"), ("m", "2")]
    assert versions("/v2/models/stats") == [("m", "1"), ("m", "2"), ("caf\u00e9 au lait", "1")]


def test_the_index_has_every_version_with_state_and_reason() -> None:
    found = http(MODELS, "POST", "/v2/repository/index")

    assert found == [
        {"name": "m", "version": "1", "state": "READY"},
        {"name": "m", "version": "2", "state": "READY"},
        {"name": "m", "version": "3", "state": "UNAVAILABLE", "reason": "it is broken"},
        {"name": "caf\u00e9 au lait", "version": "1", "state": "READY"},
        {"name": "none", "state": "UNAVAILABLE", "reason": "no version is whole"},
    ]


@pytest.mark.parametrize("path", ["/v2/repository/index", "/v2/repository/any/index"])
def test_the_index_may_be_asked_for_ready_versions_only(path: str) -> None:
    found = http(MODELS, "POST", path, b'{"ready": true}')

    assert [entry["state"] for entry in found] == ["READY"] * 3
    assert len(http(MODELS, "POST", path, b'{"ready": false}')) == 5


def test_the_index_of_a_thousand_models_has_each_of_them_once_and_stays_small() -> None:
    names = [f"model-{at:04d}" for at in range(1000)]
    fleet = Models(
        *(
            model(name, version(1) if at % 100 else failed(1, "bad"))
            for at, name in enumerate(names)
        )
    )
    every = http(fleet, "POST", "/v2/repository/index")
    assert [entry["name"] for entry in every] == names
    ready = http(fleet, "POST", "/v2/repository/index", b'{"ready": true}')
    assert [entry["name"] for entry in ready] == [n for at, n in enumerate(names) if at % 100]
    assert len(json.dumps(every)) < 100_000


@pytest.mark.parametrize(
    "body",
    [
        b'{"ready": "yes"}',
        b'{"ready": 1}',
        b"[]",
        b"{",
        b"\xff",
        b"[" * 60_000,
        b'{"n": ' + b"9" * 10_000 + b"}",
    ],
)
def test_fault_59_and_60_a_wrong_body_is_a_bad_request(body: bytes) -> None:
    assert http(MODELS, "POST", "/v2/repository/index", body)[0] is ErrorCode.BAD_REQUEST


def test_a_large_body_is_not_parsed() -> None:
    assert http(MODELS, "POST", "/v2/repository/index", b" " * 70_000)[0] is ErrorCode.TOO_LARGE


@pytest.mark.parametrize("path", ["/v2/models/x", "/v2/models/x/config", "/v2/models/x/stats"])
def test_an_unknown_model_is_not_found(path: str) -> None:
    known = "known models: 'café au lait', 'm', 'none'"
    expected = (ErrorCode.NOT_FOUND, f"Request for unknown model: 'x' is not found; {known}")

    assert http(MODELS, "GET", path) == expected


@pytest.mark.parametrize("what", ["", "/config", "/stats"])
def test_versions_that_are_unknown_or_not_ready(what: str) -> None:
    assert http(MODELS, "GET", f"/v2/models/m/versions/9{what}")[0] is ErrorCode.NOT_FOUND
    long = http(MODELS, "GET", f"/v2/models/m/versions/{'9' * 9999}{what}")
    assert (long[0], len(long[1]) < 400) == (ErrorCode.BAD_REQUEST, True)
    assert http(MODELS, "GET", f"/v2/models/m/versions/3{what}")[0] is ErrorCode.UNAVAILABLE
    assert http(MODELS, "GET", f"/v2/models/none{what}")[0] is ErrorCode.UNAVAILABLE


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/m/versions/x",
        "/v2/models/m/versions/-1/config",
        "/v2/models/m/versions/1a/infer",
        "/v2/models/m/versions/\u0663",
        "/v2/models/m/versions/",
        "/v2/models/m/versions/1/trace/setting",
        "/v2/models/",
        "/v2/models/m/",
        "/v2/models//config",
        "/v2/Models",
        "/v2x",
        "/v2//",
        "/v2/repository",
        "/v2/health",
        "/v2/models/../../etc/passwd",
    ],
)
def test_what_matches_no_pattern_is_not_found(path: str) -> None:
    word, text = http(MODELS, "GET", path)
    assert (word, text[:9]) == (ErrorCode.NOT_FOUND, "Not Found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v2", "GET"),
        ("TRACE", "/v2", "GET"),
        ("POST", "/v2/models", "GET"),
        ("DELETE", "/v2/models/m", "GET"),
        ("POST", "/v2/models/m/config", "GET"),
        ("PUT", "/v2/models/m/stats", "GET"),
        ("GET", "/v2/models/m/infer", "POST"),
        ("POST", "/v2/models/m/versions/1/ready", "GET"),
        ("POST", "/v2/health/live", "GET"),
        ("GET", "/v2/repository/index", "POST"),
        ("HEAD", "/v2/repository/index", "POST"),
        ("GET", "/v2/repository/models/m/load", "POST"),
        ("DELETE", "/v2/logging", "GET or POST"),
        ("POST", "/v2/systemsharedmemory/status", "GET"),
    ],
)
def test_fault_43_a_wrong_verb_is_405(method: str, path: str, allowed: str) -> None:
    expected = (ErrorCode.METHOD_NOT_ALLOWED, f"Method Not Allowed: use {allowed}")

    assert http(MODELS, method, path) == expected


def test_head_is_answered_like_get() -> None:
    assert http(MODELS, "HEAD", "/v2/models/m") == http(MODELS, "GET", "/v2/models/m")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/logging"),
        ("POST", "/v2/logging"),
        ("GET", "/v2/trace/setting"),
        ("POST", "/v2/models/m/trace/setting"),
        ("POST", "/v2/models/m/generate"),
        ("POST", "/v2/models/m/versions/1/generate_stream"),
        ("POST", "/v2/repository/r/models/m/load"),
    ],
)
def test_known_but_unbuilt_urls_are_unimplemented(method: str, path: str) -> None:
    word, message = http(MODELS, method, path)

    assert word is ErrorCode.UNIMPLEMENTED
    assert message.endswith("is not supported")


def test_fault_67_the_words_of_the_shared_memory_api_name_no_region() -> None:
    words = http(MODELS, "POST", "/v2/systemsharedmemory/region/secret/register")[1]

    assert "secret" not in words


@pytest.mark.parametrize("what", ["load", "unload"])
def test_loading_by_call_is_refused_while_directories_are_followed(what: str) -> None:
    assert http(MODELS, "POST", f"/v2/repository/models/m/{what}") == (
        ErrorCode.UNAVAILABLE,
        "explicit model load / unload is not allowed if polling is enabled",
    )


@pytest.mark.parametrize(
    "name", ["%2e%2e", "..%2f..%2fetc%2fpasswd", "a%5Cb", "a%00b", "..", "a..b", "%ff"]
)
def test_fault_61_traversal_in_names_is_refused(name: str) -> None:
    for path in (f"/v2/models/{name}", f"/v2/models/{name}/config"):
        word, message = http(MODELS, "GET", path)
        assert word is ErrorCode.BAD_REQUEST
        assert "passwd" not in message or "invalid model name" in message


def test_fault_61_a_double_encoded_name_is_just_unknown() -> None:
    word, message = http(MODELS, "GET", "/v2/models/%252e%252e%252f")

    assert word is ErrorCode.NOT_FOUND
    assert message.startswith("Request for unknown model: '%2e%2e%2f' is not found; ")


def test_fault_69_a_bug_is_an_internal_error_without_its_original() -> None:
    class Broken:
        def views(self) -> Any:
            raise RuntimeError("/secret/path")

    done = call(Broken(), RecordedCall("http", "GET", "/v2/models"))

    assert done.failure is not None
    word, message, detail = done.failure
    assert (word, message) == (ErrorCode.INTERNAL, "internal error")
    assert "/secret/path" in detail


def test_answers_are_compact_json() -> None:
    done = call(MODELS, RecordedCall("http", "GET", "/v2/models"))

    assert (
        done.answer
        == json.dumps(
            {"models": ["m", "caf\u00e9 au lait", "none"]},
            ensure_ascii=False,
            separators=(",", ":"),
        ).encode()
    )


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v2/models/m/", "the path ends without a slash: /v2/models/m"),
        ("/v2/models/m/versions/1/infer//", "without a slash: /v2/models/m/versions/1/infer"),
        ("/v2/models/m/predict", "a model has no 'predict': expected infer"),
        ("/v2/models/m/a\x00b", "a model has no 'a\ufffdb'"),
    ],
)
def test_the_wrong_part_of_a_path_is_named(path: str, words: str) -> None:
    assert words in http(MODELS, "GET", path)[1]
