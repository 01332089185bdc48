"""What of a schema is asked of single requests."""

from __future__ import annotations

import numpy as np

from serving.validation.constraints import Constraint, compiled
from tests.unit.validation.builders import schema


def test_features_are_columns_of_a_tensor_or_all_of_it() -> None:
    wanted = schema("""
        feature { name: "x[1]" type: FLOAT presence { min_fraction: 1 }
                  float_domain { min: 0 max: 2.5 disallow_nan: true disallow_inf: true } }
        feature { name: "age" type: INT int_domain { max: 120 } }
        feature { name: "image" type: FLOAT shape { dim { size: 2 } dim { size: 3 } } }
        feature { name: "flag" type: INT bool_domain {} }
        feature { name: "word" type: BYTES
                  string_domain { value: "a" value: "b" } value_count { max: 4 } }
        feature { name: "sure" type: BYTES bool_domain { true_value: "y" false_value: "n" } }
        feature { name: "nobody" type: INT }""")
    shapes = {"x": [-1, 2], "people": [-1, 1], "image": [-1, 2, 3], "flag": [-1], "word": [-1, -1]}
    found = compiled(wanted, shapes | {"sure": [-1]}, {"people": ["age"]})
    assert found.constraints == (
        Constraint("x[1]", "x", 1, True, True, 0.0, 2.5, nan=False, infinite=False),
        Constraint("age", "people", 0, True, most=120.0),
        Constraint("image", "image", None, True, least_values=6, most_values=6),
        Constraint("flag", "flag", None, True, least=0.0, most=1.0, whole=True),
        Constraint("word", "word", None, False, values=frozenset({"a", "b"}), most_values=4),
        Constraint("sure", "sure", None, False, values=frozenset({"y", "n"})),
    )
    assert found.left_out == ("nobody: the model has no input, and no column of one, of that name",)


def test_a_bound_of_32_bits_holds_what_is_the_same_in_64() -> None:
    wanted = schema('feature { name: "a" type: FLOAT float_domain { min: 0.1 max: 0.7 } }')
    (found,) = compiled(wanted, {"a": [-1]}).constraints
    assert found.least is not None
    assert found.most is not None
    assert found.least <= 0.1
    assert found.least <= float(np.float32(0.1))
    assert found.most >= 0.7
    assert found.most >= float(np.float32(0.7))


def test_what_is_of_many_examples_is_left_out_and_told() -> None:
    wanted = schema("""
        feature { name: "a" type: BYTES presence { min_fraction: 0.9 } unique_constraints { max: 3 }
                  string_domain { value: "x" } distribution_constraints { min_domain_mass: 0.5 } }
        feature { name: "b" type: BYTES int_domain { min: 0 } }
        feature { name: "c" type: STRUCT }""")
    found = compiled(wanted, {"a": [-1], "b": [-1], "c": [-1]})
    a = found.constraints[0]
    assert not a.required
    assert a.values is None
    assert [words.split(":")[0] for words in found.left_out] == ["a", "a", "a", "b", "c"]


def test_unused_features_and_those_of_training_alone_are_not_asked() -> None:
    wanted = schema("""
        default_environment: "TRAINING" default_environment: "SERVING"
        feature { name: "old" type: INT lifecycle_stage: DEPRECATED }
        feature { name: "label" type: INT not_in_environment: "SERVING" }
        feature { name: "a" type: INT }""")
    shapes = {"old": [-1], "label": [-1], "a": [-1]}
    assert [each.feature for each in compiled(wanted, shapes).constraints] == ["a"]
    training = compiled(wanted, shapes, environment="TRAINING")
    assert [each.feature for each in training.constraints] == ["label", "a"]
