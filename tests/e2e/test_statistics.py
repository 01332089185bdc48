"""Statistics of what a real gateway serves: counted, kept, and held against a schema."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from serving.statistics.forms import parse
from serving.statistics.metadata import Form, Kind, messages
from tests import small_models
from tests.clients import oip
from tests.clients.gateway import Gateway, wait_until
from tests.clients.triton import channel, stub
from tests.unit.cli.test_statistics import serving
from tests.unit.observe.statistics.world import features

if TYPE_CHECKING:
    from tests.conftest import StartGateway

pytest.importorskip("datasketches")

ALL = {"statistics.samples_per_second": "0"}
# Windows as short as they may be.
SHORT = {**ALL, "statistics.window_s": "1"}
FIT = """
feature { name: "x[0]" type: FLOAT presence { min_fraction: 1 min_count: 1 } }
feature { name: "x[1]" type: FLOAT presence { min_fraction: 1 min_count: 1 } }
feature { name: "x[2]" type: FLOAT float_domain { min: 0 max: 1 } }
feature { name: "x[3]" type: FLOAT }
"""


def ask(gateway: Gateway, model: str, *requests: Mapping[str, np.ndarray]) -> None:
    with channel(gateway) as one:
        calls = [stub(one).ModelInfer.future(oip.grpc_request(model, dict(r))) for r in requests]
        for call in calls:
            call.result(30)


def path(what: str, model: str = "tiny", version: int = 1) -> str:
    return f"/api/v1/models/{model}/versions/{version}/{what}"


def told(gateway: Gateway, what: str, model: str = "tiny", version: int = 1) -> Any:
    """None where nothing is known."""
    answer = gateway.get(path(what, model, version), port=gateway.admin_port)
    assert answer.status in (200, 404), answer
    return answer.json() if answer.status == 200 else None


def message(told: Any) -> Any:
    """TFX's own, out of the answer's JSON."""
    text = json.dumps({"datasets": told["datasets"]}).encode()
    return parse(text, Kind.STATISTICS, Form.JSON)


def counted(gateway: Gateway, samples: int) -> None:
    def is_there() -> bool:
        return gateway.metric("serving_statistics_samples_total") == samples

    wait_until(is_there, 20, f"{samples} samples counted")


def wide_baseline(buckets: int) -> bytes:
    made = messages.DatasetFeatureStatisticsList()
    feature = made.datasets.add(num_examples=1).features.add(name="x[0]", type=1)
    histogram = feature.num_stats.histograms.add()
    for at in range(buckets):
        histogram.buckets.add(low_value=at, high_value=at + 1, sample_count=1)
    return bytes(made.SerializeToString())


def repository_of(folder: Path, schema: str = "") -> Path:
    small_models.write(folder, "tiny", small_models.tiny())
    if schema:
        (folder / "tiny" / "schema.pbtxt").write_text(schema)
    return folder


def test_fault_112_a_model_with_the_longest_name_has_statistics_and_errors(
    start_gateway: StartGateway, repository: Path
) -> None:
    name = "m" * 255
    small_models.write(repository, name, small_models.tiny())
    gateway = start_gateway(repository, ALL)
    ask(gateway, name, {"x": np.ones((2, 4), np.float32)})
    counted(gateway, 1)
    assert told(gateway, "statistics", name)["samples"] == 1
    assert gateway.infer(name, {"inputs": []}).status == 400

    def errors() -> Any:
        path = f"/api/v1/models/{name}/errors"
        return gateway.get(path, port=gateway.admin_port).json()["errors"]

    (error,) = wait_until(errors, 10, "the error is told")
    assert error["word"] == "bad_request"


def test_classes_come_with_their_labels(start_gateway: StartGateway, repository: Path) -> None:
    config = 'output { name: "y" data_type: TYPE_FP32 dims: [-1, 3] label_filename: "labels.txt" }'
    (repository / "tiny").mkdir()
    (repository / "tiny" / "labels.txt").write_text(f"\ncat\n{'dog' * 100}\n")
    small_models.write(repository, "tiny", small_models.tiny(), config=config)
    gateway = start_gateway(repository, ALL)
    x = np.random.default_rng(1).normal(0, 3, (64, 4)).astype(np.float32)
    ask(gateway, "tiny", {"x": x})
    counted(gateway, 1)
    found = told(gateway, "statistics")
    classes = small_models.tiny_expected(x).argmax(axis=1)
    assert set(classes.tolist()) == {0, 2}
    assert found["labels"] == {"y.class": {"2": ("dog" * 100)[:256]}}
    assert message(found).datasets


def test_what_is_not_there_and_what_is_off_is_said(
    start_gateway: StartGateway, repository: Path
) -> None:
    one = start_gateway(repository_of(repository))
    for what, status, words in (
        (path("statistics"), 404, "nothing is known of it yet"),
        (path("statistics", "nobody"), 404, "no such version"),
        (path("drift", version=7), 404, "no such version"),
        ("/api/v1/models/tiny/versions/one/anomalies", 404, "no such version"),
        (path("statistics?window=week"), 400, "window"),
        (path("statistics?window=day&at=7"), 404, "no window is kept"),
        (path("statistics?window=day&at=x"), 400, "at"),
        (path("statistics?windows=day"), 400, "unknown query parameter"),
        (path("statistics?window=baseline"), 404, "no baseline"),
    ):
        answer = one.get(what, port=one.admin_port)
        assert answer.status == status, (what, answer)
        assert words in answer.json()["error"], (what, answer)
    assert told(one, "anomalies") == {"anomalies": [], "recent": []}
    assert told(one, "drift") == {"features": []}
    off = start_gateway(repository, {"statistics.enabled": "false"})
    answer = off.get(path("statistics"), port=off.admin_port)
    assert answer.status == 503
    assert "statistics are off" in answer.json()["error"]


def test_baselines_without_end_are_read_by_two_at_a_time_and_not_told(
    start_gateway: StartGateway, repository: Path
) -> None:
    """Many clients that ask and take nothing cost what two of them do."""
    small_models.write(repository, "tiny", small_models.tiny())
    file, baseline = repository / "tiny" / "1" / "baseline.pb", wide_baseline(150_000)
    file.write_bytes(baseline)
    gateway = start_gateway(repository)
    asked, before = path("statistics?window=baseline"), gateway.peak_rss()
    with contextlib.ExitStack() as clients:
        for _ in range(12):
            one = clients.enter_context(socket.create_connection(("127.0.0.1", gateway.admin_port)))
            one.sendall(f"GET {asked} HTTP/1.1\r\nHost: {gateway.admin}\r\n\r\n".encode())
        answer = gateway.get(asked, port=gateway.admin_port)
    assert answer.status == 413
    assert f"the baseline has {len(baseline) + 8:,} bytes" in answer.body.decode()
    assert gateway.peak_rss() - before < 200 << 20
    file.write_bytes(wide_baseline(1000))
    (data,) = gateway.get(asked, port=gateway.admin_port).json()["datasets"]
    assert len(data["features"][0]["num_stats"]["histograms"][0]["buckets"]) == 1000


def test_live_statistics_are_numpys_of_the_same_rows(
    start_gateway: StartGateway, repository: Path
) -> None:
    one = start_gateway(repository_of(repository), {**ALL, "statistics.window_s": "3600"})
    rows = np.random.default_rng(3).normal(2, 5, (4000, 4)).astype(np.float32)
    rows[rows > 9] = 0
    rows[::7, 1], rows[::5, 2], rows[::9, 2] = np.nan, np.inf, -np.inf
    ask(one, "tiny", *({"x": part} for part in np.array_split(rows, 40)))
    counted(one, 40)
    found = message(told(one, "statistics"))
    known = features(found)
    for at in range(4):
        column = rows[:, at].astype(np.float64)
        there = column[~np.isnan(column)]
        finite = there[np.isfinite(there)]
        numbers = known[f"x[{at}]"].num_stats
        common = numbers.common_stats
        assert common.num_non_missing + common.num_missing == len(column)
        assert common.num_missing == np.isnan(column).sum()
        assert (numbers.min, numbers.max) == (there.min(), there.max())
        assert numbers.num_zeros == (there == 0).sum()
        assert numbers.mean == pytest.approx(finite.mean(), rel=1e-9)
        assert numbers.std_dev == pytest.approx(finite.std(), rel=1e-9)
        rank = np.mean(finite <= numbers.median)
        assert abs(rank - 0.5) < 0.02
    outputs = features(found, "outputs")
    assert set(outputs) >= {"y[0]", "y[1]", "y[2]", "y.class", "y.score"}
    classes = outputs["y.class"].string_stats or outputs["y.class"]
    assert classes.common_stats.num_non_missing == len(rows)


def test_windows_outlive_the_process(
    start_gateway: StartGateway, repository: Path, tmp_path: Path
) -> None:
    kept = {**ALL, "state_dir": str(tmp_path / "state")}
    one = start_gateway(repository_of(repository), kept)
    ask(one, "tiny", {"x": np.ones((5, 4), np.float32)})
    one.finish()
    other = start_gateway(repository, kept)
    ask(other, "tiny", {"x": np.ones((2, 4), np.float32)})
    counted(other, 1)
    day = wait_until(lambda: told(other, "statistics?window=day"), 20, "a day")
    assert message(day).datasets[0].num_examples == 5
    assert message(told(other, "statistics")).datasets[0].num_examples == 2


def test_a_feature_that_is_always_missing_raises_an_anomaly_within_a_window(
    start_gateway: StartGateway, repository: Path
) -> None:
    """The case of Google Play: a feature that training had never reached what serves."""
    one = start_gateway(repository_of(repository, FIT), SHORT)
    rows = np.random.default_rng(1).random((200, 4)).astype(np.float32)
    rows[:, 1] = np.nan
    ask(one, "tiny", *({"x": row[np.newaxis]} for row in rows))
    found = wait_until(lambda: (told(one, "anomalies") or {}).get("anomalies"), 20, "an anomaly")
    assert [(a["feature"], a["type"], a["severity"]) for a in found] == [
        ("x[1]", "FEATURE_TYPE_NOT_PRESENT", "ERROR")
    ]
    (event,) = one.events("feature_anomaly")
    assert (event["model"], event["version"], event["feature"]) == ("tiny", 1, "x[1]")
    shown = serving("stats", "live", "tiny", "--admin-url", one.admin)
    assert shown.returncode == 0, shown.stderr
    assert "FEATURE_TYPE_NOT_PRESENT" in shown.stdout
    assert "\noutputs: " in shown.stdout
    assert "y.class" in shown.stdout
    labels = {"model": "tiny", "version": "1", "type": "FEATURE_TYPE_NOT_PRESENT"}
    assert one.metric("serving_feature_anomalies_active", **labels) == 1

    def later() -> bool:
        ask(one, "tiny", {"x": rows[:50]})
        return bool(told(one, "anomalies")["anomalies"][0]["at"] > found[0]["at"])

    wait_until(later, 20, "the next window", every=0.2)
    assert len(one.events("feature_anomaly")) == 1

    def is_over() -> bool:
        ask(one, "tiny", {"x": np.full((50, 4), 0.5, np.float32)})
        return one.metric("serving_feature_anomalies_active", **labels) == 0

    wait_until(is_over, 20, "the anomaly is over", every=0.2)
    assert one.metric("serving_feature_anomalies_total", **labels) == 1


def test_a_schema_that_is_edited_holds_from_the_next_window_on(
    start_gateway: StartGateway, repository: Path
) -> None:
    one = start_gateway(repository_of(repository, "feature { nane: 1 }"), SHORT)
    schema = repository / "tiny" / "schema.pbtxt"

    def anomalies() -> Any:
        ask(one, "tiny", {"x": np.full((50, 4), 3, np.float32)})
        return [a["type"] for a in (told(one, "anomalies") or {}).get("anomalies", ())]

    wait_until(
        lambda: anomalies() or one.events("statistics_reference_unreadable"), 20, "told", every=0.2
    )
    (event,) = one.events("statistics_reference_unreadable")
    assert "no field 'nane'" in event["reason"]
    assert str(repository) not in json.dumps(event)
    schema.write_text(FIT)
    found = wait_until(anomalies, 20, "an anomaly", every=0.2)
    assert found == ["OUT_OF_RANGE"] or "FLOAT_TYPE_BIG_FLOAT" in found


def test_hostile_values_are_counted_and_bounded(
    start_gateway: StartGateway, repository: Path
) -> None:
    texts = small_models.identity("BYTES", ("n",))
    small_models.write(repository, "texts", texts)
    small_models.write(repository, "numbers", small_models.identity("FP64"))
    one = start_gateway(repository, {**ALL, "statistics.window_s": "3600"})
    often = np.full(20_000, "often", object)
    (name,) = [tensor["name"] for tensor in one.get("/v2/models/texts").json()["inputs"]]
    many = np.array([f"text {number}" for number in range(20_000)], object)
    huge = np.array(["\u00e9" * 1_500_000, "", "e\u0301\u0000"], object)
    ask(
        one,
        "texts",
        *({name: part} for part in np.array_split(many, 4)),
        {name: huge},
        {name: often},
    )
    (name,) = [tensor["name"] for tensor in one.get("/v2/models/numbers").json()["inputs"]]
    wild = np.array([[np.nan, 1e308, -1e308, np.inf, -np.inf, 5e-324]])
    ask(one, "numbers", {name: wild}, {name: np.repeat(wild, 300, axis=1)}, {name: wild[:, :0]})
    counted(one, 9)
    assert one.metric("serving_statistics_memory_bytes") < 3 << 20
    found = features(message(told(one, "statistics", "texts")))
    (strings,) = [one.string_stats for one in found.values()]
    assert strings.common_stats.num_non_missing == 40_002
    assert strings.unique == pytest.approx(20_003, rel=0.1)
    assert [value.value for value in strings.top_values] == ["often"]
    assert strings.top_values[0].frequency == pytest.approx(20_000, rel=0.05)
    whole = message(told(one, "statistics", "numbers"))
    assert whole.datasets[0].num_examples == 3
    assert one.metric("serving_statistics_dropped_total", reason="error") == 0


def by_http(gateway: Gateway, model: str, array: np.ndarray, *, binary: bool) -> Any:
    """Its answer. Numbers that JSON has no word for go as Python writes them: NaN, Infinity."""
    (tensor,) = gateway.get(f"/v2/models/{model}").json()["inputs"]
    if not binary:
        one = oip.json_input(tensor["name"], array, tensor["datatype"])
        return gateway.infer(model, {"inputs": [one]})
    given = {tensor["name"]: array}
    body, headers = oip.binary_body(given, {tensor["name"]: tensor["datatype"]})
    return gateway.get(f"/v2/models/{model}/infer", body, "POST", headers)


@pytest.mark.slow
@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_hostile_values_by_http_are_counted_and_bounded(
    start_gateway: StartGateway, repository: Path, binary: bool
) -> None:
    """100,000 different texts, huge ones, the largest numbers and none, rows of any length."""
    small_models.write(repository, "texts", small_models.identity("BYTES", ("n",)))
    small_models.write(repository, "numbers", small_models.identity("FP64"))
    one = start_gateway(repository, {**ALL, "statistics.window_s": "3600"})
    many = np.array([f"text {number}" for number in range(100_000)], object)
    huge = np.array(["\u00e9" * 1_500_000, "", "e\u0301\u0000"], object)
    for part in (*np.array_split(many, 4), huge):
        assert by_http(one, "texts", part, binary=binary).status == 200
    wild = np.array([[np.nan, 1e308, -1e308, np.inf, -np.inf, 5e-324]])
    for rows in (wild, np.repeat(wild, 300, axis=1), wild[:, :0]):
        assert by_http(one, "numbers", rows, binary=binary).status == 200
    (name,) = [tensor["name"] for tensor in one.get("/v2/models/numbers").json()["inputs"]]
    ragged = {"name": name, "shape": [2, 2], "datatype": "FP64"}
    for data in ([[1, 2], [3]], [1, 2, 3], [[1, [2]], [3, 4]]):
        answer = one.infer("numbers", {"inputs": [{**ragged, "data": data}]})
        assert answer.status == 400, (data, answer)
    counted(one, 8)
    assert one.metric("serving_statistics_memory_bytes") < 3 << 20
    found = features(message(told(one, "statistics", "texts")))
    (strings,) = [each.string_stats for each in found.values()]
    assert strings.common_stats.num_non_missing == 100_002
    assert strings.unique == pytest.approx(100_002, rel=0.1)
    numbers = message(told(one, "statistics", "numbers"))
    assert numbers.datasets[0].num_examples == 3
    (values,) = [each.num_stats for each in features(numbers).values()]
    common = values.common_stats
    assert (common.min_num_values, common.max_num_values) == (0, 1800)
    assert (values.min, values.max) == (-np.inf, np.inf)
    assert values.mean == 0.0
    assert sum(h.num_nan for h in values.histograms) in (301, 602)
    assert one.metric("serving_statistics_dropped_total", reason="error") == 0


def test_what_is_redacted_is_in_no_statistics(
    start_gateway: StartGateway, repository: Path
) -> None:
    one = start_gateway(repository_of(repository), {**ALL, "request_log.redact": "x"})
    ask(one, "tiny", {"x": np.ones((5, 4), np.float32)})
    counted(one, 1)
    found = message(told(one, "statistics"))
    assert not features(found)
    assert features(found, "outputs")


def test_a_canary_is_compared_with_the_version_beside_it(
    start_gateway: StartGateway, repository: Path
) -> None:
    for version, factor in ((1, 1.0), (2, 50.0)):
        small_models.write(
            repository,
            "m",
            small_models.scale(factor),
            version,
            yaml="version_policy: {all: true}\n",
        )
    one = start_gateway(repository, SHORT)
    body = json.dumps({"weights": {"1": 1, "2": 1}}).encode()
    answer = one.get("/api/v1/models/m/route", body, "POST", port=one.admin_port)
    assert answer.status == 200, answer
    rows = np.random.default_rng(1).random((400, 2)).astype(np.float32)

    def compared() -> Any:
        ask(one, "m", *({"X": row[np.newaxis]} for row in rows))
        found = (told(one, "drift", "m", 2) or {}).get("features", ())
        return [row for row in found if row["kind"] == "versions"]

    found = {row["name"]: row for row in wait_until(compared, 30, "a comparison", every=0.2)}
    assert found["Y[0]"]["distance"] > 0.5 > found["X[0]"]["distance"]
    assert found["Y[0]"]["threshold"] is None
    assert all(row["kind"] != "versions" for row in told(one, "drift", "m", 1)["features"])


def test_so_many_a_second_are_sampled_whatever_comes(
    start_gateway: StartGateway, repository: Path
) -> None:
    one = start_gateway(
        repository_of(repository), {"statistics.samples_per_second": "5", "request_log.rate": "0"}
    )
    request = {"x": np.ones((1, 4), np.float32)}
    ask(one, "tiny", *[request] * 600)

    def taken() -> float:
        return one.metric("serving_statistics_samples_total")

    wait_until(lambda: taken() >= 5, 20, "samples")
    assert taken() <= 30
