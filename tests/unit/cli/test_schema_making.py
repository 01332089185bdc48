"""``serving schema infer``, ``diff``, ``check``, ``suggest-thresholds``, as a user meets them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from serving.statistics import files
from serving.statistics.dataset import DatasetSketch
from serving.statistics.metadata import Kind, messages, to_json
from tests.unit.cli.test_statistics import serving

CSV = "age,city\n31,rome\n42,oslo\n25,rome\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.csv"
    path.write_text(CSV)
    return path


@pytest.fixture
def schema(data: Path, tmp_path: Path) -> Path:
    path = tmp_path / "schema.pbtxt"
    assert serving("schema", "infer", data, "-o", path).returncode == 0
    return path


def test_a_schema_is_inferred_of_examples_and_of_statistics_alike(
    data: Path, schema: Path, tmp_path: Path
) -> None:
    inferred = files.read(schema, Kind.SCHEMA)
    assert [feature.name for feature in inferred.feature] == ["age", "city"]
    assert list(inferred.string_domain[0].value) == ["oslo", "rome"]
    statistics = tmp_path / "stats.pb"
    serving("stats", data, "-o", statistics)
    assert serving("schema", "infer", statistics).stdout == schema.read_text()
    ranges = serving("schema", "infer", data, "--ranges").stdout
    assert "min: 25" in ranges
    assert "min: 25" not in schema.read_text()
    few = serving("schema", "infer", data, "--max-string-domain", 1).stdout
    assert "string_domain" not in few


def test_two_schemas_differ_by_lines_and_by_the_exit_status(schema: Path, tmp_path: Path) -> None:
    same = serving("schema", "diff", schema, schema)
    assert (same.stdout, same.returncode) == ("", 0)
    other = tmp_path / "other.pbtxt"
    other.write_text(schema.read_text().replace('"oslo"', '"bonn"').replace("INT", "FLOAT"))
    done = serving("schema", "diff", schema, other)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "~ age: type INT -> FLOAT",
        "~ city: domain -'oslo' +'bonn'",
    ]
    told = json.loads(serving("schema", "diff", schema, other, "--json").stdout)
    assert told["differences"][0] == {"what": "age", "change": "~", "words": "type INT -> FLOAT"}
    broken = tmp_path / "broken.pbtxt"
    broken.write_text("feature { nam: 3 }")
    done = serving("schema", "diff", schema, broken)
    assert done.returncode == 2
    assert "broken.pbtxt: line 1: Feature has no field 'nam'" in done.stderr


def test_data_are_held_against_a_schema(data: Path, schema: Path, tmp_path: Path) -> None:
    done = serving("schema", "check", data, "--schema", schema)
    assert (done.stdout.strip(), done.returncode) == ("no anomalies", 0)
    odd = tmp_path / "odd.csv"
    odd.write_text("age,city\n31,rome\n42,bonn\n,rome\n")
    written = tmp_path / "anomalies.pbtxt"
    done = serving("schema", "check", odd, "--schema", schema, "-o", written, "--json")
    assert done.returncode == 1
    told = {(row["feature"], row["type"]) for row in json.loads(done.stdout)["anomalies"]}
    assert ("city", "ENUM_TYPE_UNEXPECTED_STRING_VALUES") in told
    assert ("age", "FEATURE_TYPE_LOW_FRACTION_PRESENT") in told
    anomalies = files.read(written, Kind.ANOMALIES)
    assert set(anomalies.anomaly_info) == {"age", "city"}
    table = serving("schema", "check", odd, "--schema", schema)
    assert "FEATURE" in table.stdout
    assert "'bonn' (33 %)" in table.stdout
    assert serving("schema", "check", tmp_path / "odd.csv", "--schema", odd).returncode == 2


def test_columns_of_csv_are_what_the_schema_says(tmp_path: Path) -> None:
    """Nothing in the file says that a postcode is a text."""
    schema, data = tmp_path / "schema.pbtxt", tmp_path / "data.csv"
    schema.write_text("""feature { name: "code" type: BYTES string_domain { value: "1010" } }
        feature { name: "age" type: INT }""")
    data.write_text("code,age\n1010,31\n")
    assert serving("schema", "check", data, "--schema", schema).stdout == "no anomalies\n"
    data.write_text("code,age\n2020,old\n1010,31\n")
    done = serving("schema", "check", data, "--schema", schema)
    assert "ENUM_TYPE_UNEXPECTED_STRING_VALUES" in done.stdout
    assert "UNEXPECTED_DATA_TYPE" in done.stdout


def test_skew_is_checked_against_a_baseline(tmp_path: Path) -> None:
    chance = np.random.default_rng(1)
    places = {}
    for name, mean in (("train", 0.0), ("here", 0.0), ("moved", 3.0)):
        places[name] = tmp_path / f"{name}.pb"
        files.write(places[name], _window(chance, mean))
    schema = tmp_path / "schema.pbtxt"
    schema.write_text("""feature { name: "x" type: FLOAT skew_comparator {
        jensen_shannon_divergence { threshold: 0.1 source { type: QUANTILES } } } }""")
    check = ("schema", "check", "--schema", schema, "--baseline", places["train"])
    assert serving(*check, places["here"]).returncode == 0
    done = serving(*check, places["moved"])
    assert done.returncode == 1
    assert "COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH" in done.stdout


def test_thresholds_are_suggested_of_windows(tmp_path: Path) -> None:
    chance = np.random.default_rng(2)
    windows = []
    for number in range(10):
        windows.append(tmp_path / f"window{number}.pb")
        files.write(windows[-1], _window(chance, 0.0))
    schema, written = tmp_path / "schema.pbtxt", tmp_path / "with.pbtxt"
    schema.write_text('feature { name: "x" type: FLOAT }')
    shown = serving("schema", "suggest-thresholds", *windows, "--schema", schema)
    assert shown.returncode == 0
    assert "drift" in shown.stdout
    assert schema.read_text() == 'feature { name: "x" type: FLOAT }'
    done = serving("schema", "suggest-thresholds", *windows, "--schema", schema, "-o", written)
    assert f"wrote {written}: 1 threshold" in done.stdout.replace("\n", "")
    drift = files.read(written, Kind.SCHEMA).feature[0].drift_comparator
    assert 0 < drift.jensen_shannon_divergence.threshold < 0.2
    few = serving("schema", "suggest-thresholds", *windows[:3], "--schema", schema)
    assert "too few" in few.stdout
    few = serving("schema", "suggest-thresholds", *windows[:3], "--schema", schema, "-o", written)
    assert few.returncode == 0
    assert "0 thresholds" in few.stdout
    assert "1 left out: fewer than 8 windows tell of them" in few.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["infer"], "expected files, or --live"),
        (["infer", "DATA", "--live", "m"], "expected files, or --live"),
        (["infer", "DATA", "SCHEMA"], "expected files of examples, or one file of statistics"),
        (["suggest-thresholds", "--schema", "SCHEMA"], "expected files of statistics, or --live"),
        (["infer", "DATA", "-o", "x.yaml"], "its form is not known by its name"),
    ],
)
def test_what_is_typed_wrongly_is_told(
    arguments: list[str], words: str, data: Path, schema: Path
) -> None:
    places = {"DATA": data, "SCHEMA": schema}
    done = serving("schema", *[places.get(each, each) for each in arguments])
    assert done.returncode == 2
    assert words in done.stderr


def _window(chance: Any, mean: float, count: int = 400) -> Any:
    sketch = DatasetSketch()
    sketch.add({"x": chance.normal(mean, size=count)})
    made = messages.DatasetFeatureStatisticsList()
    made.datasets.append(sketch.message("inputs"))
    return made


_ASKED: list[str] = []


class _Gateway(BaseHTTPRequestHandler):
    """The two calls of an admin port that are asked here."""

    def do_GET(self) -> None:
        _ASKED.append(self.path)
        chance = np.random.default_rng(len(_ASKED))
        body = '{"name": "m", "default": 3}'
        status = 200
        if "/versions/3/statistics?window=minute" in self.path:
            # Windows of two seconds.
            at = float(self.path.partition("&at=")[2] or 1e9) // 2 * 2
            body = f'{{"start": {at}, "end": {at + 2}, {to_json(_window(chance, 0.0))[1:]}'
        elif "/versions/3/statistics" in self.path:
            body = f'{{"start": {len(_ASKED)}, {to_json(_window(chance, 0.0))[1:]}'
        elif "/versions/" in self.path:
            status, body = 404, '{"error": "nothing is known of it yet"}'
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def admin() -> Iterator[str]:
    _ASKED.clear()
    with HTTPServer(("127.0.0.1", 0), _Gateway) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_schema_is_inferred_of_what_is_served(admin: str) -> None:
    done = serving("schema", "infer", "--live", "m", "--window", "hour", "--admin-url", admin)
    assert 'name: "x"' in done.stdout
    assert _ASKED == [
        "/api/v1/models/m",
        "/api/v1/models/m/versions/3/statistics?window=hour",
    ]
    done = serving("schema", "infer", "--live", "m/4", "--admin-url", admin)
    assert done.returncode == 1
    assert "nothing is known of it yet" in done.stderr


def test_thresholds_are_suggested_of_past_hours(admin: str, tmp_path: Path) -> None:
    schema = tmp_path / "schema.pbtxt"
    schema.write_text('feature { name: "x" type: FLOAT }')
    ask = ("schema", "suggest-thresholds", "--schema", schema, "--admin-url", admin, "--last", 10)
    done = serving(*ask, "--live", "m/3")
    assert done.returncode == 0
    hours = [path for path in _ASKED if "window=hour&at=" in path]
    assert len(hours) == 10
    assert hours == sorted(hours)
    assert " 9 " in done.stdout
    _ASKED.clear()
    assert serving(*ask, "--live", "m").returncode == 0
    # All of the version that answered when it began.
    assert [path for path in _ASKED if "/versions/" not in path] == ["/api/v1/models/m"]
    nothing = serving(*ask, "--live", "m/4")
    assert nothing.returncode == 1
    assert "none of the last 10 hours: nothing is known of it yet" in nothing.stderr
    assert serving(*ask, "--live", "m/3", "--window", "year").returncode == 2


def test_short_windows_are_as_long_as_the_gateway_makes_them(admin: str, tmp_path: Path) -> None:
    schema = tmp_path / "schema.pbtxt"
    schema.write_text('feature { name: "x" type: FLOAT }')
    ask = ("schema", "suggest-thresholds", "--schema", schema, "--admin-url", admin, "--last", 9)
    done = serving(*ask, "--live", "m/3", "--window", "minute")
    assert done.returncode == 0, done.stderr
    asked = [float(path.partition("&at=")[2]) for path in _ASKED if "&at=" in path]
    assert np.diff(asked) == pytest.approx([2.0] * 8, abs=0.01)
    assert " 8 " in done.stdout
    nothing = serving(*ask, "--live", "m/4", "--window", "minute")
    assert nothing.returncode == 1
    assert "none of the last 9 minutes: nothing is known of it yet" in nothing.stderr
