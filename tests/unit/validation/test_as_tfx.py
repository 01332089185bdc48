"""What TensorFlow Data Validation 1.16.1 said to the same (``tfdv_answers.py`` asked it)."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format

from serving.statistics.metadata import messages
from serving.validation.check import AS_TFX, validate
from serving.validation.infer import infer
from tests.unit.validation.cases import Case, cases

_TOLD = json.loads((Path(__file__).parent / "tfdv_vectors.json").read_text())


@cache
def _cases() -> dict[str, Case]:
    return {case.name: case for case in cases()}


def test_every_case_was_asked() -> None:
    assert sorted(_cases()) == sorted(_TOLD)


@pytest.mark.parametrize("name", sorted(_TOLD))
def test_anomalies_and_distances_are_those_of_tfdv(name: str) -> None:
    case, told = _cases()[name], _TOLD[name]
    found = _validated(case)
    assert {key: _types(info) for key, info in found.anomaly_info.items()} == told["features"]
    assert _types(found.dataset_anomaly_info) == told["dataset"]
    assert found.data_missing == told["data_missing"]
    measured = [_measured(info) for info in found.drift_skew_info]
    assert len(measured) == len(told["measured"])
    for mine, other in zip(measured, told["measured"], strict=True):
        assert mine["path"] == other["path"]
        for kind in ("drift", "skew"):
            assert mine[kind] == [pytest.approx(each, rel=1e-9, abs=1e-12) for each in other[kind]]


@pytest.mark.parametrize("name", sorted(_TOLD))
def test_schemas_are_inferred_as_by_tfdv(name: str) -> None:
    told = text_format.Parse(
        _TOLD[name]["inferred"], messages.Schema(), descriptor_pool=messages.pool
    )
    assert text_format.MessageToString(infer(_cases()[name].statistics)) == (
        text_format.MessageToString(told)
    )


def _validated(case: Case) -> Any:
    options = replace(AS_TFX, environment=case.environment or None)
    return validate(case.statistics, case.schema, case.baseline, case.previous, options)


def _types(info: Any) -> list[str]:
    return sorted(messages.AnomalyInfo.Type.Name(reason.type) for reason in info.reason)


def _measured(info: Any) -> dict[str, Any]:
    return {
        "path": list(info.path.step),
        "drift": [[each.type, each.value, each.threshold] for each in info.drift_measurements],
        "skew": [[each.type, each.value, each.threshold] for each in info.skew_measurements],
    }
