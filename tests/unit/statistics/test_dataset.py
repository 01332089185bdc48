"""Features of tensors and columns, and sketches of many of them in bounded memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from serving.statistics.dataset import MOST_BYTES, DatasetSketch
from serving.statistics.features import FeatureType, columns_of, feature_type, of_tensors


def objects(values: list[Any]) -> Any:
    made = np.empty(len(values), object)
    made[:] = values
    return made


@pytest.mark.parametrize(
    ("array", "shape", "names"),
    [
        (np.zeros((5, 2)), None, ["x[0]", "x[1]"]),
        (np.zeros((5, 2)), (-1, 2), ["x[0]", "x[1]"]),
        (np.zeros((5, 1)), None, ["x[0]"]),
        # A second axis of any size: no columns.
        (np.zeros((5, 2)), (-1, -1), ["x"]),
        (np.zeros((5, 257)), None, ["x"]),
        (np.zeros((5, 0)), None, ["x"]),
        (np.zeros(5), None, ["x"]),
        (np.zeros((5, 2, 2)), None, ["x"]),
        (np.zeros(()), None, ["x"]),
    ],
)
def test_features_of_a_tensor(array: Any, shape: Any, names: list[str]) -> None:
    assert list(columns_of("x", array, shape)) == names


def test_named_columns_keep_their_names() -> None:
    found = of_tensors({"x": np.asarray([[1, 2]]), "y": np.zeros(1)}, names={"x": ["a", "b"]})

    assert {name: array.tolist() for name, array in found.items()} == {"a": [1], "b": [2], "y": [0]}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([None, 1, 2], FeatureType.INT),
        ([1, 2.5, None], FeatureType.FLOAT),
        ([1, 2.5, "a"], FeatureType.STRING),
        ([[1, 2], [3]], FeatureType.INT),
        ([b"a"], FeatureType.STRING),
        ([None], FeatureType.STRING),
    ],
)
def test_a_columns_type_is_told_by_its_values(values: list[Any], kind: FeatureType) -> None:
    assert feature_type(objects(values)) is kind


def test_a_feature_that_comes_late_or_goes_is_missing_where_it_is_not() -> None:
    sketch = DatasetSketch()
    sketch.add({"a": np.arange(3)})
    sketch.add({"a": np.arange(2), "b": objects(["x", ""])})
    sketch.add({"b": objects(["y"])})

    message = sketch.message("live")

    assert (message.name, message.num_examples) == ("live", 6)
    first, second = message.features
    assert first.path.step == ["a"]
    assert first.num_stats.common_stats.num_missing == 1
    assert second.string_stats.common_stats.num_missing == 4


@pytest.mark.parametrize("kind", ["float", "int", "text"])
def test_256_columns_of_anything_stay_within_a_mebibyte(kind: str) -> None:
    rng = np.random.default_rng(3)
    sketch = DatasetSketch(most_bytes=MOST_BYTES)
    for _ in range(2):
        numbers = rng.integers(-(2**62), 2**62, (1000, 256))
        if kind == "float":
            sketch.add(of_tensors({"x": rng.normal(size=(5000, 256))}))
        elif kind == "int":
            sketch.add(of_tensors({"x": numbers}))
        else:
            texts = np.char.add("x" * 60, numbers[:300].astype(str)).astype(object)
            sketch.add(of_tensors({"x": texts}))
    assert len(sketch.features) == 256
    assert sketch.left_out == 0
    assert sketch.nbytes <= MOST_BYTES
    assert len(sketch.to_bytes()) <= MOST_BYTES


def test_few_features_get_finer_sketches_than_many() -> None:
    few, many = DatasetSketch(), DatasetSketch()
    few.add(of_tensors({"x": np.zeros((1, 4))}))
    many.add(of_tensors({"x": np.zeros((1, 256))}))

    assert few.features["x[0]"].sizes.quantiles > many.features["x[0]"].sizes.quantiles


def test_features_beyond_the_bound_are_left_out_and_counted() -> None:
    by_number, by_bytes = DatasetSketch(max_features=10), DatasetSketch(most_bytes=40_000)
    columns = {f"c{at}": np.arange(3) for at in range(100)}

    by_number.add(columns)
    for name, values in columns.items():
        by_bytes.add({name: values})

    assert list(by_number.features) == [f"c{at}" for at in range(10)]
    assert by_number.left_out == 90
    assert 1 < len(by_bytes.features) < 100
    assert by_bytes.left_out == 100 - len(by_bytes.features)
    assert by_bytes.nbytes <= 40_000


def test_windows_roll_up_to_what_one_would_have_seen() -> None:
    rng = np.random.default_rng(5)
    whole, hour = DatasetSketch(), DatasetSketch()
    for _ in range(6):
        minute = DatasetSketch()
        batch = {"x": rng.normal(size=20), "c": objects(rng.choice(["a", "b", ""], 20).tolist())}
        minute.add(batch)
        whole.add(batch)
        hour.merge(DatasetSketch.from_bytes(minute.to_bytes()))

    one, other = hour.message().features, whole.message().features
    for found, right in zip(one, other, strict=True):
        # Of means the last bits depend on the order.
        found.num_stats.mean = right.num_stats.mean = 0
        found.num_stats.std_dev = right.num_stats.std_dev = 0
        found.ClearField("num_stats") if found.type != 1 else None
        right.ClearField("num_stats") if right.type != 1 else None
    assert one == other


def test_sets_whose_types_differ_are_not_merged_in_part() -> None:
    one, other = DatasetSketch(), DatasetSketch()
    one.add({"a": np.arange(3), "b": objects(["x"] * 3)})
    other.add({"a": np.arange(2), "b": np.arange(2)})

    with pytest.raises(ValueError, match="'b' is STRING in one and INT in the other"):
        one.merge(other)

    assert one.examples == one.features["a"].rows == 3


def test_a_batch_of_one_example_without_an_axis() -> None:
    sketch = DatasetSketch()
    sketch.add(of_tensors({"x": np.asarray(2.5)}))

    message = sketch.message()

    assert message.num_examples == 1
    assert message.features[0].num_stats.mean == 2.5


def test_a_constant_shows_as_one() -> None:
    sketch = DatasetSketch()
    sketch.add({"x": np.full(50, math.pi)})

    numeric = sketch.message().features[0].num_stats

    assert numeric.min == numeric.max == numeric.median == math.pi
    assert numeric.std_dev == 0
    assert [one.sample_count for one in numeric.histograms[0].buckets] == [50]


def test_damaged_bytes_are_told() -> None:
    sketch = DatasetSketch()
    sketch.add({"x": np.arange(3)})
    for bad in (b"", b"nothing", sketch.to_bytes()[:-1]):
        with pytest.raises(ValueError, match="statistics"):
            DatasetSketch.from_bytes(bad)
