"""What is asked of a model, and what figures come to."""

from __future__ import annotations

from typing import Any

import pytest

from serving.gates.terms import Terms, terms_of
from serving.gates.thresholds import Row, checks_of
from serving.gates.verdict import Check
from serving.model_config.gates import EvaluationConfig, GatesConfig, Threshold
from serving.model_config.schema import ModelConfig
from serving.settings import Settings
from serving.settings.gates import GatesSettings

EVALUATION = EvaluationConfig(
    data="e.csv", label="y", slices=("r",), thresholds=(Threshold("accuracy", 0.9, None, 0.01),)
)
GATED = ModelConfig(gates=GatesConfig(evaluation=EVALUATION))
FIGURE = {"accuracy": (0.95, "")}


def settings(**gates: Any) -> Settings:
    return Settings(gates=GatesSettings(**gates))


def test_a_model_has_gates_by_its_configuration_the_file_or_the_setting() -> None:
    plain = ModelConfig()
    assert terms_of("m", plain, settings(), {}) is None
    assert terms_of("m", plain, settings(safe_to_serve=True), {}) is not None
    assert terms_of("m", GATED, settings(), {}) == Terms(True, 2.0, EVALUATION, 100)
    given = {"m": GatesConfig(safe_to_serve=True, p99_factor=9.0)}
    assert terms_of("m", GATED, settings(), given) == Terms(True, 9.0, None, 100)
    assert terms_of("other", plain, settings(), given) is None


def test_a_model_may_refuse_what_the_setting_asks() -> None:
    refuses = ModelConfig(gates=GatesConfig(safe_to_serve=False))
    assert terms_of("m", refuses, settings(safe_to_serve=True), {}) is None


def test_the_settings_stand_where_a_model_says_nothing() -> None:
    terms = terms_of("m", GATED, settings(p99_factor=5.0, min_examples=7), {})
    assert terms is not None
    assert (terms.p99_factor, terms.min_examples) == (5.0, 7)


def test_other_terms_and_another_set_make_another_verdict() -> None:
    terms = Terms(True, 2.0, EVALUATION, 100)
    others = [Terms(True, 2.5, EVALUATION, 100), Terms(True, 2.0, None, 100)]
    digests = {one.digest("1") for one in (terms, *others)} | {terms.digest("2"), terms.digest()}
    assert len(digests) == 5
    assert terms.digest("1") == Terms(True, 2.0, EVALUATION, 100).digest("1")


def row(value: float | None, base: float | None = None, examples: int = 500, **more: Any) -> Row:
    said = {
        "slice": "",
        "examples": examples,
        "figures": {"accuracy": (value, "" if value is not None else "why")},
        "base": {} if base is None else {"accuracy": (base, "")},
    }
    return Row(**{**said, **more})


def checked(*rows: Row, least: int = 100, no_base: str = "", **threshold: Any) -> list[Check]:
    asked = Threshold("accuracy", **threshold) if threshold else EVALUATION.thresholds[0]
    evaluation = EvaluationConfig(label="y", slices=("r",), thresholds=(asked,))
    return checks_of(rows, Terms(True, 2.0, evaluation, least), no_base)[0]


@pytest.mark.parametrize(
    ("value", "base", "wrong"),
    [
        (0.95, 0.95, ""),
        (0.9, 0.91, ""),
        (0.89, 0.89, "0.89 is less than 0.9"),
        (0.91, 0.95, "worse than the answering version's 0.95 by 0.04"),
        (None, 0.95, "it cannot be judged: why"),
        (0.95, None, "it cannot be compared"),
    ],
)
def test_a_metric_is_held_against_its_value_and_the_answering_versions(
    value: float | None, base: float | None, wrong: str
) -> None:
    enough, metric = checked(row(value, base))
    assert enough.passed
    assert metric.passed is not bool(wrong)
    assert wrong in metric.words


def test_less_is_better_where_it_is_an_error() -> None:
    asked = Threshold("rmse", None, 2.0, 0.1)
    terms = Terms(True, 2.0, EvaluationConfig(label="y", thresholds=(asked,)), 1)

    def passed(value: float, base: float) -> bool:
        figures = {"rmse": (value, "")}
        found = Row(slice="", examples=5, figures=figures, base={"rmse": (base, "")})
        return checks_of([found], terms, "")[0][1].passed

    assert passed(1.0, 0.95)
    assert not passed(1.0, 0.5)
    assert not passed(2.5, 3.0)


def test_too_few_examples_bless_nothing() -> None:
    enough, metric = checked(row(1.0, 1.0, examples=99))
    assert (enough.passed, metric.passed) == (False, True)
    assert (enough.value, enough.words) == (99, "at least 100")


def test_each_slice_has_to_reach_the_thresholds_and_a_small_one_is_named() -> None:
    rows = [
        row(0.95, 0.95),
        row(0.5, 0.95, 20, slice="r=EU"),
        row(0.1, 0.95, 19, slice="r=US"),
    ]
    terms = Terms(True, 2.0, EVALUATION, 100)
    checks, notes = checks_of(rows, terms, "")
    assert [(check.slice, check.passed) for check in checks] == [
        ("", True),
        ("", True),
        ("r=EU", False),
    ]
    assert notes == ("not judged by themselves, with fewer than 20 examples: r=US",)


def test_without_an_answering_version_nothing_is_compared() -> None:
    found = checked(row(0.95), no_base="its files have changed")
    assert "it cannot be compared: its files have changed" in found[1].words
    assert checked(row(0.95), no_base="gone", at_least=0.9)[1].passed
