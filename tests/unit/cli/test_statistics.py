"""``serving stats`` and ``serving schema``, as a user meets them."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from serving import machine
from serving.cli import app
from serving.cli.output import UserError
from serving.cli.statistics_table import fitting
from serving.statistics import files
from serving.statistics.metadata import Kind, messages
from tests.unit import graphs

CSV = "age,city\n31,rome\n42,oslo\n,rome\n"
SCHEMA = """
feature {
  name: "age" type: INT
  presence { min_fraction: 1 }
  value_count { min: 1 max: 1 }
  int_domain { min: 0 max: 120 }
  skew_comparator { jensen_shannon_divergence { threshold: 0.1 } }
}
feature {
  name: "city" type: BYTES domain: "cities"
  drift_comparator { infinity_norm { threshold: 0.2 } }
}
string_domain { name: "cities" value: "rome" value: "oslo" }
"""


class Done(NamedTuple):
    stdout: str
    stderr: str
    returncode: int


def serving(*arguments: object) -> Done:
    """In this process; what ends a command as ``main`` tells it."""
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    if isinstance(done.exception, UserError):
        said = "".join(f"serving: {line}\n" for line in done.exception.lines)
        return Done(done.stdout, done.stderr + said, done.exception.code)
    return Done(done.stdout, done.stderr, done.exit_code)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.csv"
    path.write_text(CSV)
    return path


def test_statistics_are_a_table(data: Path) -> None:
    done = serving("stats", data)

    title, head, age, city = done.stdout.splitlines()
    assert title == "All Examples: 3 examples"
    assert head.split()[:4] == ["FEATURE", "TYPE", "COUNT", "MISSING"]
    assert age.split() == [
        "age",
        "INT",
        "2",
        "33.3%",
        "0",
        "31",
        "36.5",
        "5.5",
        "36.5",
        "42",
        "2",
        "31",
        "(1),",
        "42",
        "(1)",
    ]
    assert city.split()[:4] == ["city", "STRING", "3", "0"]
    assert "rome (2), oslo (1)" in city
    assert done.returncode == 0
    assert json.loads(serving("stats", data, "--json").stdout)["datasets"][0]["num_examples"] == "3"


@pytest.mark.parametrize("suffix", [".pb", ".pbtxt", ".json", ".tfrecord"])
def test_statistics_are_written_and_shown_in_each_form(data: Path, suffix: str) -> None:
    path = data.with_suffix(suffix)

    done = serving("stats", data, data, "-o", path)

    assert done.stdout == f"wrote {path}: 2 features of 6 examples\n"
    assert files.read(path, Kind.STATISTICS).datasets[0].num_examples == 6
    assert "rome (4)" in serving("stats", "show", path).stdout


def test_slices_and_a_schema(data: Path, tmp_path: Path) -> None:
    (tmp_path / "schema.pbtxt").write_text('feature { name: "age" type: BYTES }')

    done = serving("stats", data, "--slice", "city", "--schema", tmp_path / "schema.pbtxt")

    titles = [line for line in done.stdout.splitlines() if line.endswith("examples")]
    assert titles == ["All Examples: 3 examples", "city_rome: 2 examples", "city_oslo: 1 examples"]
    assert "age      STRING" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (("stats", "{data}", "-o", "{data}.txt"), "its form is not known by its name", 2),
        (("stats", "{data}", "-o", "/nowhere/x.pb"), "no such file or directory", 1),
        (("stats", "{data}", "--slice", "town"), "no column 'town' to slice by", 1),
        (("stats", "{data}", "--sample", "0"), "expected more than 0", 2),
        (("stats", "show", "{data}"), "its form is not known by its name", 1),
        (("stats", "none.csv"), "does not exist", 2),
        (("schema", "show", "{data}/.."), "there is no schema.pbtxt", 1),
    ],
)
def test_what_is_wrong_is_told(
    data: Path, arguments: tuple[str, ...], said: str, code: int
) -> None:
    data.with_suffix(".d").mkdir()
    given = [one.replace("{data}/..", str(data.with_suffix(".d"))) for one in arguments]

    done = serving(*(one.replace("{data}", str(data)) for one in given))

    assert said in done.stderr
    assert done.returncode == code


def test_a_schema_is_a_table(tmp_path: Path) -> None:
    path = tmp_path / "schema.pbtxt"
    path.write_text(SCHEMA)
    (tmp_path / "1").mkdir()

    done = serving("schema", "show", path)

    head, age, city = done.stdout.splitlines()
    assert head.split() == ["FEATURE", "TYPE", "PRESENCE", "VALUES", "DOMAIN", "SKEW", "DRIFT"]
    assert age.split() == ["age", "INT", "required", "1..1", "0..120", "JSD", "0.1", "-"]
    assert city.split() == ["city", "BYTES", "-", "-", "'rome',", "'oslo'", "-", "L-inf", "0.2"]
    # A version's folder without one has its model's.
    assert serving("schema", "show", tmp_path / "1").stdout == done.stdout
    assert (
        json.loads(serving("schema", "show", path, "--json").stdout)["feature"][0]["name"] == "age"
    )


def test_a_schema_that_is_wrong_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "schema.pbtxt"
    path.write_text('feature {\n  name: "age"\n  tpye: INT\n}')

    done = serving("schema", "show", path)

    words = f"{path}: line 3: Feature has no field 'tpye'; did you mean 'type'?"
    assert done.stderr == f"serving: {words}\n"
    assert done.returncode == 1


def test_fields_of_a_later_release_are_named(tmp_path: Path) -> None:
    path = tmp_path / "schema.pb"
    schema = messages.Schema()
    schema.feature.add(name="age")
    path.write_bytes(schema.SerializeToString() + b"\xba\x3e\x05later")

    done = serving("schema", "show", path)

    assert "fields of a later release are passed over: Schema.999" in done.stderr
    assert "age" in done.stdout


def test_a_narrow_terminal_has_the_columns_that_tell_most() -> None:
    headers = ("FEATURE", "TYPE", "COUNT", "ZEROS", "STD", "MEDIAN", "MAX", "TOP VALUES")
    rows = [("age", "INT", "200,000", "1.01%", 28.5, 49, 98, "4 (2165), 75 (2155), 35 (2139)")]

    everything = fitting(headers, rows, 0)
    wide, narrow = fitting(headers, rows, 75), fitting(headers, rows, 50)

    assert everything == wide == (list(headers), [list(rows[0])])
    assert narrow[0] == ["FEATURE", "TYPE", "COUNT", "MAX", "TOP VALUES"]
    assert narrow[1] == [["age", "INT", "200,000", 98, rows[0][-1]]]


def test_figures_that_none_can_have_are_a_table_too(tmp_path: Path) -> None:
    made = messages.DatasetFeatureStatisticsList()
    feature = made.datasets.add(num_examples=5).features.add(name="age", type=77)
    feature.num_stats.mean = float("nan")
    feature.custom_stats.add(name="unique", num=float("nan"))
    files.write(tmp_path / "odd.pb", made)

    done = serving("stats", "show", tmp_path / "odd.pb")

    assert done.returncode == 0
    assert done.stdout.splitlines()[2].split()[:2] == ["age", "77"]


@pytest.mark.parametrize("command", ["stats", "schema", "publish"])
def test_fault_114_a_row_of_millions_of_values_ends_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """All rows but one are empty: what pages say is small, and so is what a row has on average."""
    count = 40_000_000
    ends = np.concatenate([[0], np.full(16_384, count)]).astype(np.int32)
    lists = pa.ListArray.from_arrays(pa.array(ends), pa.array(np.zeros(count, np.int8)))
    data = tmp_path / "data.parquet"
    parquet.write_table(pa.table({"l": lists}), data, compression="zstd", store_schema=False)
    del lists
    assert data.stat().st_size < 10_000
    monkeypatch.setattr(machine, "usable_memory", lambda: 400 * 1024 * 1024)
    (tmp_path / "to").mkdir()
    (tmp_path / "model.onnx").write_bytes(graphs.softmax().SerializeToString())
    arguments: list[object] = {
        "stats": ["stats", data],
        "schema": ["schema", "infer", data],
        "publish": [
            *("publish", tmp_path / "model.onnx", "--to", tmp_path / "to", "--model", "m"),
            *("--training-data", data),
        ],
    }[command]
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    assert done.exit_code == 1
    told = f"{data}: a piece of it takes more memory than there is: this process may have"
    assert told in str(done.exception) + done.output
    assert resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY
