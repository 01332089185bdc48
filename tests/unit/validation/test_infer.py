"""Schemas from statistics, beyond what ``test_as_tfx.py`` holds; and how two of them differ."""

from __future__ import annotations

import math
from typing import Any

from serving.statistics.metadata import messages
from serving.validation.anomalies import rows
from serving.validation.check import validate
from serving.validation.differences import differences
from serving.validation.infer import Rules, infer
from tests.unit.validation.builders import dataset, listed, numbers, schema, texts


def feature(made: Any) -> Any:
    (only,) = made.feature
    return only


def test_ranges_are_inferred_where_asked_for() -> None:
    rules = Rules(ranges=True)
    whole = feature(infer(dataset(3, numbers("f", [-3, 2, 5], whole=True)), rules))
    assert (whole.int_domain.min, whole.int_domain.max) == (-3, 5)
    floats = dataset(3, numbers("f", [0.1, 0.7, 0.9]))
    domain = feature(infer(floats, rules)).float_domain
    assert domain.disallow_nan
    assert domain.disallow_inf
    assert list(rows(validate(floats, infer(floats, rules)))) == []
    assert feature(infer(floats)).WhichOneof("domain_info") is None
    odd = feature(infer(dataset(4, numbers("f", [0.5, 2.0, math.nan, math.inf])), rules))
    assert not odd.float_domain.disallow_nan
    assert not odd.float_domain.disallow_inf
    assert not odd.float_domain.HasField("max")


def test_bounds_that_no_integer_has_are_left_out() -> None:
    made = numbers("f", [1, 2], whole=True)
    made.num_stats.min, made.num_stats.max = 1.7e308, -1.7e308
    assert feature(infer(dataset(2, made), Rules(ranges=True))).WhichOneof("domain_info") is None


def test_texts_have_a_list_up_to_a_size_and_only_if_all_are_known() -> None:
    some = dataset(9, texts("f", {"a": 5, "b": 4}))
    assert infer(some).string_domain[0].value == ["a", "b"]
    assert not infer(some, Rules(max_string_domain=1)).string_domain
    # As a sketch has them that keeps the frequent ones alone.
    some.features[0].string_stats.unique = 4000
    assert not infer(some).string_domain


def test_outputs_are_in_the_schema_and_not_missed_elsewhere() -> None:
    asked = dataset(3, numbers("x", [0.5, 1.5, 2.5]), name="inputs")
    answered = dataset(3, numbers("score", [0.1, 0.2, 0.3]), name="outputs")
    found = infer(listed(asked, answered))
    assert [each.name for each in found.feature] == ["x", "score"]
    assert list(rows(validate(asked, found))) == []
    assert list(rows(validate(listed(asked, answered), found))) == []


def test_shapes_may_be_left_out() -> None:
    one = dataset(3, texts("f", {"a": 3}))
    assert feature(infer(one)).HasField("shape")
    counted = feature(infer(one, Rules(shapes=False)))
    assert (counted.value_count.min, counted.value_count.max) == (1, 1)


def test_what_is_in_a_structure_stays_there() -> None:
    made = dataset(3)
    outer = made.features.add(type=4)
    outer.path.step.append("who")
    outer.struct_stats.common_stats.num_non_missing = 3
    inner = texts("", {"a": 3})
    inner.path.step.extend(["who", "city"])
    made.features.append(inner)
    found = feature(infer(made))
    assert found.type == 4
    assert [each.name for each in found.struct_domain.feature] == ["city"]
    assert list(rows(validate(made, infer(made)))) == []


def test_two_schemas_differ_in_lines_that_name_the_feature() -> None:
    old = schema("""
        feature { name: "a" type: BYTES domain: "d" presence { min_fraction: 1 } }
        feature { name: "b" type: INT int_domain { min: 0 max: 5 } }
        feature { name: "gone" type: INT }
        string_domain { name: "d" value: "x" value: "y" }""")
    new = schema("""
        feature { name: "a" type: BYTES string_domain { value: "y" value: "z" } }
        feature { name: "b" type: FLOAT int_domain { min: 0 max: 7 }
                  skew_comparator { infinity_norm { threshold: 0.1 } } }
        feature { name: "new" type: INT }
        default_environment: "SERVING" """)
    told = [str(each) for each in differences(old, new)]
    assert "~ a: domain -'x' +'z'" in told
    assert "~ a: presence.min_fraction 1 -> none" in told
    assert "~ b: int_domain.max 5 -> 7" in told
    assert "~ b: skew_comparator.infinity_norm.threshold none -> 0.1" in told
    assert "~ b: type INT -> FLOAT" in told
    assert "- gone" in told
    assert "+ new: type" in told or any(line.startswith("+ new") for line in told)
    assert "~ schema: default_environment none -> 'SERVING'" in told
    assert differences(old, old) == []
    assert differences(messages.Schema(), messages.Schema()) == []
