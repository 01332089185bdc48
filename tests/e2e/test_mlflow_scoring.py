"""MLflow's scoring protocol on the HTTP port, asked by plain clients."""

from __future__ import annotations

import gzip
import io
import json
import math
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from tests import small_models
from tests.clients.gateway import Gateway, HttpAnswer, wait_until
from tests.mlflow_models import columns, lay, mlmodel, tensor
from tests.small_models import scale, tiny_expected, write

X = [[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0]]
ROWS = {"columns": ["p", "q", "r", "s"], "data": X}
RECORDS = [dict(zip("pqrs", row, strict=True)) for row in X]
CSV = b"p,q,r,s\n1,2,3,4\n0,0,0,0\n"
PARQUET = "application/vnd.apache.parquet"


def score(gateway: Gateway, body: object, path: str = "/models/tiny/invocations") -> HttpAnswer:
    return gateway.post(path, body)


def predictions(answer: HttpAnswer) -> Any:
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "application/json"
    return answer.json()["predictions"]


def refusal(answer: HttpAnswer, status: int, code: str) -> str:
    """The message of an error in MLflow's envelope."""
    assert answer.status == status, answer
    said = answer.json()
    assert said["error_code"] == code
    assert "stack_trace" not in said
    return str(said["message"])


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": {"x": X}},
        {"inputs": X},
        {"instances": X},
        {"instances": [{"x": row} for row in X]},
    ],
)
def test_tensors_are_answered_as_tensors(gateway: Gateway, body: dict[str, Any]) -> None:
    found = predictions(score(gateway, {**body, "params": {"any": 1}, "other": [1]}))
    np.testing.assert_allclose(found["y"], tiny_expected(np.array(X)), rtol=1e-5)


def _parquet(table: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    parquet.write_table(table, out, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (_parquet(pa.table(dict(zip("pqrs", np.array(X).T, strict=True)))), PARQUET),
        (json.dumps({"dataframe_split": ROWS}).encode(), "application/json"),
        (
            json.dumps({"dataframe_records": RECORDS}).encode(),
            "application/json; charset=utf-8",
        ),
        (CSV, "text/csv"),
    ],
)
def test_data_frames_are_answered_by_rows(gateway: Gateway, data: bytes, kind: str) -> None:
    answer = gateway.get("/models/tiny/invocations", data, "POST", {"Content-Type": kind})
    found = predictions(answer)
    rows = np.array([row["y"] for row in found])
    np.testing.assert_allclose(rows, tiny_expected(np.array(X)), rtol=1e-5)


def test_fault_41_few_bytes_of_parquet_that_stand_for_many_are_refused(gateway: Gateway) -> None:
    text = pa.array(["x" * (8 << 20)], pa.large_string())
    rows = pa.chunked_array([text] * 9)
    body = _parquet(pa.table({"p": rows}), compression="zstd")
    assert len(body) < 4000
    answer = gateway.get("/models/tiny/invocations", body, "POST", {"Content-Type": PARQUET})
    assert "limits.max_message_bytes" in refusal(answer, 413, "BAD_REQUEST")


def test_several_inputs_outputs_and_special_numbers(gateway: Gateway) -> None:
    body = {"inputs": {"INPUT0": [[1, 2, 3, 4]], "INPUT1": [[4, 3, 2, "1"]]}}
    found = predictions(score(gateway, body, "/models/add_sub/invocations"))
    assert found == {"OUTPUT0": [[5, 5, 5, 5]], "OUTPUT1": [[-3, -1, 1, 3]]}
    text = b'{"inputs": {"X": [[NaN, Infinity, -Infinity, null]]}}'
    answer = gateway.get("/models/id_fp32/invocations", text, "POST")
    assert b"[[NaN,Infinity,-Infinity,NaN]]" in answer.body
    (row,) = predictions(answer)["Y"]
    assert math.isnan(row[0])
    assert row[1] == math.inf
    texts = predictions(score(gateway, {"inputs": [["a", "é\n"]]}, "/models/id_bytes/invocations"))
    assert texts == {"Y": [["a", "é\n"]]}
    assert predictions(score(gateway, {"inputs": 2.5}, "/models/scalar/invocations")) == {"Y": 2.5}


def test_versions_are_named_by_number(gateway: Gateway) -> None:
    for version, found in [("", 7.0), ("/versions/2", 2.0)]:
        path = f"/models/versions{version}/invocations"
        assert predictions(score(gateway, {"inputs": [[1, 1]]}, path)) == {"Y": [[found, found]]}
    assert predictions(score(gateway, {"inputs": [[1, 1]]}, "/models/odd%20name/invocations"))


def test_bodies_may_be_compressed_both_ways(gateway: Gateway) -> None:
    data = gzip.compress(json.dumps({"inputs": X}).encode())
    headers = {"Content-Encoding": "gzip", "Accept-Encoding": "gzip"}
    answer = gateway.get("/models/tiny/invocations", data, "POST", headers)
    assert answer.headers["content-encoding"] == "gzip"
    assert "predictions" in json.loads(gzip.decompress(answer.body))


def test_errors_come_in_mlflows_envelope(gateway: Gateway) -> None:
    for path, status, code, text in [
        (
            "/models/nowhere/invocations",
            404,
            "RESOURCE_DOES_NOT_EXIST",
            "Request for unknown model",
        ),
        ("/models/tiny/versions/9/invocations", 404, "RESOURCE_DOES_NOT_EXIST", "version 9"),
        (
            "/models/tiny/versions/a/invocations",
            404,
            "RESOURCE_DOES_NOT_EXIST",
            "'a' is no version",
        ),
        (
            "/models/tiny@nobody/invocations",
            404,
            "RESOURCE_DOES_NOT_EXIST",
            "alias nobody not found",
        ),
        (
            f"/models/tiny/versions/{'9' * 23}/invocations",
            404,
            "RESOURCE_DOES_NOT_EXIST",
            f"version {'9' * 23} is not found",
        ),
        (
            "/models/tiny/versions/1/foo",
            404,
            "RESOURCE_DOES_NOT_EXIST",
            "versions/1 answers below /invocations and /ping",
        ),
        ("/models/tiny@1/invocations", 400, "BAD_REQUEST", "'1' is no alias"),
        ("/models/%2e%2e/invocations", 400, "BAD_REQUEST", "path traversal"),
        ("/models/broken/invocations", 503, "TEMPORARILY_UNAVAILABLE", "broken"),
        # There are many models, and none of them is the default.
        ("/invocations", 404, "RESOURCE_DOES_NOT_EXIST", "mlflow.default_model"),
    ]:
        answer = score(gateway, {"inputs": X}, path)
        assert text in refusal(answer, status, code), path
        assert ("retry-after" in answer.headers) == (status == 503)
    data = {"A": [1], "B": [0]}
    refusal(score(gateway, {"inputs": data}, "/models/divide/invocations"), 400, "BAD_REQUEST")
    answer = score(gateway, {"inputs": [[1, 2]]})
    text = refusal(answer, 400, "INVALID_PARAMETER_VALUE")
    assert "Shape of input (1, 2) does not match expected shape (-1, 4)." in text
    assert answer.json()["error_class"] == "SCHEMA_ENFORCEMENT_FAILED"
    assert answer.json()["sqlstate"] == "KAM01"
    text = refusal(score(gateway, {"inputs": [["a"] * 4]}), 400, "BAD_REQUEST")
    assert "could not convert string to float: 'a'" in text
    answer = gateway.get("/models/tiny/invocations", method="GET")
    refusal(answer, 405, "BAD_REQUEST")
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(("datatype", "most"), [("fp16", 65504.0), ("bf16", 3.3895314e38)])
def test_halves_are_numbers_like_others(gateway: Gateway, datatype: str, most: float) -> None:
    path = f"/models/id_{datatype}/invocations"
    body = f'{{"inputs": [[1.5, -0.5, NaN, {most}]]}}'.encode()
    answer = gateway.get(path, body, "POST")
    assert b"[[1.5,-0.5,NaN," in answer.body
    assert predictions(answer)["Y"][0][3] == pytest.approx(most)
    beyond = score(gateway, {"inputs": [[most * 1.01]]}, path)
    assert "is out of range" in refusal(beyond, 400, "BAD_REQUEST")
    csv = gateway.get(path, b"p,q\n1,2.5\n", "POST", {"Content-Type": "text/csv"})
    assert predictions(csv) == [{"Y": [1.0, 2.5]}]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("text/plain", "This predictor only supports the following content types"),
        ("", "This predictor only supports the following content types"),
        ("application/json; charset=latin-1", "The scoring server only supports UTF-8"),
        ("application/json; q=1", "Unrecognized content type parameters: q"),
    ],
)
def test_other_content_types_are_refused_as_plain_text(
    gateway: Gateway, kind: str, text: str
) -> None:
    answer = gateway.get("/models/tiny/invocations", b"{}", "POST", {"Content-Type": kind})
    assert answer.status == 415
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.body.decode().startswith(text)


def test_a_text_that_is_not_there_is_refused_whichever_way_it_comes(gateway: Gateway) -> None:
    path = "/models/id_bytes/invocations"

    def ask(data: bytes, kind: str) -> HttpAnswer:
        return gateway.get(path, data, "POST", {"Content-Type": kind})

    nothing = _parquet(pa.table({"s": pa.array(["x", None]), "t": pa.array(["", "y"])}))
    records = b'{"dataframe_records": [{"s": "x", "t": ""}, {"s": null, "t": "y"}]}'
    for data, kind, text in [
        (nothing, PARQUET, "a missing value cannot be converted"),
        (b's,t\nx,""\n,y\n', "text/csv", "a missing value cannot be converted"),
        (records, "application/json", "expected strings, got null"),
    ]:
        assert text in refusal(ask(data, kind), 400, "BAD_REQUEST")
    empty = _parquet(pa.table({"s": pa.array(["x", ""]), "t": pa.array(["NA", "y"])}))
    rows = [row["Y"] for row in predictions(ask(empty, PARQUET))]
    assert rows == [["x", "NA"], ["", "y"]]


def test_a_short_body_does_not_stand_for_many_cells(gateway: Gateway) -> None:
    names = ",".join(f"c{i}" for i in range(7000))
    data = names.encode() + b"\n1" * 9500
    headers = {"Content-Type": "text/csv"}
    answer = gateway.get("/models/id_fp32/invocations", data, "POST", headers)
    assert "cells did not come" in refusal(answer, 413, "BAD_REQUEST")


def test_a_body_over_the_limit_is_refused(tight: Gateway) -> None:
    data = b'{"inputs": [' + b"[1,2,3,4]," * 200_000 + b"[1,2,3,4]]}"
    answer = tight.get("/models/tiny/invocations", data, "POST")
    refusal(answer, 413, "BAD_REQUEST")


def test_ping_follows_the_default_model_and_readiness(start_gateway, repository: Path) -> None:
    write(repository, "one", scale(2))
    gateway = start_gateway(repository, {"mlflow.default_model": "two"})
    for path in ("/ping", "/health", "/models/two/ping"):
        refusal(gateway.get(path), 404, "RESOURCE_DOES_NOT_EXIST")
    for path, text in [
        ("/models/one@nobody/ping", "Registered model alias nobody not found."),
        (f"/models/one/versions/{'9' * 23}/ping", f"version {'9' * 23} is not found"),
    ]:
        assert text in refusal(gateway.get(path), 404, "RESOURCE_DOES_NOT_EXIST")
    answer = gateway.get("/models/one/ping")
    assert (answer.status, answer.body) == (200, b"\n")
    assert answer.headers["content-type"] == "application/json"
    write(repository, "two", scale(3))
    wait_until(lambda: gateway.get("/ping").status == 200, 30, "the default model is ready")
    assert predictions(gateway.post("/invocations", {"inputs": [[1, 2]]})) == {"Y": [[3.0, 6.0]]}
    answer = gateway.get("/version")
    assert answer.status == 200
    assert answer.body.decode()[:1].isdigit()


THREE = columns(("p", "double"), ("q", "double"), ("r", "long"))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway on models as MLflow saves them: as a folder of their own, and as a version's."""
    folder = tmp_path_factory.mktemp("saved")
    repository = folder / "repository"
    repository.mkdir()
    model = scale(2, ["n", 3])
    example = json.dumps({"dataframe_split": {"columns": list("pqr"), "data": [[1, 2, 3]]}})
    lay(repository / "columns", model, mlmodel(THREE), serving_input_example=example)
    (repository / "versioned").mkdir()
    tensors = mlmodel(
        [tensor("X", "float32", [-1, 3])], [{"name": "t", "type": "float", "default": 1}]
    )
    lay(repository / "versioned" / "3", model, tensors)
    lay(repository / "plain", small_models.scale(2, ["n", 3]), mlmodel())
    texts = small_models.identities({"when": "BYTES", "blob": "BYTES"})
    kinds = columns(("when", "datetime"), ("blob", "binary"), ("more", "map"))
    lay(repository / "texts", texts, mlmodel(kinds))
    vector = columns(("v", "array"), items={"type": "double"})
    lay(repository / "vectors", scale(2, ["n", 2]), mlmodel(vector))
    lay(repository / "maps", scale(2, ["n", 2]), mlmodel(columns(("m", "map"))))
    pickled = {"sklearn": {"pickled_model": "model.pkl"}, "python_function": {}}
    (repository / "pickled" / "1").mkdir(parents=True)
    (repository / "pickled" / "1" / "model.pkl").write_bytes(b"0")
    (repository / "pickled" / "1" / "MLmodel").write_text(json.dumps(mlmodel(flavors=pickled)))
    one = Gateway(repository, folder / "gateway", settings={"mlflow.default_model": "columns"})
    try:
        yield one.wait_ready()
    finally:
        one.finish()


def test_columns_of_a_signature_are_taken_by_name(saved: Gateway) -> None:
    for body in [
        {"dataframe_split": {"columns": ["r", "z", "p", "q"], "data": [[3, 9, 1, 2]]}},
        {"dataframe_records": [{"q": 2, "p": "1", "r": 3}]},
        {"inputs": {"p": [1], "q": [2], "r": [3]}},
    ]:
        assert predictions(saved.post("/invocations", body)) == [{"Y": [2.0, 4.0, 6.0]}]
    body = {"dataframe_records": [{"p": 1, "q": 2}]}
    text = refusal(saved.post("/invocations", body), 400, "INVALID_PARAMETER_VALUE")
    assert "['p': double (required), 'q': double (required), 'r': long (required)]" in text
    assert "Model is missing inputs ['r']." in text
    for cell, text in [(1.5, "1.5 is no integer"), (2**63, "out of range"), (2**60 + 1, "round")]:
        body = {"dataframe_records": [{"p": 1, "q": 2, "r": cell}]}
        assert text in refusal(saved.post("/invocations", body), 400, "BAD_REQUEST")


def test_settings_say_what_is_passed_over_and_what_is_cut(
    gateway: Gateway, start_gateway, repository: Path
) -> None:
    """Without them each of these goes the other way."""
    write(repository, "id_int64", small_models.identity("INT64"))
    settings = {
        "mlflow.strict": "true",
        "mlflow.lossy_casts": "true",
        "mlflow.schema_details": "false",
    }
    changed, path = start_gateway(repository, settings), "/models/id_int64/invocations"
    more, fraction = {"inputs": {"X": [[1, 2]], "Z": [[1]]}}, {"inputs": {"X": [[1.5, 2]]}}
    assert predictions(score(gateway, more, path)) == {"Y": [[1, 2]]}
    text = refusal(score(changed, more, path), 400, "INVALID_PARAMETER_VALUE")
    assert text == "Failed to enforce model input schema. Please check your input data."
    refusal(score(gateway, fraction, path), 400, "BAD_REQUEST")
    assert predictions(score(changed, fraction, path)) == {"Y": [[1, 2]]}


def test_a_version_folder_holds_an_mlflow_model(saved: Gateway) -> None:
    body = {"inputs": [[1, 2, 3]], "params": {"t": 0.5}}
    path = "/models/versioned/versions/3/invocations"
    assert predictions(saved.post(path, body)) == {"Y": [[2.0, 4.0, 6.0]]}
    body["params"] = {"t": "a"}
    text = refusal(saved.post(path, body), 400, "INVALID_PARAMETER_VALUE")
    assert "'t': expected a number, got a string" in text
    csv = saved.get(path, b"X\n1\n", "POST", {"Content-Type": "text/csv"})
    assert "asks for tensors" in refusal(csv, 400, "BAD_REQUEST")
    assert predictions(saved.post("/models/plain/invocations", {"inputs": [[1, 2, 3]]}))


def test_what_is_not_in_onnx_says_what_to_do(saved: Gateway) -> None:
    reason = saved.index()["pickled", "1"]["reason"]
    assert "no flavor 'onnx' (but python_function, sklearn)" in reason
    assert "mlflow.onnx.save_model" in reason


def test_times_and_bytes_reach_inputs_of_texts(saved: Gateway) -> None:
    path = "/models/texts/invocations"
    row = {"when": "2026-11-30T12:30:00.5", "blob": "aGk=", "more": {"any": [1]}}
    found = predictions(saved.post(path, {"dataframe_records": [row]}))
    assert found == [{"when_out": "2026-11-30 12:30:00.500000", "blob_out": "hi"}]
    row["when"] = "2026-11-30T12:30:00Z"
    text = refusal(saved.post(path, {"dataframe_records": [row]}), 400, "BAD_REQUEST")
    assert "without a time zone" in text
    row.update(when="NaT", blob="/w==")
    text = refusal(saved.post(path, {"dataframe_records": [row]}), 400, "BAD_REQUEST")
    assert "UTF-8" in text
    times = pa.array([datetime(2026, 11, 30), None], pa.timestamp("ns"))  # noqa: DTZ001 - a column's
    table = pa.table({"when": times, "blob": [b"hi", b""], "more": ["", ""]})
    answer = saved.get(path, _parquet(table), "POST", {"Content-Type": PARQUET})
    assert [list(row.values()) for row in predictions(answer)] == [
        ["2026-11-30 00:00:00", "hi"],
        ["NaT", ""],
    ]


def test_lists_are_rows_of_a_tensor(saved: Gateway) -> None:
    path = "/models/vectors/invocations"
    body = {"dataframe_split": {"columns": ["v"], "data": [[[1, 2]], [["3", 4.5]]]}}
    assert predictions(saved.post(path, body)) == [{"Y": [2.0, 4.0]}, {"Y": [6.0, 9.0]}]
    text = refusal(saved.post(path, {"dataframe_records": [{"v": 1}]}), 400, "BAD_REQUEST")
    assert "expected a list in each row (input 'v', array)" in text


def test_what_reaches_no_input_is_told_at_load_and_other_protocols_go_on(saved: Gateway) -> None:
    why = "column 'm' is of type map, which no input of an ONNX model is"
    text = refusal(
        saved.post("/models/maps/invocations", {"dataframe_records": [{"m": {}}]}),
        501,
        "NOT_IMPLEMENTED",
    )
    assert why in text
    (note,) = [line for line in saved.events("load_note") if "MLflow" in line["note"]]
    assert why in note["note"]
    asked = {"name": "X", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}
    assert saved.post("/v2/models/maps/infer", {"inputs": [asked]}).status == 200


def test_a_table_of_parquet_is_not_told_of_csv(saved: Gateway) -> None:
    body = _parquet(pa.table({"X": [1.0]}))
    path = "/models/versioned/versions/3/invocations"
    answer = saved.get(path, body, "POST", {"Content-Type": PARQUET})
    text = refusal(answer, 400, "BAD_REQUEST")
    assert "valid Parquet Pandas DataFrame" in text
    assert "CSV" not in text


def test_examples_of_the_description_are_as_the_signature_wants_them(saved: Gateway) -> None:
    paths = saved.get("/openapi.json").json()["paths"]
    found = {
        name: paths[f"/models/{name}/invocations"]["post"]["requestBody"]["content"]
        for name in ("columns", "versioned", "texts", "vectors")
    }
    assert "/models/maps/invocations" not in paths
    columns = found["columns"]["application/json"]
    row = columns["schema"]["properties"]["dataframe_records"]["items"]
    assert row["required"] == ["p", "q", "r"]
    assert columns["example"] == {"dataframe_records": [{"p": 1.0, "q": 2.0, "r": 3}]}
    assert predictions(saved.post("/invocations", columns["example"])) == [{"Y": [2.0, 4.0, 6.0]}]
    tensors = found["versioned"]["application/json"]["example"]
    assert list(tensors["inputs"]) == ["X"]
    assert predictions(saved.post("/models/versioned/invocations", tensors))
    # Times, bytes and lists are described, and stand in no example.
    for name in ("texts", "vectors"):
        assert "example" not in found[name]["application/json"]
