"""Samples become windows, and windows anomalies, for each version apart."""

from __future__ import annotations

import errno
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from serving import state_dir
from serving.models.views import ModelView
from serving.observe.statistics import collector
from serving.observe.statistics.book import Page
from serving.observe.statistics.gauges import figures
from serving.observe.statistics.taker import Statistics
from serving.settings import Settings
from serving.settings.statistics import StatisticsSettings
from serving.state_dir import StateDir
from serving.statistics.dataset import DatasetSketch
from serving.statistics.forms import dump
from serving.statistics.metadata import Form, messages
from tests.unit.observe.statistics.world import (
    NOON,
    Clock,
    Sample,
    features,
    signature,
    tensor,
    view,
)

MATRIX = signature({"x": ("FP32", (-1, 2))}, {"y": ("FP32", (-1, 3))})
RANGES = """
feature { name: "x[0]" type: FLOAT float_domain { max: 1 } }
feature { name: "x[1]" type: FLOAT
  drift_comparator { jensen_shannon_divergence { threshold: 0.2 } } }
"""


class World:
    """Statistics whose thread is the test."""

    def __init__(self, folder: Path, *views: ModelView, **given: Any) -> None:
        self.clock = Clock()
        settings = Settings(statistics=StatisticsSettings(**given))
        self.made = Statistics(settings, StateDir(folder / "state"), clock=self.clock, gather_s=0.0)
        self.made.watch({one.name: one for one in views})

    def take(self, *samples: Sample) -> None:
        """And all that is due is done."""
        self.made.keep(samples)
        self.turn()

    def turn(self) -> None:
        self.made._mailbox.end()
        self.made.collector.turn()
        self.made._mailbox._ended = False

    def after(self, seconds: float) -> None:
        self.clock.now += seconds
        self.turn()

    def live(self, key: tuple[str, int]) -> Any:
        found = self.made.collector.read(key, lambda page: page.series.message(None, None))
        return None if found is None else found[0]


def sample(rows: Sequence[Sequence[float]], version: int = 1, shift: float = 0.0) -> Sample:
    x = np.array(rows, np.float32)
    y = np.tile(np.array([[0.2, 0.5, 0.3]], np.float32), (len(x), 1)) + shift
    return Sample("m", version, [tensor("x", x)], [tensor("y", y)])


def test_each_version_has_its_own(tmp_path: Path) -> None:
    world = World(tmp_path, view(MATRIX, tmp_path, 1, 2))
    world.take(sample([[1, 2], [3, 4]]), sample([[5, 6]], version=2))
    assert [world.live(("m", version)).datasets[0].num_examples for version in (1, 2)] == [2, 1]
    assert features(world.live(("m", 1)), "outputs")["y.class"].string_stats.unique == 1
    assert world.made.figures().samples == 2


def test_an_optional_input_that_is_left_out_is_missing(tmp_path: Path) -> None:
    both = signature({"a": ("FP32", (-1,)), "b": ("BYTES", (-1,))}, optional=["b"])
    world = World(tmp_path, view(both, tmp_path))
    a = tensor("a", np.ones(2))
    b = tensor("b", np.array(["x", ""], object), "BYTES")
    world.take(Sample(inputs=[a, b]), Sample(inputs=[a]))
    found = features(world.live(("m", 1)))
    counts = [found[name].num_stats.common_stats for name in ("a",)]
    counts += [found[name].string_stats.common_stats for name in ("b",)]
    assert [(one.num_non_missing, one.num_missing) for one in counts] == [(4, 0), (1, 3)]


def test_what_the_schema_does_not_allow_is_told_once_as_long_as_it_lasts(tmp_path: Path) -> None:
    (tmp_path / "schema.pbtxt").write_text(RANGES)
    world = World(tmp_path, view(MATRIX, tmp_path))
    with capture_logs() as told:
        for _ in range(3):
            world.take(sample([[2, 2]] * 50))
            world.after(60)
    events = [record for record in told if record["event"] == "feature_anomaly"]
    assert [(one["feature"], one["window"]) for one in events] == [("x[0]", "minute")]
    assert figures(world.made)["m", 1]["feature_anomalies"] == 1
    with capture_logs() as told:
        world.take(sample([[0, 2]] * 50))
        world.after(60)
    assert [record["event"] for record in told] == ["feature_anomalies_over"]


def test_a_schema_of_names_without_end_and_numbers_that_are_none_is_told_in_short(
    tmp_path: Path,
) -> None:
    comparator = "drift_comparator { jensen_shannon_divergence { threshold: inf } }"
    known = f'feature {{ name: "x[0]" type: FLOAT {comparator} }}'
    unknown = f'feature {{ name: "{"n" * 1_000_000}" presence {{ min_count: 1 }} type: FLOAT }}'
    (tmp_path / "schema.pbtxt").write_text(f"{known}\n{unknown}")
    world = World(tmp_path, view(MATRIX, tmp_path))
    for _ in range(2):
        world.take(sample([[at, at] for at in range(50)]))
        world.after(60)

    def told(page: Page) -> str:
        anomalies = [one.to_json() for one in page.alarms.standing]
        distances = [one.to_json() for one in page.distances.values()]
        return json.dumps([anomalies, distances], allow_nan=False)

    found = world.made.collector.read(("m", 1), told)
    assert '"threshold": null' in found
    assert "SCHEMA_MISSING_COLUMN" in found
    assert len(found) < 5000


def test_a_window_far_from_the_one_before_drifts(tmp_path: Path) -> None:
    (tmp_path / "schema.pbtxt").write_text(RANGES)
    world = World(tmp_path, view(MATRIX, tmp_path))
    generator = np.random.default_rng(1)
    with capture_logs() as told:
        for mean in (0.0, 0.0, 9.0):
            rows = generator.normal(0, 0.1, (500, 2))
            rows[:, 1] += mean
            world.take(sample(rows.tolist()))
            world.after(60)
    events = [(one["feature"], one["type"]) for one in told if one["event"] == "feature_anomaly"]
    assert events == [("x[1]", "COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH")]
    assert figures(world.made)["m", 1]["feature_distance/drift"] > 0.9


@pytest.mark.parametrize("first", [1, 2])
def test_versions_that_share_requests_are_compared(tmp_path: Path, first: int) -> None:
    """Whichever was asked first, since the process began or it was idle."""
    from dataclasses import replace

    shared = view(MATRIX, tmp_path, 1, 2)
    route = replace(shared.route, default=1, weights=((1, 9), (2, 1)))
    world = World(tmp_path, replace(shared, route=route))
    rows = np.random.default_rng(1).normal(0, 1, (300, 2)).tolist()
    both = [sample(rows), sample(rows, version=2, shift=5.0)]
    world.take(*(both if first == 1 else reversed(both)))
    world.after(60)
    found = figures(world.made)
    assert found["m", 2]["feature_distance/versions"] > 0.9
    assert "feature_distance/versions" not in found["m", 1]


def test_one_versions_tensors_keep_those_of_others_from_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, view(MATRIX, tmp_path, 1, 2))
    broken = Sample("m", 1, [("x", "FP32", (7, 7), b"1234")])
    with capture_logs() as told:
        world.take(broken, sample([[5, 6]], version=2))
        assert world.live(("m", 1)) is None
    assert [record["event"] for record in told] == ["statistics_not_made"]
    assert world.made.figures().dropped["error"] == 1
    assert world.live(("m", 2)).datasets[0].num_examples == 1


def test_samples_of_a_version_that_left_are_counted_still(tmp_path: Path) -> None:
    world = World(tmp_path, view(MATRIX, tmp_path))
    world.made.watch({"m": None})
    world.take(sample([[1, 2]]))
    assert world.live(("m", 1)).datasets[0].num_examples == 1


def test_samples_of_what_was_never_there_are_none(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.take(sample([[1, 2]]))
    assert world.live(("m", 1)) is None


def test_a_bug_in_a_check_leaves_the_statistics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr(collector, "check", fail)
    world = World(tmp_path, view(MATRIX, tmp_path))
    with capture_logs() as told:
        world.take(sample([[1, 2]]))
        world.after(60)
    assert [record["event"] for record in told] == ["statistics_not_checked"]
    assert world.made.collector.read(("m", 1), lambda page: len(page.series.closed("minute"))) == 1


def test_the_thread_sleeps_while_no_window_goes_on(tmp_path: Path) -> None:
    world = World(tmp_path, view(MATRIX, tmp_path))
    assert world.made.collector._until_due(NOON) is None
    world.take(sample([[1, 2]]))
    assert world.made.collector._until_due(NOON + 13) == 47


def test_those_whom_nobody_asks_are_written_down_and_leave_memory(tmp_path: Path) -> None:
    world = World(tmp_path, view(MATRIX, tmp_path))
    world.take(sample([[1, 2]]))
    for _ in range(20):
        world.after(60)
    assert world.made.figures().nbytes == 0
    assert world.made.collector.read(("m", 1), lambda page: len(page.series.closed("minute"))) == 1
    assert world.made.collector._until_due(world.clock.now) is None


def test_who_reads_waits_for_one_version_that_is_written_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scrape of the metrics, of a thousand versions whose turn it is."""
    world = World(tmp_path, view(MATRIX, tmp_path, 1, 2, 3))
    for version in (1, 2, 3):
        world.take(sample([[1, 2]], version))
    collector, write = world.made.collector, StateDir.write
    held: list[int] = []

    class Counted:
        """Tells how many versions were written while it was held once."""

        def __enter__(self) -> None:
            held.append(0)

        def __exit__(self, *_: object) -> None:
            pass

    def counted(state: StateDir, name: str, document: Any, *, hold: bool = True) -> bool:
        held[-1] += 1
        return write(state, name, document, hold=hold)

    monkeypatch.setattr(collector, "_lock", Counted())
    monkeypatch.setattr(StateDir, "write", counted)
    for _ in range(20):
        world.after(60)
    collector._last_turn()
    assert sum(held) >= 3
    assert max(held) == 1


def test_samples_count_in_the_window_in_which_they_came(tmp_path: Path) -> None:
    world = World(tmp_path, view(MATRIX, tmp_path))
    for wait in (59, 2, 57, 3):
        world.take(sample([[1, 2]]))
        world.after(wait)
    kept = world.made.collector.read(("m", 1), lambda page: page.series.closed("minute"))
    assert [(one.start - NOON, one.samples) for one in kept] == [(0, 2), (60, 2)]


def test_they_are_not_gathered_beyond_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows of a second, as short as the samples are gathered: each has its own."""
    world = World(tmp_path, view(MATRIX, tmp_path), window_s=1)
    collector, mailbox = world.made.collector, world.made._mailbox
    monkeypatch.setattr(collector, "_gather_s", 1.0)
    gather = mailbox.gather

    def until_then(most: int, timeout: float) -> list[Any]:
        """One more comes each tenth of a second meanwhile."""
        for _ in range(round(timeout * 10)):
            world.clock.now += 0.1
            mailbox.put([sample([[1, 2]])])
        return gather(most, 0.0)

    monkeypatch.setattr(mailbox, "gather", until_then)
    for _ in range(9):
        world.take(sample([[1, 2]]))
        world.clock.now += 0.05
    kept = collector.read(("m", 1), lambda page: page.series.closed("minute"))
    assert [one.start - NOON for one in kept] == [0, 1, 2, 3]
    assert all(10 <= one.samples <= 12 for one in kept)


def test_everything_is_written_before_anything_is_checked_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, view(MATRIX, tmp_path, 1, 2, 3))
    world.take(*(sample([[1, 2]], version) for version in (1, 2, 3)))
    state, written = StateDir(tmp_path / "state"), list[int]()

    def check(key: tuple[str, int], closed: Sequence[Any]) -> None:
        written.append(len(state.names("statistics")))

    monkeypatch.setattr(world.made.collector, "_check", check)
    world.made.collector._last_turn()
    assert written == [3, 3, 3]


def test_at_the_end_files_are_written_together_and_only_those_that_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk takes eight at once in a quarter of the time."""
    numbers = range(1, 9)
    world = World(tmp_path, view(MATRIX, tmp_path, *numbers))
    world.take(*(sample([[1, 2]], version) for version in numbers))
    together, replace, written = (
        threading.Barrier(8, timeout=20.0),
        state_dir._replace,
        list[Path](),
    )

    def waiting(root: Path, file: Path, text: bytes) -> None:
        together.wait()
        replace(root, file, text)
        written.append(file)

    monkeypatch.setattr(state_dir, "_replace", waiting)
    world.made.collector._last_turn()
    assert len(set(written)) == len(written) == 8
    world.made.collector._last_turn()
    assert len(written) == 8


def test_what_the_disk_does_not_take_at_the_end_counts_as_unwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    world = World(tmp_path, view(MATRIX, tmp_path))
    world.take(sample([[1, 2]]))
    with monkeypatch.context() as patched:
        patched.setattr(state_dir, "_replace", full)
        world.made.collector._last_turn()
    assert not StateDir(tmp_path / "state").names("statistics")
    world.made.collector._last_turn()
    assert len(StateDir(tmp_path / "state").names("statistics")) == 1


def test_it_ends_with_everything_written_down(tmp_path: Path) -> None:
    world = World(tmp_path, view(MATRIX, tmp_path))
    world.made.begin()
    world.made.keep([sample([[1, 2]])])
    world.made.end(30.0)
    after = World(tmp_path, view(MATRIX, tmp_path))
    found = after.made.collector.read(("m", 1), lambda page: page.series.closed("minute"))
    assert [one.samples for one in found] == [1]


def trained(folder: Path) -> None:
    """A baseline beside the model, of data that have a label, too."""
    generator = np.random.default_rng(1)
    sketch = DatasetSketch()
    columns = {"x[0]": generator.normal(0, 1, 1000), "x[1]": generator.normal(0, 1, 1000)}
    sketch.add({**columns, "label": generator.integers(0, 3, 1000)})
    made = messages.DatasetFeatureStatisticsList(datasets=[sketch.message("All Examples")])
    (folder / "1").mkdir()
    (folder / "1" / "baseline.pb").write_bytes(dump(made, Form.BINARY))


def test_without_a_schema_one_is_inferred_from_the_baseline(tmp_path: Path) -> None:
    """Google Play's case: a feature that training had is always missing in what is served."""
    trained(tmp_path)
    world = World(tmp_path, view(MATRIX, tmp_path, baseline="baseline.pb"))
    rows = np.random.default_rng(2).normal(0, 1, (300, 2))
    rows[:, 1] = np.nan
    with capture_logs() as told:
        world.take(sample(rows.tolist()))
        world.after(60)
    events = [(one["feature"], one["type"]) for one in told if one["event"] == "feature_anomaly"]
    assert events == [("x[1]", "FEATURE_TYPE_NOT_PRESENT")]
    assert 0 <= figures(world.made)["m", 1]["feature_distance/skew"] < 0.1


def test_a_feature_that_is_constant_where_training_varied_is_an_anomaly(tmp_path: Path) -> None:
    trained(tmp_path)
    world = World(tmp_path, view(MATRIX, tmp_path, baseline="baseline.pb"))
    rows = np.random.default_rng(2).normal(0, 1, (300, 2))
    rows[:, 0] = 0.5
    with capture_logs() as told:
        world.take(sample(rows.tolist()))
        world.after(60)
    events = [one["feature"] for one in told if one["event"] == "feature_anomaly"]
    assert events == ["x[0]"]


def test_a_baseline_that_lies_is_told_of_once_and_is_none(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "baseline.pb").write_bytes(b"not statistics")
    world = World(tmp_path, view(MATRIX, tmp_path, baseline="baseline.pb"))
    with capture_logs() as told:
        for _ in range(2):
            world.take(sample([[1, 2]] * 50))
            world.after(60)
    assert [one["event"] for one in told] == ["statistics_reference_unreadable"]
    assert told[0]["what"] == "baseline"
    assert world.made.collector.baseline(("m", 1)) is None


def test_a_schema_that_is_broken_when_it_is_edited_leaves_the_one_before(tmp_path: Path) -> None:
    schema = tmp_path / "schema.pbtxt"
    schema.write_text(RANGES)
    world = World(tmp_path, view(MATRIX, tmp_path))
    world.take(sample([[1, 2]] * 50))
    world.after(60)
    schema.write_text("feature {")
    with capture_logs() as told:
        for _ in range(2):
            world.take(sample([[99, 2]] * 50))
            world.after(60)
    unreadable, *anomalies = [one for one in told if one["event"] != "feature_anomalies_over"]
    assert unreadable["event"] == "statistics_reference_unreadable"
    assert unreadable["effect"] == "what it said before holds"
    assert "x[0]" in {one["feature"] for one in anomalies}


def test_who_asks_for_the_baseline_is_told_it_and_writes_nothing_into_the_log(
    tmp_path: Path,
) -> None:
    trained(tmp_path)
    (tmp_path / "schema.pbtxt").write_text("feature {")
    world = World(tmp_path, view(MATRIX, tmp_path, baseline="baseline.pb"))
    with capture_logs() as told:
        found = [world.made.collector.baseline(("m", 1)) for _ in range(3)]
    assert [one.num_examples for one in found] == [found[0].num_examples] * 3
    assert told == []
