"""A feature's sketch against numpy on the same values, and what hostile values do."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as some

from serving.statistics.features import FeatureType
from serving.statistics.numbers import Extremes
from serving.statistics.sizes import GRADES, MOST_TEXT_BYTES
from serving.statistics.sketch import FeatureSketch

FLOATS = some.arrays(np.float64, st.integers(0, 40), elements=st.floats())
INTEGERS = some.arrays(np.int64, st.integers(0, 40))
TEXTS = st.lists(st.text(max_size=6), max_size=40)


def sketched(kind: FeatureType, batches: list[Any]) -> FeatureSketch:
    made = FeatureSketch(kind)
    for batch in batches:
        made.add(batch)
    return made


def objects(values: list[Any]) -> Any:
    made = np.empty(len(values), object)
    made[:] = values
    return made


def custom(message: Any) -> dict[str, Any]:
    return {one.name: one.num for one in message.custom_stats}


def close(found: float, right: float, scale: float) -> bool:
    return abs(found - right) <= 1e-9 * scale + 1e-300


def _median(numbers: Any) -> float:
    """numpy's, where the two in the middle may be too large to be added."""
    low, high = (np.quantile(numbers, 0.5, method=way) for way in ("lower", "higher"))
    return float(low / 2 + high / 2)


def test_nan_that_signals_is_nan_and_warns_of_nothing() -> None:
    extremes = Extremes()
    numbers = np.array([0x7F800001, 0xFF800001, 0x3F800000], np.uint32).view(np.float32)
    assert extremes.add(numbers).tolist() == [1.0]
    assert extremes.nans == 2


@settings(max_examples=40, deadline=None)
@given(st.lists(FLOATS, max_size=4))
def test_numbers_are_numpys(batches: list[Any]) -> None:
    whole = np.concatenate([*batches, np.empty(0)])
    finite = whole[np.isfinite(whole)]
    given_ = whole[~np.isnan(whole)]

    message = sketched(FeatureType.FLOAT, batches).message("x")

    numeric, common = message.num_stats, message.num_stats.common_stats
    assert common.num_non_missing == common.tot_num_values == given_.size
    assert common.num_missing == numeric.histograms[0].num_nan == whole.size - given_.size
    assert numeric.num_zeros == np.count_nonzero(finite == 0)
    assert custom(message).get("infinities", 0) == np.isinf(whole).sum()
    if given_.size:
        assert (numeric.min, numeric.max) == (given_.min(), given_.max())
    if finite.size:
        assert close(numeric.median, _median(finite), float(np.abs(finite).max()))
        # By fractions of the largest, so that numpy, too, can square them.
        scale = float(np.abs(finite).max()) or 1.0
        assert close(numeric.mean, float((finite / scale).mean()) * scale, scale)
        assert close(numeric.std_dev, float((finite / scale).std()) * scale, scale)
        for histogram in numeric.histograms:
            assert histogram.buckets[0].low_value == finite.min()
            assert histogram.buckets[-1].high_value == finite.max()
            total = sum(bucket.sample_count for bucket in histogram.buckets)
            assert total == pytest.approx(finite.size)


@settings(max_examples=40, deadline=None)
@given(st.lists(INTEGERS, max_size=4))
def test_integers_are_exact_to_the_last_bit(batches: list[Any]) -> None:
    whole = np.concatenate([*batches, np.empty(0, np.int64)])

    sketch = sketched(FeatureType.INT, batches)

    if whole.size:
        assert sketch.extremes.least == int(whole.min())
        assert sketch.extremes.most == int(whole.max())
    assert sketch.frequencies is not None
    values, counts = np.unique(whole, return_counts=True)
    assert sketch.frequencies.unique == values.size
    assert dict(sketch.frequencies.top(1000)) == dict(
        zip(map(str, values.tolist()), counts.tolist(), strict=True)
    )


@settings(max_examples=40, deadline=None)
@given(TEXTS, TEXTS)
def test_texts_are_counted(one: list[str], other: list[str]) -> None:
    message = sketched(FeatureType.STRING, [objects(one), objects(other)]).message("x")

    there = [text for text in one + other if text]
    assert message.string_stats.common_stats.num_missing == len(one + other) - len(there)
    assert message.string_stats.unique == len(set(there))
    top = {
        bucket.label: bucket.sample_count for bucket in message.string_stats.rank_histogram.buckets
    }
    assert top == {text: there.count(text) for text in there}
    if there:
        lengths = [len(text.encode()) for text in there]
        assert message.string_stats.avg_length == pytest.approx(np.mean(lengths), rel=1e-6)
        assert custom(message)["max_length"] == max(lengths)


@settings(max_examples=30, deadline=None)
@given(FLOATS, FLOATS)
def test_two_merged_are_as_one_that_saw_both(one: Any, other: Any) -> None:
    both = sketched(FeatureType.FLOAT, [one, other])

    merged = sketched(FeatureType.FLOAT, [one])
    merged.merge(sketched(FeatureType.FLOAT, [other]))

    assert merged.message("x") == both.message("x")


@pytest.mark.parametrize("kind", FeatureType)
@settings(max_examples=10, deadline=None)
@given(values=st.lists(st.integers(-5, 5), max_size=30))
def test_bytes_bring_back_the_same(kind: FeatureType, values: list[int]) -> None:
    sketch = sketched(kind, [objects(values)])

    again = FeatureSketch.from_bytes(sketch.to_bytes())

    assert again.message("x", 100) == sketch.message("x", 100)
    again.add(objects([1]))
    assert again.rows == sketch.rows + 1


def test_damaged_bytes_are_told() -> None:
    data = sketched(FeatureType.INT, [np.arange(500)]).to_bytes()

    for at in range(0, len(data), 97):
        with pytest.raises(ValueError, match="statistics"):
            FeatureSketch.from_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with pytest.raises(ValueError, match="statistics"):
        FeatureSketch.from_bytes(data[:-20])


def test_quantiles_are_within_the_sketchs_stated_error() -> None:
    """Of many numbers; its bound is passed once in a hundred times, half as much more never
    here."""
    numbers = np.random.default_rng(7).lognormal(size=300_000)

    sketch = sketched(FeatureType.FLOAT, np.split(numbers, 100))

    assert sketch.quantiles is not None
    error = 1.5 * sketch.quantiles.error
    ranks = [step / 20 for step in range(1, 20)]
    ordered = np.sort(numbers)
    for rank, found in zip(ranks, sketch.quantiles.at(ranks), strict=True):
        assert abs(np.searchsorted(ordered, found) / numbers.size - rank) < error
    standard, _ = sketch.message("x").num_stats.histograms
    ends = [standard.buckets[0].low_value, *(one.high_value for one in standard.buckets)]
    right, _ = np.histogram(numbers, ends)
    for bucket, count in zip(standard.buckets, right, strict=True):
        assert abs(bucket.sample_count - count) < 2 * error * numbers.size
    assert sum(one.sample_count for one in standard.buckets) == numbers.size
    assert custom(sketch.message("x"))["quantile_rank_error"] == pytest.approx(0.0133, abs=1e-4)


@pytest.mark.parametrize("size", [1e308, 1.7e308, 1e-308, 5e-324, 1e200])
def test_mean_and_deviation_hold_for_numbers_whose_squares_no_float_holds(size: float) -> None:
    sketch = sketched(FeatureType.FLOAT, [np.asarray([size, -size]), np.asarray([size, size])])

    mean, deviation = sketch.moments.result()

    assert mean == pytest.approx(size / 2, rel=1e-12, abs=5e-324)
    assert deviation == pytest.approx(size * math.sqrt(0.75), rel=1e-12, abs=5e-324)
    standard, quantiles = sketch.message("x").num_stats.histograms
    for one in (*standard.buckets, *quantiles.buckets):
        assert math.isfinite(one.low_value)
        assert math.isfinite(one.high_value)


def test_large_numbers_beside_small_ones_leave_them_their_place() -> None:
    sketch = sketched(FeatureType.FLOAT, [np.full(1000, 1e-5), np.asarray([1e300]), np.ones(3)])

    assert sketch.message("x").num_stats.max == 1e300
    assert sketch.message("x").num_stats.median == 1e-5


def test_a_hundred_thousand_texts_stay_within_the_bound() -> None:
    texts = [f"{number:064d}" for number in range(100_000)]
    for sizes in (GRADES[1], GRADES[4], GRADES[5]):
        sketch = FeatureSketch(FeatureType.STRING, sizes)
        for at in range(0, len(texts), 10_000):
            sketch.add(objects(texts[at : at + 10_000]))
        assert sketch.nbytes <= sizes.most_bytes(FeatureType.STRING)
        error = 3 * 1.04 / math.sqrt(1 << sizes.distinct)
        assert sketch.message("x").string_stats.unique == pytest.approx(100_000, rel=error)


def test_frequent_texts_are_found_among_many_others() -> None:
    texts = [f"one {number}" for number in range(30_000)]
    texts[::10] = ["often"] * 3000

    message = sketched(FeatureType.STRING, [objects(texts)]).message("x")

    first = message.string_stats.top_values[0]
    assert first.value == "often"
    assert 3000 <= first.frequency <= 3000 + 0.014 * 30_000


def test_huge_texts_are_cut_and_counted() -> None:
    texts = ["é" * 1_000_000, "é" * 1_000_000 + "x", "short"]

    message = sketched(FeatureType.STRING, [objects(texts)]).message("x")

    values = {one.value for one in message.string_stats.top_values}
    assert values == {"é" * (MOST_TEXT_BYTES // 2), "short"}
    assert custom(message)["cut_values"] == 2
    assert message.string_stats.unique == 3


@pytest.mark.parametrize("bad", ["\ud800", "a\0b", "\U0001f600" * 40])
def test_any_text_is_taken(bad: str) -> None:
    sketch = sketched(FeatureType.STRING, [objects([bad, bad])])

    again = FeatureSketch.from_bytes(sketch.to_bytes())

    assert again.message("x").SerializeToString() == sketch.message("x").SerializeToString()
    assert again.message("x").string_stats.unique == 1


def test_what_is_not_utf8_is_counted() -> None:
    message = sketched(FeatureType.STRING, [objects([b"\xff\xfe", b"good"])]).message("x")

    assert message.string_stats.invalid_utf8_count == 1
    assert message.string_stats.common_stats.num_non_missing == 2


def test_rows_of_lists_that_differ_in_length() -> None:
    rows = [[1.0, 2.0], [], None, [3.0], [math.nan], [[1.0], [2.0, 3.0]]]

    message = sketched(FeatureType.FLOAT, [objects(rows)]).message("x", 10)

    common = message.num_stats.common_stats
    assert (common.num_non_missing, common.num_missing) == (4, 6)
    assert (common.min_num_values, common.max_num_values, common.tot_num_values) == (0, 3, 6)
    shapes = next(one for one in message.custom_stats if one.name == "shapes").rank_histogram
    assert {one.label for one in shapes.buckets} == {"2", "0", "1", "2x?"}


def test_more_shapes_than_are_told_apart_are_counted_together() -> None:
    rows = [[1.0] * length for length in range(30)]

    message = sketched(FeatureType.FLOAT, [objects(rows)]).message("x")

    shapes = next(one for one in message.custom_stats if one.name == "shapes").rank_histogram
    assert shapes.buckets[-1].label == "other"
    assert sum(one.sample_count for one in shapes.buckets) == 30


def test_a_tensor_is_one_feature_whose_row_misses_it_where_all_is_nan() -> None:
    images = np.ones((4, 2, 3), np.float32)
    images[1] = np.nan
    images[2, 0, 0] = np.nan

    message = sketched(FeatureType.FLOAT, [images]).message("x")

    common = message.num_stats.common_stats
    assert (common.num_non_missing, common.num_missing, common.tot_num_values) == (3, 1, 18)
    assert message.num_stats.histograms[0].num_nan == 7


def test_values_of_another_type_are_counted_and_left_out() -> None:
    values: list[Any] = [1, "2", "three", {"four": 4}, None, b"5", 10**400, True]

    message = sketched(FeatureType.FLOAT, [objects(values)]).message("x")

    assert custom(message)["mistyped"] == 2
    assert custom(message)["infinities"] == 1
    assert message.num_stats.common_stats.num_missing == 1
    assert message.num_stats.max == math.inf


def test_integers_that_get_a_fraction_become_numbers_with_one() -> None:
    sketch = sketched(FeatureType.INT, [np.asarray([1, 2]), np.asarray([math.nan, 3.0])])
    assert str(sketch.type) == "INT"

    sketch.add(np.asarray([0.5]))

    assert str(sketch.type) == "FLOAT"
    assert sketch.message("x").num_stats.min == 0.5
    other = sketched(FeatureType.INT, [np.asarray([7])])
    other.merge(sketch)
    assert other.message("x").num_stats.max == 7
    assert other.type is FeatureType.FLOAT


def test_types_that_do_not_go_together_are_not_merged() -> None:
    with pytest.raises(ValueError, match="of INT and of STRING"):
        FeatureSketch("INT").merge(FeatureSketch("STRING"))


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int8", "uint64", "float16", "float32", "bfloat16"]
)
def test_every_datatype_is_taken(dtype: str) -> None:
    import ml_dtypes

    numbers = np.asarray([0, 1, 1]).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    kind = FeatureType.FLOAT if "float" in dtype else FeatureType.INT

    message = sketched(kind, [numbers]).message("x")

    assert message.num_stats.mean == pytest.approx(2 / 3)
    assert message.num_stats.num_zeros == 1


def test_a_categorical_integer_has_what_tfx_gives_texts() -> None:
    message = sketched(FeatureType.INT, [np.asarray([3, 3, 5])]).message("x", categorical=True)

    assert [(one.value, one.frequency) for one in message.string_stats.top_values] == [
        ("3", 2),
        ("5", 1),
    ]
    assert message.string_stats.unique == 2


def test_bytes_have_lengths_and_no_values() -> None:
    message = sketched(FeatureType.BYTES, [objects([b"\xff\x00", b"\xff\x00", b"12345"])]).message(
        "x"
    )

    assert message.bytes_stats.unique == 2
    assert message.bytes_stats.max_num_bytes_int == 5
    assert message.bytes_stats.avg_num_bytes == 3
