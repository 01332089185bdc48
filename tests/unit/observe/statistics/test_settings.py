"""Each setting of statistics changes what it says."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.errors import ConfigError
from serving.observe.sampling import configure
from serving.observe.statistics import opening
from serving.observe.statistics.opening import open_statistics
from serving.observe.statistics.rollup import Span
from serving.settings import Settings
from serving.settings.statistics import StatisticsSettings
from serving.state_dir import StateDir
from tests.unit.observe.statistics.test_collector import MATRIX, World, sample
from tests.unit.observe.statistics.world import Sample, features, signature, tensor, view

WIDE = signature({"x": ("FP32", (-1, 200))})


def wide(version: int = 1) -> Sample:
    rows = np.random.default_rng(version).random((500, 200), np.float32)
    return Sample("m", version, [tensor("x", rows)])


def test_no_more_features_than_may_be(tmp_path: Path) -> None:
    world = World(tmp_path, view(WIDE, tmp_path), max_features=7)
    world.take(wide())
    assert len(features(world.live(("m", 1)))) == 7


@pytest.mark.parametrize("most", [64 * 1024, 1024 * 1024])
def test_a_window_takes_no_more_than_it_may(most: int, tmp_path: Path) -> None:
    world = World(tmp_path, view(WIDE, tmp_path), max_window_bytes=most, max_features=200)
    for _ in range(3):
        world.take(wide())
    nbytes = world.made.collector.read(("m", 1), lambda page: page.series.nbytes)
    assert most / 8 < nbytes <= most


@pytest.mark.parametrize(
    ("span", "seconds", "given"),
    [
        (Span.MINUTE, 60, {"keep_windows": 2}),
        (Span.HOUR, 3600, {"keep_hours": 2}),
        (Span.DAY, 86400, {"keep_days": 2}),
    ],
)
def test_so_many_windows_are_kept(
    span: Span, seconds: int, given: dict[str, int], tmp_path: Path
) -> None:
    world = World(tmp_path, view(MATRIX, tmp_path), **given)
    for _ in range(5):
        world.take(sample([[1, 2]]))
        world.after(seconds)
        # Files are as old as the clock here says.
        for file in (tmp_path / "state" / "statistics").glob("*"):
            os.utime(file, (world.clock.now, world.clock.now))
    world.take(sample([[1, 2]]))
    kept = world.made.collector.read(("m", 1), lambda page: page.series.closed(span))
    assert len(kept) == 2


def test_all_versions_take_no_more_memory_than_they_may(tmp_path: Path) -> None:
    numbers = range(1, 40)
    world = World(tmp_path, view(WIDE, tmp_path, *numbers), memory_bytes=1024 * 1024)
    for _ in range(3):
        world.take(*map(wide, numbers))
    made = world.made.figures()
    assert made.dropped["memory"] > 0
    assert made.nbytes < 2 * 1024 * 1024


class Server:
    """Notes what it is told."""

    def observe(self, **told: Any) -> None:
        self.told = told


@pytest.mark.parametrize(
    ("given", "is_on", "samples", "values"),
    [
        ({"max_samples_per_second": 7, "max_values_per_second": 11}, True, 7, 11),
        ({"max_samples_per_second": 7, "samples_per_second": 0}, True, math.inf, math.inf),
        ({"max_samples_per_second": 7}, False, 0, 0),
    ],
)
def test_the_core_is_told_how_much_all_versions_may_cost(
    given: dict[str, float], is_on: bool, samples: float, values: float
) -> None:
    server = Server()
    settings = Settings(statistics=StatisticsSettings.model_validate(given))
    configure(server, settings, statistics=is_on)
    assert server.told["statistics_samples"] == samples
    assert server.told["statistics_values"] == values


def test_rollouts_that_go_by_statistics_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for the rule and has not what it takes is told at the start."""

    def opened(enabled: Any, **drift: float) -> bool:
        given: Any = {"canary": {"drift": drift}, "statistics": {"enabled": enabled}}
        return open_statistics(Settings(**given), StateDir(None)) is not None

    assert opened("auto", outputs=0.1)
    assert not opened(False, classes=0.1)
    with pytest.raises(ConfigError, match="go by statistics, which are off"):
        opened(False, inputs=0.1)

    def missing() -> None:
        raise ConfigError("install 'serving[statistics]'")

    monkeypatch.setattr(opening, "datasketches", missing)
    monkeypatch.setattr(opening, "find_spec", lambda _: None)
    assert not opened("auto")
    with pytest.raises(ConfigError, match="install"):
        opened("auto", outputs=0.1)
