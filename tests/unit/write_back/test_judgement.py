"""Verdicts as MLflow carries them."""

from __future__ import annotations

import posixpath
import re

import pytest

from serving.errors import ConfigError
from serving.gates.verdict import Check, Verdict, by_person
from serving.registry.mlflow.asked import tag_rules
from serving.settings.registry import WriteBackSettings
from serving.write_back.judgement import MOST_METRICS, judgement_of
from serving.write_back.terms import terms_of


def test_figures_become_metrics_of_the_version_s_run() -> None:
    checks = (
        Check("quality", "accuracy", True, value=0.97, base=0.96),
        Check("quality", "accuracy", False, slice="region=EU", value=0.5, base=None),
        Check("safe_to_serve", "finite", True),
        Check("safe_to_serve", "p99_s", True, value=float("inf")),
    )
    one = judgement_of("m", 3, "run", Verdict(False, 5.0, checks, requests=64, examples=400))
    assert (one.word, one.run, one.at) == ("NOT_BLESSED", "run", 5.0)
    assert dict(one.metrics) == {
        "gates/blessed": 0.0,
        "gates/requests": 64.0,
        "gates/examples": 400.0,
        "gates/seconds": 0.0,
        "gates/slices/region/EU/accuracy": 0.5,
        "gates/accuracy": 0.97,
        "gates/answering/accuracy": 0.96,
    }


def test_of_no_run_there_is_the_tag_only_and_a_person_s_blessing_has_no_figures() -> None:
    assert judgement_of("m", 3, "", Verdict(True, 5.0)).metrics == ()
    blessed = judgement_of("m", 3, "run", by_person(None, 5.0, "a", "b"))
    assert (blessed.word, dict(blessed.metrics)) == ("BLESSED", {"gates/blessed": 1.0})


def test_names_are_such_as_mlflow_takes_and_few() -> None:
    slices = [f"a//..={'ü' * (n % 3)}{n}\n{'x' * 300}" for n in range(400)]
    checks = tuple(Check("quality", "f1", False, slice=one, value=0.1, base=0.2) for one in slices)
    one = judgement_of("m", 1, "run", Verdict(False, 5.0, checks))
    assert len(one.metrics) == MOST_METRICS
    for key, _ in one.metrics:
        assert re.fullmatch(r"[\w\-. /]{1,250}", key, re.ASCII)
        assert posixpath.normpath(key) == key


@pytest.mark.parametrize("value", ["", ".", "..", "a/./b", "a/", "/a", "a//b", "x" * 300])
def test_names_may_be_paths_of_files(value: str) -> None:
    """As a server with a store of files has them: such that lead elsewhere it refuses, all of them
    together."""
    slices = ["", f"region={value}", f"{value}=EU", f"accuracy={value}", "answering=accuracy"]
    checks = tuple(
        Check("quality", metric, True, slice=one, value=0.1, base=0.2)
        for one in slices
        for metric in ("accuracy", "f1")
    )
    keys = [key for key, _ in judgement_of("m", 1, "run", Verdict(True, 5.0, checks)).metrics]
    assert len(keys) == 4 + 4 * len(slices)
    for key in keys:
        assert posixpath.normpath(key) == key
        assert len(key) <= 250
        assert not any(other.startswith(f"{key}/") for other in keys)


def test_tags_that_would_have_a_version_taken_no_more_are_not_written() -> None:
    rules = tag_rules(["validation_status=passed", "stage!=broken"], "tags")
    with pytest.raises(ConfigError, match=r"write_back\.tags: a version with stage=broken is not"):
        terms_of(WriteBackSettings(tags=("stage=broken",)), rules)
    terms = terms_of(WriteBackSettings(tags=("stage = ready",)), rules)
    assert dict(terms.tags) == {"stage": "ready"}
    assert (terms.verdicts, terms.verdict_tag) == (True, "")
    assert "no tag 'validation_status' is written" in terms.note
    fits = tag_rules(["validation_status!=NOT_BLESSED"], "tags")
    assert terms_of(WriteBackSettings(), fits).verdict_tag == "validation_status"
    assert terms_of(WriteBackSettings(verdicts=False), fits).verdict_tag == ""
