"""A tensor that is redacted while its version serves: nothing of it is told from then on."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from serving.model_config import ModelConfig, RequestLogConfig
from serving.models.views import ModelView
from serving.observe.statistics import operations
from serving.observe.statistics.columns import features_of
from tests.unit.observe.statistics.test_collector import MATRIX, World, sample
from tests.unit.observe.statistics.world import view

pytest.importorskip("datasketches")

SECRET = 73519
SCHEMA = """
feature { name: "x[0]" type: FLOAT presence { min_fraction: 1 min_count: 1 }
  float_domain { max: 1 } drift_comparator { jensen_shannon_divergence { threshold: 0.9 } } }
feature { name: "y[0]" type: FLOAT float_domain { max: 0 } }
"""


def redacting(folder: Path, *patterns: str) -> ModelView:
    return view(MATRIX, folder, 1, config=ModelConfig(request_log=RequestLogConfig(None, patterns)))


def told(world: World, what: Any, nothing: dict[str, Any]) -> dict[str, Any]:
    request = Request({"type": "http", "path_params": {"name": "m", "version": "1"}})
    answer = asyncio.run(operations._told(world.made, what, nothing, request))
    found: dict[str, Any] = json.loads(bytes(answer.body))
    return found


def anomalies(world: World) -> dict[str, set[tuple[str, str]]]:
    found = told(world, operations._anomalies, {"anomalies": [], "recent": []})
    return {key: {(one["feature"], one["type"]) for one in rows} for key, rows in found.items()}


def statistics(world: World, window: str) -> str:
    asked = operations.StatisticsQuery(window=window)
    return operations._statistics_json(world.made, ("m", 1), asked)


def rounds(world: World, count: int) -> None:
    for _ in range(count):
        world.take(sample([[SECRET, 2]] * 40))
        world.after(60)


def test_windows_and_anomalies_from_before_tell_nothing_of_it(tmp_path: Path) -> None:
    (tmp_path / "schema.pbtxt").write_text(SCHEMA)
    world = World(tmp_path, redacting(tmp_path))
    rounds(world, 2)
    world.take(sample([[SECRET, 2]] * 40))
    assert ("x[0]", "FLOAT_TYPE_BIG_FLOAT") in anomalies(world)["anomalies"]
    assert str(SECRET) in statistics(world, "live")
    drift = told(world, operations._drift, {})["features"]
    assert "x[0]" in {one["name"] for one in drift}

    world.made.watch({"m": redacting(tmp_path, "x")})
    for window in ("live", "minute", "hour", "day"):
        text = statistics(world, window)
        assert str(SECRET) not in text
        assert "y[0]" in text
    assert ("y[0]", "FLOAT_TYPE_BIG_FLOAT") in anomalies(world)["anomalies"]
    names = {one["name"] for one in told(world, operations._drift, {})["features"]}
    assert "y[0]" in names
    assert not names & {"x[0]", "x[1]"}
    for rows in anomalies(world).values():
        assert not {feature for feature, _ in rows} & {"x[0]", "x[1]"}


def test_a_redacted_feature_is_not_missing(tmp_path: Path) -> None:
    (tmp_path / "schema.pbtxt").write_text(SCHEMA)
    world = World(tmp_path, redacting(tmp_path, "x"))
    rounds(world, 2)
    assert anomalies(world)["anomalies"] == {("y[0]", "FLOAT_TYPE_BIG_FLOAT")}


def test_a_name_that_a_shown_tensor_has_is_not_hidden() -> None:
    facts = redacting(Path("/nowhere")).versions[0].facts
    found = features_of(facts, ("x", "z*"))
    hidden = {name for name in ("x", "x[0]", "x[1]", "y", "y[0]", "y.class") if found.hides(name)}
    assert hidden == {"x", "x[0]", "x[1]"}
    assert not features_of(facts, ()).redacted
