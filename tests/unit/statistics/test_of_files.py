"""Statistics of files: the same of each form, in pieces, sliced and sampled; files that lie."""

from __future__ import annotations

import json
import re
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from serving.datasets import files
from serving.datasets.pieces import Reading
from serving.errors import ConfigError
from serving.statistics import of_files
from serving.statistics.features import FeatureType
from serving.statistics.layout import Layout
from serving.statistics.metadata import messages
from serving.statistics.of_files import DataError, statistics_of

ROWS = 20_000
RNG = np.random.default_rng(11)
AGE = RNG.integers(0, 99, ROWS)
INCOME = RNG.lognormal(size=ROWS)
CITY = RNG.choice(["rome", "oslo", ""], ROWS)


def write(folder: Path, suffix: str) -> Path:
    path = folder / f"data{suffix}"
    if suffix == ".parquet":
        columns = {"age": AGE, "income": INCOME, "city": CITY}
        parquet.write_table(pa.table(columns), path, row_group_size=7000)
    elif suffix == ".npz":
        np.savez(path, age=AGE, income=INCOME, city=CITY)
    else:
        rows = zip(AGE.tolist(), INCOME.tolist(), CITY.tolist(), strict=True)
        if suffix == ".csv":
            lines = ["age,income,city", *(",".join(map(str, row)) for row in rows)]
        else:
            lines = [
                json.dumps(dict(zip(("age", "income", "city"), row, strict=True))) for row in rows
            ]
        path.write_text("\n".join(lines) + "\n")
    return path


def features(message: Any) -> dict[str, Any]:
    return {one.path.step[0]: one for one in message.datasets[0].features}


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl", ".npz"])
def test_each_form_has_numpys_statistics(suffix: str, tmp_path: Path) -> None:
    shares: list[float] = []
    path = write(tmp_path, suffix)

    found = statistics_of([path], heard=lambda file, share, rows: shares.append(share))

    assert (found.rows, found.used, found.notes) == (ROWS, ROWS, ())
    assert found.message.datasets[0].name == "All Examples"
    assert found.message.datasets[0].num_examples == ROWS
    age, income, city = features(found.message).values()
    assert (age.type, income.type, city.type) == (0, 1, 2)
    assert (age.num_stats.min, age.num_stats.max) == (AGE.min(), AGE.max())
    assert age.num_stats.num_zeros == np.count_nonzero(AGE == 0)
    assert income.num_stats.mean == pytest.approx(INCOME.mean(), rel=1e-12)
    assert income.num_stats.std_dev == pytest.approx(INCOME.std(), rel=1e-12)
    assert city.string_stats.common_stats.num_missing == np.count_nonzero(CITY == "")
    top = {one.value: one.frequency for one in city.string_stats.top_values}
    assert top == {name: np.count_nonzero(name == CITY) for name in ("rome", "oslo")}
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_several_files_are_one_set(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,a\n2,b\n")
    (tmp_path / "b.jsonl").write_text('{"x": 3, "z": true}\n')

    found = statistics_of([tmp_path / "a.csv", tmp_path / "b.jsonl"])

    by = features(found.message)
    assert found.message.datasets[0].num_examples == 3
    assert by["x"].num_stats.mean == 2
    assert by["y"].string_stats.common_stats.num_missing == 1
    assert by["z"].num_stats.common_stats.num_missing == 2


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "", "+2"], FeatureType.INT),
        (["1", "2.5"], FeatureType.FLOAT),
        (["1", "nan"], FeatureType.FLOAT),
        (["1e5", "inf"], FeatureType.FLOAT),
        (["1", "2x"], FeatureType.STRING),
        (["1_000"], FeatureType.STRING),
        (["99999999999999999999"], FeatureType.FLOAT),
        (["", ""], FeatureType.STRING),
        (["0" * 70], FeatureType.FLOAT),
        (["\u0661"], FeatureType.STRING),
    ],
)
def test_a_column_of_csv_is_numbers_where_each_text_is_one(
    texts: list[str], kind: FeatureType
) -> None:
    layout = Layout()
    # A piece of each, as a large file has them.
    for text in texts:
        layout.see({"x": np.asarray([text], object)}, texts_are_texts=False)

    assert layout.types() == {"x": kind}
    whole = Layout()
    whole.see({"x": np.asarray(texts, object)}, texts_are_texts=False)
    assert whole.types() == {"x": kind}


def test_texts_of_numbers_are_texts_where_the_form_says_what_is_one(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"zip": "01234"}\n{"zip": "99999"}\n')

    zip_code = features(statistics_of([tmp_path / "a.jsonl"]).message)["zip"]

    assert [one.value for one in zip_code.string_stats.top_values] == ["01234", "99999"]


def test_lists_of_one_length_are_columns_and_others_are_not(tmp_path: Path) -> None:
    lines = [
        {"fixed": [at, at + 0.5], "ragged": [1] * at, "nested": [[1, 2], [3]], "late": None}
        for at in range(5)
    ]
    lines[4] |= {"late": [7, 8], "fixed": None}
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))

    by = features(statistics_of([tmp_path / "a.jsonl"]).message)

    assert list(by) == ["fixed[0]", "fixed[1]", "ragged", "nested", "late[0]", "late[1]"]
    assert by["fixed[1]"].num_stats.common_stats.num_missing == 1
    assert by["ragged"].num_stats.common_stats.max_num_values == 4
    assert by["ragged"].num_stats.common_stats.num_non_missing == 5
    assert by["nested"].num_stats.common_stats.tot_num_values == 15
    assert by["late[1]"].num_stats.mean == 8


def test_arrays_of_rank_2_are_columns_as_a_models_tensors_are(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones((3, 2)), image=np.zeros((3, 2, 2)))

    assert list(features(statistics_of([tmp_path / "a.npz"]).message)) == ["x[0]", "x[1]", "image"]


def test_a_schemas_types_go_before_what_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("zip,grade,size\n01234,1,2\n99999,2,x\n")
    schema = messages.Schema()
    schema.feature.add(name="zip", type=1)
    schema.feature.add(name="grade", type=2).int_domain.is_categorical = True
    schema.feature.add(name="size", type=2)

    by = features(statistics_of([tmp_path / "a.csv"], schema=schema).message)

    assert {one.value for one in by["zip"].string_stats.top_values} == {"01234", "99999"}
    assert by["grade"].type == 0
    assert by["grade"].string_stats.unique == 2
    assert {one.name: one.num for one in by["size"].custom_stats}["mistyped"] == 1


def test_slices_have_a_set_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_files, "MOST_SLICES", 2)
    (tmp_path / "a.csv").write_text("c,x\na,1\nb,2\na,3\nd,4\n,5\n")
    (tmp_path / "without.csv").write_text("x\n6\n")

    found = statistics_of([tmp_path / "a.csv", tmp_path / "without.csv"], slice_by="c")

    sets = {one.name: one for one in found.message.datasets}
    assert list(sets) == ["All Examples", "c_a", "c_b"]
    assert sets["c_a"].num_examples == 2
    assert sets["c_a"].features[1].num_stats.mean == 2
    assert found.notes == ("'c' has more than 2 values: 1 rows are in no slice",)
    with pytest.raises(DataError, match="no column 'y' to slice by; there are 'c', 'x'"):
        statistics_of([tmp_path / "a.csv"], slice_by="y")


def test_a_sample_is_the_same_each_time(tmp_path: Path) -> None:
    path = write(tmp_path, ".npz")

    one, other = (statistics_of([path], sample=0.1) for _ in range(2))

    assert one.rows == ROWS
    assert 0.08 * ROWS < one.used < 0.12 * ROWS
    means = [found.message.datasets[0].features[1].num_stats.mean for found in (one, other)]
    assert means[0] == means[1] != INCOME.mean()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.parquet", b"PAR1 and no more", "not a Parquet file"),
        ("a.csv", b"a,b\n1\n", "line 2: 1 values, and the head names 2"),
        ("a.csv", b"\xff\xfe", "not UTF-8"),
        ("a.jsonl", b"{\n", "line 1: it is not JSON"),
        ("a.npz", b"PK", "not a numpy file"),
        ("a.txt", b"", "expected .npz, .parquet, .jsonl, .csv"),
    ],
)
def test_a_file_that_lies_is_told_with_its_name(
    name: str, content: bytes, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        statistics_of([tmp_path / name])
    assert name in str(caught.value)


def test_a_truncated_parquet_file_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, ".parquet")
    whole = path.read_bytes()
    for end in (len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:end])
        with pytest.raises(DataError, match="not a Parquet file"):
            statistics_of([path])


def test_a_piece_that_no_memory_is_there_for_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*arguments: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(files, "pieces", short)
    with pytest.raises(DataError, match=r"a\.csv: a piece of it takes more memory"):
        statistics_of([tmp_path / "a.csv"])


def test_what_is_missing_to_read_parquet_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, ".parquet")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"'pyarrow': pip install 'serving\[parquet\]'"):
        statistics_of([path])


def test_what_is_missing_for_statistics_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    monkeypatch.setitem(__import__("sys").modules, "datasketches", None)
    with pytest.raises(ConfigError, match=r"pip install 'serving\[statistics\]'"):
        statistics_of([tmp_path / "a.csv"])


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pa.array([1, 2], pa.timestamp("ns")), "1970-01-01 00:00:00.000000001 (1)"),
        (pa.array([2**50] * 2, pa.timestamp("s")), ""),
        (pa.array([2**31 - 1] * 2, pa.date32()), ""),
        (pa.array([7, 2**62], pa.duration("ns")), None),
    ],
)
def test_times_that_python_has_no_value_for_are_read(
    tmp_path: Path, column: Any, words: str | None
) -> None:
    parquet.write_table(pa.table({"at": column}), tmp_path / "data.parquet")

    found = features(statistics_of([tmp_path / "data.parquet"]).message)["at"]

    if words is None:
        assert (found.num_stats.min, found.num_stats.max) == (7, 2**62)
    else:
        top = [f"{one.value} ({one.frequency:.0f})" for one in found.string_stats.top_values]
        assert found.string_stats.common_stats.num_non_missing == 2
        assert not words or words in top


def test_texts_that_are_none_are_told(tmp_path: Path) -> None:
    """Not UTF-8 in Parquet, no Unicode in an array, half of a pair in JSON."""
    bare = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")]
    )
    parquet.write_table(pa.table({"a": bare}), tmp_path / "data.parquet")
    odd = np.zeros(2, "U1")
    odd.view(np.uint32)[:] = 0x7FFFFFFF
    np.savez(tmp_path / "data.npz", a=odd)
    (tmp_path / "data.jsonl").write_text('{"\\ud800": 1}\n')

    said = {
        ".parquet": "a text in it is not UTF-8",
        ".npz": "array 'a' holds a text that is none",
        ".jsonl": "column '\\ud800': the name is no text",
    }
    for suffix, words in said.items():
        path = tmp_path / f"data{suffix}"
        with pytest.raises(DataError, match=re.escape(f"{path}: {words}")):
            statistics_of([path])


def test_a_slice_of_half_a_pair_has_a_name(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text('{"a": "\\ud800x"}\n')
    found = statistics_of([tmp_path / "data.jsonl"], slice_by="a").message
    assert [one.name for one in found.datasets] == ["All Examples", "a_?x"]


def test_more_slices_than_there_is_place_for_cost_no_time(tmp_path: Path) -> None:
    """A column of numbers of customers, say: what is in no slice is counted only."""
    path = tmp_path / "data.csv"
    path.write_text("id,v\n" + "".join(f"{number},1\n" for number in range(40_000)))
    before = time.process_time()
    whole = statistics_of([path])
    plain = time.process_time() - before

    sliced = statistics_of([path], slice_by="id")

    # Each value looked for among all rows took thirty times as long.
    assert time.process_time() - before - plain < 10 * plain
    assert sliced.notes == ("'id' has more than 64 values: 39,936 rows are in no slice",)
    assert whole.rows == sliced.rows == 40_000


def test_texts_of_nan_in_csv_are_missing_as_nan_elsewhere_is(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a\n1.5\nnan\n2.5\nNaN\n")
    np.savez(tmp_path / "data.npz", a=np.array([1.5, np.nan, 2.5, np.nan]))
    csv, npz = (statistics_of([tmp_path / f"data{one}"]).message for one in (".csv", ".npz"))
    common = features(csv)["a"].num_stats.common_stats
    assert (common.num_non_missing, common.num_missing) == (2, 2)
    assert csv == npz


def test_long_lists_of_one_value_come_few_at_a_time(tmp_path: Path) -> None:
    """They take next to nothing in the file."""
    offsets = pa.array(np.arange(0, 1001) * 10_000, pa.int32())
    lists = pa.ListArray.from_arrays(offsets, pa.array(np.zeros(10_000_000, np.int8)))
    path = tmp_path / "data.parquet"
    parquet.write_table(pa.table({"a": lists}), path)
    assert path.stat().st_size < 100_000
    piece = next(iter(files.pieces(path, Reading(most=None, loose=True))))
    assert len(piece["a"]) <= 105


def test_objects_that_share_no_name_come_few_at_a_time(tmp_path: Path) -> None:
    """Each takes a place in the columns of all others."""
    path = tmp_path / "data.jsonl"
    path.write_text("".join(f'{{"x{at}": {at}}}\n' for at in range(3000)))
    found = list(files.pieces(path, Reading(rows=16_384, most=None, loose=True)))
    assert max(len(piece) * len(next(iter(piece.values()))) for piece in found) <= 1_000_000
    assert sum(len(piece) for piece in found) == 3000


def _repeated(texts: list[str], rows: int) -> Any:
    """As Parquet has it in next to no bytes."""
    places = pa.array(np.arange(rows) % len(texts), pa.int32())
    return pa.DictionaryArray.from_arrays(places, pa.array(texts))


def _peak_of(path: Path) -> int:
    """The most memory of Python's that its statistics take."""
    tracemalloc.start()
    try:
        statistics_of([path])
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_fault_114_a_long_text_of_many_rows_is_made_once(tmp_path: Path) -> None:
    """300 bytes took 28 seconds and gigabytes: as many texts as rows, each with a megabyte."""
    long = "a" * 1_000_000
    lists = pa.ListArray.from_arrays(pa.array(range(2001), pa.int32()), _repeated([long], 2000))
    pairs = pa.MapArray.from_arrays(
        pa.array(range(2001), pa.int32()), _repeated([long], 2000), _repeated(["b"], 2000)
    )
    columns = {
        "text": _repeated([long, "b"], 2000),
        "list": lists,
        "struct": pa.StructArray.from_arrays([_repeated([long], 2000)], ["a"]),
        "map": pairs,
    }
    path = tmp_path / "data.parquet"
    for name, values in columns.items():
        # What is no list is told as text, which is as long as it is: fewer rows of it.
        table = pa.table({name: values if name in ("text", "list") else values.slice(0, 20)})
        parquet.write_table(table, path, store_schema=False, compression="zstd")
        assert path.stat().st_size < 2000
        assert _peak_of(path) < 150_000_000, name
    parquet.write_table(pa.table({"text": columns["text"]}), path, store_schema=False)
    (found,) = features(statistics_of([path]).message).values()
    assert found.string_stats.unique == 2
    assert found.string_stats.avg_length == 500_000.5


@pytest.mark.parametrize("size", [1, 7, 64])
def test_texts_lists_structs_and_maps_come_as_arrow_has_them(tmp_path: Path, size: int) -> None:
    random = np.random.default_rng(16)
    words = ["", "a", "bc", None, "ä" * 40]
    rows = [
        {
            "text": words[random.integers(5)],
            "bytes": [b"\0", b"", None][random.integers(3)],
            "lists": [words[at] for at in random.integers(0, 5, random.integers(4))] or None,
            "deep": [[words[random.integers(5)]], [], None][: random.integers(4)],
            "struct": {"a": words[random.integers(5)], "b": 1} if random.integers(2) else None,
            "map": [("k", words[random.integers(5)])] * int(random.integers(3)),
        }
        for _ in range(200)
    ]
    kinds = pa.schema(
        {
            "text": pa.string(),
            "bytes": pa.binary(),
            "lists": pa.list_(pa.string()),
            "deep": pa.list_(pa.list_(pa.string())),
            "struct": pa.struct({"a": pa.string(), "b": pa.int64()}),
            "map": pa.map_(pa.string(), pa.string()),
        }
    )
    table = pa.Table.from_pylist(rows, kinds)
    parquet.write_table(table, tmp_path / "data.parquet", row_group_size=90)
    reading = Reading(rows=size, most=None, loose=True)
    pieces = list(files.pieces(tmp_path / "data.parquet", reading))
    for name in kinds.names:
        found = [_plain(one) for piece in pieces for one in piece[name]]
        assert found == [_plain(one) for one in table[name].to_pylist()], name


def _plain(value: Any) -> Any:
    """Lists all of one length become arrays."""
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(one) for one in value]
    return value


def test_texts_that_are_made_of_parts_of_others_come_few_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    texts = [f"{'a' * 300_000}{number:04}" for number in range(400)]
    options = {"use_dictionary": False, "column_encoding": {"a": "DELTA_BYTE_ARRAY"}}
    parquet.write_table(pa.table({"a": texts}), path, compression="zstd", **options)
    assert path.stat().st_size < 10_000
    sizes = [len(one["a"]) for one in files.pieces(path, Reading(rows=16_384, most=None))]
    assert sum(sizes) == 400
    assert max(sizes) <= 128
    short = [f"text {number}" for number in range(1000)]
    parquet.write_table(pa.table({"a": short}), path, **options)
    (piece,) = files.pieces(path, Reading(rows=16_384, most=None))
    assert piece["a"].tolist() == short


def test_bytes_of_one_length_come_few_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    bytes_ = pa.array([bytes(1_000_000)] * 100, pa.binary(1_000_000))
    parquet.write_table(pa.table({"a": bytes_}), path, compression="zstd")
    assert max(len(one["a"]) for one in files.pieces(path, Reading(most=None))) <= 16


def test_a_column_that_would_be_the_same_feature_as_a_place_of_a_list_is_told(
    tmp_path: Path,
) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"x": [1, 2], "x[1]": 3}\n')
    words = "column 'x[1]' and the place 1 of the lists of column 'x' would be one feature"
    with pytest.raises(DataError, match=re.escape(words)):
        statistics_of([path])
    path.write_text('{"x": [1, 2], "x[2]": 3}\n')
    assert features(statistics_of([path]).message).keys() == {"x[0]", "x[1]", "x[2]"}
