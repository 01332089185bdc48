"""What is an anomaly beyond what TFX says, and how it is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from serving.statistics.dataset import DatasetSketch
from serving.statistics.features import FeatureType
from serving.statistics.metadata import messages
from serving.validation.anomalies import rows, types
from serving.validation.check import AS_TFX, Options, compared, validate
from serving.validation.compare import Finding, Kind
from serving.validation.infer import infer
from tests.unit.validation.builders import bucketed, dataset, listed, numbers, schema, texts


def found(anomalies: Any) -> dict[str, list[str]]:
    """Feature -> types."""
    told: dict[str, list[str]] = {}
    for row in rows(anomalies):
        told.setdefault(row["feature"], []).append(row["type"])
    return told


def served(columns: dict[str, np.ndarray], count: int = 1000) -> Any:
    sketch = DatasetSketch()
    sketch.add(columns, rows=count)
    return sketch.message("inputs")


def test_a_feature_that_serving_never_sends_is_told_within_one_window() -> None:
    """Google Play's: the training data had it always, at serving it never came."""
    chance = np.random.default_rng(1)
    columns = {"installs": chance.normal(size=1000), "country": np.array(["DE", "FR"] * 500)}
    training = served(columns)
    wanted = infer(training)
    assert found(validate(served(columns), wanted, training)) == {}
    window = {"installs": columns["installs"][:20]}
    (row,) = rows(validate(served(window, 20), wanted, training))
    assert row["feature"] == "country"
    assert row["type"] == "SCHEMA_MISSING_COLUMN"
    assert row["severity"] == "ERROR"
    assert "20 examples" in row["description"]
    # It is there, and empty.
    window["country"] = np.array([""] * 20)
    assert found(validate(served(window, 20), wanted)) == {"country": ["FEATURE_TYPE_NOT_PRESENT"]}
    window["country"] = np.array(["DE"] * 10 + [""] * 10)
    told = found(validate(served(window, 20), wanted))
    assert told["country"][-1] == "FEATURE_TYPE_LOW_FRACTION_PRESENT"


def test_what_no_longer_varies_is_told_once_chance_does_not_explain_it() -> None:
    wanted = schema('feature { name: "f" type: FLOAT } feature { name: "t" type: BYTES }')
    chance = np.random.default_rng(2)
    varies = {"f": chance.normal(size=1000), "t": np.array(["a", "a", "b", "c"] * 250)}
    training = served(varies)
    constant = {"f": np.full(1000, 0.5), "t": np.full(1000, "a")}
    for count, told in ((1000, ["FEATURE_TYPE_LOW_UNIQUE"]), (3, [])):
        window = served({name: column[:count] for name, column in constant.items()}, count)
        anomalies = found(validate(window, wanted, training))
        assert anomalies == ({"f": told, "t": told} if told else {})
    window = served(constant)
    assert found(validate(window, wanted, served(constant))) == {}
    assert found(validate(window, wanted)) == {}
    assert found(validate(window, wanted, training, options=AS_TFX)) == {}
    (row, _) = rows(validate(window, wanted, training))
    assert row["short"] == "Constant, where the training data varies"


def test_mostly_zero_is_not_constant_by_chance() -> None:
    wanted = schema('feature { name: "f" type: FLOAT }')
    mostly = np.where(np.arange(1000) % 20 == 0, 1.5, 0.0)
    training = served({"f": mostly})
    assert found(validate(served({"f": np.zeros(50)}, 50), wanted, training)) == {}
    told = found(validate(served({"f": np.zeros(500)}, 500), wanted, training))
    assert told == {"f": ["FEATURE_TYPE_LOW_UNIQUE"]}
    whole = served({"f": np.array([3] * 900 + [4] * 100)})
    wanted = schema('feature { name: "f" type: INT }')
    assert found(validate(served({"f": np.full(50, 3)}, 50), wanted, whole)) == {}
    assert found(validate(served({"f": np.full(200, 3)}, 200), wanted, whole)) != {}


def test_a_few_values_that_training_never_had_are_not_constant() -> None:
    """A single row is always the same as itself."""
    chance = np.random.default_rng(7)
    training = served(
        {"f": chance.normal(size=20_000), "i": chance.integers(0, 50, 20_000)}, 20_000
    )
    wanted = schema('feature { name: "f" type: FLOAT } feature { name: "i" type: INT }')
    for count, told in ((1, {}), (20, ["FEATURE_TYPE_LOW_UNIQUE"])):
        window = served({"f": np.full(count, 99.5), "i": np.full(count, 70)}, count)
        assert found(validate(window, wanted, training)) == (told and {"f": told, "i": told})


def test_what_is_missing_does_not_hide_that_the_rest_is_constant() -> None:
    training = served({"f": np.arange(1000.0)})
    wanted = schema('feature { name: "f" type: FLOAT }')
    for missing, told in ((900, {"f": ["FEATURE_TYPE_LOW_UNIQUE"]}), (999, {})):
        window = served({"f": np.where(np.arange(1000) < missing, np.nan, 0.5)})
        assert found(validate(window, wanted, training)) == told


def test_values_that_are_not_of_their_type_are_told() -> None:
    sketch = DatasetSketch()
    sketch.add({"f": np.array(["5", "six"] * 10, object)}, types={"f": FeatureType.FLOAT})
    wanted = schema('feature { name: "f" type: FLOAT }')
    for options in (Options(), AS_TFX):
        (row,) = rows(validate(sketch.message(), wanted, options=options))
        assert row["type"] == "UNEXPECTED_DATA_TYPE"
        assert row["description"] == "10 of its values are not FLOAT."


def test_long_texts_are_held_against_as_much_of_the_schemas() -> None:
    """Statistics keep 64 bytes of each."""
    long = [f"{letter}{'ä' * 40}{letter}" for letter in "abc"]
    window = served({"t": np.array(long * 10, object)}, 30)
    domain = " ".join(f'value: "{text}"' for text in long)
    wanted = schema(f'feature {{ name: "t" type: BYTES string_domain {{ {domain} }} }}')
    assert found(validate(window, wanted)) == {}
    fewer = schema(f'feature {{ name: "t" type: BYTES string_domain {{ value: "{long[0]}" }} }}')
    assert found(validate(window, fewer)) == {"t": ["ENUM_TYPE_UNEXPECTED_STRING_VALUES"]}
    # Whole values may be asked of requests: a list of their heads would refuse each.
    assert not infer(window).string_domain


def test_an_output_is_missed_in_what_was_answered_only() -> None:
    """Fewer rows may be answered than were asked."""
    answers = np.where(np.arange(600) == 0, np.nan, 1.5)
    output = served({"y": answers}, 600)
    output.name = "outputs"
    window = listed(served({"x": np.arange(1000.0)}), output)
    wanted = schema("""feature { name: "x" type: FLOAT }
        feature { name: "y" type: FLOAT presence { min_fraction: 0.9 } }""")
    assert found(validate(window, wanted)) == {}


def test_fractions_are_missed_only_beyond_chance() -> None:
    wanted = schema('feature { name: "f" type: BYTES presence { min_fraction: 0.9 } }')
    few, many = dataset(10, texts("f", {"a": 8}, 2)), dataset(1000, texts("f", {"a": 800}, 200))
    assert found(validate(few, wanted)) == {}
    assert found(validate(many, wanted)) == {"f": ["FEATURE_TYPE_LOW_FRACTION_PRESENT"]}
    assert found(validate(few, wanted, options=AS_TFX)) != {}
    domain = """feature { name: "f" type: BYTES string_domain { value: "a" }
        distribution_constraints { min_domain_mass: 0.9 } }"""
    few, many = (
        dataset(10, texts("f", {"a": 8, "b": 2})),
        dataset(1000, texts("f", {"a": 800, "b": 200})),
    )
    assert found(validate(few, schema(domain))) == {}
    assert found(validate(many, schema(domain))) == {"f": ["ENUM_TYPE_UNEXPECTED_STRING_VALUES"]}
    assert found(validate(few, schema(domain), options=AS_TFX)) != {}


def test_a_number_is_a_number_where_the_model_says_which() -> None:
    """Training data in CSV has 3 where the model's input is FP32."""
    wanted = schema('feature { name: "f" type: INT int_domain { min: 0 max: 5 } }')
    window = dataset(3, numbers("f", [0.0, 3.0, 5.0]))
    assert found(validate(window, wanted)) == {}
    assert found(validate(window, wanted, options=AS_TFX)) == {"f": ["UNEXPECTED_DATA_TYPE"]}
    above = dataset(3, numbers("f", [0.0, 3.0, 6.0]))
    assert found(validate(above, wanted)) == {"f": ["INT_TYPE_BIG_INT"]}
    bounds = schema('feature { name: "f" type: FLOAT float_domain { max: 2 } }')
    whole = dataset(3, numbers("f", [1, 2, 3], whole=True))
    assert found(validate(whole, bounds)) == {"f": ["FLOAT_TYPE_BIG_FLOAT"]}


def test_what_is_served_is_in_the_environment_serving() -> None:
    says = """default_environment: "TRAINING" default_environment: "SERVING"
        feature { name: "label" type: INT presence { min_count: 1 }
                  not_in_environment: "SERVING" }"""
    window = dataset(5, numbers("f", [1.0] * 5))
    label = {"label": ["SCHEMA_MISSING_COLUMN"]}
    new = {"f": ["SCHEMA_NEW_COLUMN"]}
    assert found(validate(window, schema(says))) == new
    options = Options(environment="TRAINING")
    assert found(validate(window, schema(says), options=options)) == new | label
    assert found(validate(window, schema(says), options=AS_TFX)) == new | label


def test_outputs_need_no_schema_but_may_have_one() -> None:
    window = listed(
        dataset(5, numbers("x", [1.0] * 5), name="inputs"),
        dataset(5, numbers("scores", [0.5] * 5), numbers("x", [9.0] * 5), name="outputs"),
    )
    assert found(validate(window, schema('feature { name: "x" type: FLOAT }'))) == {}
    says = """feature { name: "scores" type: FLOAT float_domain { max: 0.4 } }
        feature { name: "x" type: FLOAT float_domain { max: 2 } }
        feature { name: "outputs.x" type: FLOAT float_domain { max: 2 } }"""
    big = ["FLOAT_TYPE_BIG_FLOAT"]
    assert found(validate(window, schema(says))) == {"scores": big, "outputs.x": big}


def test_of_a_list_the_whole_dataset_counts_and_not_its_slices() -> None:
    wanted = schema('feature { name: "f" type: FLOAT float_domain { max: 2 } }')
    whole = dataset(9, numbers("f", [1.0] * 9), name="All Examples")
    part = dataset(3, numbers("f", [7.0] * 3), name="country_DE")
    assert found(validate(listed(part, whole), wanted)) == {}
    assert found(validate(listed(part), wanted)) != {}
    assert validate(listed(), wanted).data_missing


def test_drift_of_a_window_is_measured_and_told() -> None:
    says = 'feature { name: "f" type: FLOAT %s { jensen_shannon_divergence { threshold: 0.1 } } }'
    chance = np.random.default_rng(3)
    before, here = (
        served({"f": chance.normal(size=1000)}),
        served({"f": chance.normal(3, size=1000)}),
    )
    drift = schema(says % "drift_comparator")
    anomalies = validate(here, drift, previous=before)
    assert found(anomalies) == {"f": ["COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH"]}
    (info,) = anomalies.drift_skew_info
    assert info.drift_measurements[0].threshold == 0.1
    assert info.drift_measurements[0].value > 0.5
    skew = schema(says % "skew_comparator")
    assert found(validate(here, skew, before)) != {}
    assert found(validate(here, skew, previous=before)) == {}
    (row,) = compared(here, drift, None, before, 0.001)
    assert (row.kind, row.finding, row.samples) == (Kind.DRIFT, Finding.HIGH, 1000)
    few = served({"f": chance.normal(3, size=4)}, 4)
    (row,) = compared(few, drift, None, before, 0.001)
    assert row.too_few
    assert found(validate(few, drift, previous=before)) == {}


def test_every_name_is_one_of_tfxs() -> None:
    import re
    from pathlib import Path

    import serving.validation

    folder = Path(serving.validation.__file__).parent
    given = {
        name
        for file in folder.glob("*.py")
        for name in re.findall(r'"([A-Z]+(?:_[A-Z0-9]+)+)"', file.read_text())
        if name not in ("L_INFTY", "JENSEN_SHANNON_DIVERGENCE", "NORMALIZED_ABSOLUTE_DIFFERENCE")
    }
    assert len(given) > 30
    assert given <= types().keys()


def test_severities_may_be_chosen() -> None:
    window = dataset(5, numbers("f", [1.0] * 5), numbers("g", [1.0] * 5))
    wanted = schema('feature { name: "g" type: BYTES }')
    options = replace(AS_TFX, severities={"SCHEMA_NEW_COLUMN": "WARNING"})
    told = {
        row["feature"]: row["severity"] for row in rows(validate(window, wanted, options=options))
    }
    assert told == {"f": "WARNING", "g": "ERROR"}


def test_the_message_is_what_examplevalidator_writes() -> None:
    window = dataset(10, texts("a.b", {"x": 5, "y": 5}, 0), numbers("n", [1.0] * 10))
    wanted = schema("""
        feature { name: "a.b" type: BYTES string_domain { value: "x" } presence { min_count: 20 } }
        feature { name: "n" type: FLOAT }
        dataset_constraints { min_examples_count: 11 }""")
    anomalies = validate(window, wanted)
    assert list(anomalies.anomaly_info) == ["'a.b'"]
    info = anomalies.anomaly_info["'a.b'"]
    assert list(info.path.step) == ["a.b"]
    assert len(info.reason) == 2
    assert info.short_description == "Several anomalies"
    assert info.description == " ".join(reason.description for reason in info.reason)
    assert info.severity == messages.AnomalyInfo.Severity.Value("ERROR")
    assert anomalies.baseline == wanted
    assert anomalies.dataset_anomaly_info.reason[0].type == types()["DATASET_LOW_NUM_EXAMPLES"]
    assert [row["feature"] for row in rows(anomalies)] == ["a.b", "a.b", ""]


@pytest.mark.parametrize("value", ["x" * 100_000, "\x00\u2028", "²", "1_0", "9" * 5000])
def test_odd_values_are_told_shortly(value: str) -> None:
    for domain in (
        'string_domain { value: "a" }',
        "int_domain { }",
        "float_domain { }",
        "bool_domain { }",
    ):
        wanted = schema(f'feature {{ name: "f" type: BYTES {domain} }}')
        for row in rows(validate(dataset(3, texts("f", {value: 3})), wanted)):
            assert len(row["description"]) < 300


def test_thirty_thousand_values_and_a_histogram_of_as_many_buckets_are_compared() -> None:
    says = """feature { name: "t" type: BYTES skew_comparator { infinity_norm { threshold: 0.1 } } }
        feature { name: "n" type: FLOAT skew_comparator {
            jensen_shannon_divergence { threshold: 0.1 } } }"""
    many = texts("t", {f"value {index}": 1 for index in range(30_000)})
    edges = list(range(30_001))
    fine = bucketed("n", 0, edges, [1] * 30_000)
    here = dataset(100_000, texts("t", {"a": 90_000, "value 7": 10_000}), numbers("n", [1.0, 2.0]))
    told = found(validate(here, schema(says), dataset(30_000, many, fine)))
    assert "COMPARATOR_L_INFTY_HIGH" in told["t"]
    # Passed over: nothing is measured by a histogram like that.
    assert "n" not in told


def test_ten_thousand_unknown_values_are_told_in_few_words() -> None:
    wanted = schema('feature { name: "f" type: BYTES string_domain { value: "a" } }')
    many = texts("f", {f"value {index}": 1 for index in range(10_000)})
    (row,) = rows(validate(dataset(10_000, many), wanted))
    assert "and 9990 others" in row["description"]
    assert len(row["description"]) < 500
