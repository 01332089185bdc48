"""A version's baseline: published with it, checked, and never the reason that it fails."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving.loading.baseline import found_baseline
from serving.publishing import publish
from serving.registry.copying import PublishError
from serving.registry.manifest import BASELINE, read_manifest
from serving.statistics import files
from serving.statistics.baseline import checked, read_baseline, why_unusable
from serving.statistics.metadata import FormatError, messages
from tests.small_models import scale

DATA = "X,label\n1,a\n2,b\n3,\n"


def statistics() -> Any:
    made = messages.DatasetFeatureStatisticsList()
    data = made.datasets.add(num_examples=3)
    feature = data.features.add(type=1, name="X")
    feature.num_stats.min, feature.num_stats.max = 1, 3
    feature.num_stats.common_stats.num_non_missing = 3
    feature.num_stats.histograms.add().buckets.add(low_value=1, high_value=3, sample_count=3)
    return made


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(scale(2).SerializeToString())
    return path


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    folder = tmp_path / "registry"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("suffix", [".pb", ".pbtxt", ".json"])
def test_statistics_become_part_of_the_version(
    suffix: str, registry: Path, model: Path, tmp_path: Path
) -> None:
    files.write(tmp_path / f"stats{suffix}", statistics())

    done = publish(model, registry, "m", baseline=tmp_path / f"stats{suffix}")

    manifest = read_manifest(done.path)
    assert manifest is not None
    assert manifest.baseline == BASELINE
    assert BASELINE in manifest.files
    written = json.loads((done.path / "serving_manifest.json").read_text())
    assert written["statistics"] == {"baseline": "baseline.pb"}
    assert read_baseline(done.path, manifest.baseline) == statistics().datasets[0]
    assert found_baseline(done.path) == (BASELINE, ())


def test_training_data_becomes_statistics(registry: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(DATA)

    done = publish(model, registry, "m", training_data=[tmp_path / "data.csv"])

    baseline = read_baseline(done.path, BASELINE)
    assert baseline.num_examples == 3
    assert [one.path.step[0] for one in baseline.features] == ["X", "label"]


def test_data_of_something_else_is_noted(registry: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("x,y\n1,2\n")
    (tmp_path / "right.jsonl").write_text('{"X": [1, 2]}\n')

    done = publish(model, registry, "m", training_data=[tmp_path / "data.csv"])

    assert done.notes == (
        (
            "nothing of its baseline is about the input 'X' (as X, or X[0] and so on): there are"
            " 'x', 'y'"
        ),
    )
    assert publish(model, registry, "m", training_data=[tmp_path / "right.jsonl"]).notes == ()


def test_columns_of_mlflows_signature_are_what_data_is_about(
    registry: Path, model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    model.rename(folder / "model.onnx")
    inputs = '[{"type": "double", "name": "width", "required": true}]'
    (folder / "MLmodel").write_text(
        json.dumps({"flavors": {"onnx": {}}, "signature": {"inputs": inputs}})
    )
    (tmp_path / "data.csv").write_text("width,label\n1,2\n")
    (tmp_path / "other.csv").write_text("X\n1\n")

    one = publish(folder, registry, "m", training_data=[tmp_path / "data.csv"])
    other = publish(folder, registry, "m", training_data=[tmp_path / "other.csv"])

    assert not [note for note in one.notes if "baseline" in note]
    assert [note for note in other.notes if "about the input 'width'" in note]


def test_all_examples_are_the_baseline_beside_slices() -> None:
    made = messages.DatasetFeatureStatisticsList()
    made.datasets.add(name="city_rome", num_examples=1)
    made.datasets.add().CopyFrom(statistics().datasets[0])
    made.datasets[1].name = "All Examples"

    assert checked(made).num_examples == 3


def test_a_folders_own_statistics_are_named(registry: Path, model: Path, tmp_path: Path) -> None:
    """As in what MLflow saved."""
    folder = tmp_path / "saved"
    folder.mkdir()
    model.rename(folder / "model.onnx")
    files.write(folder / BASELINE, statistics())

    assert found_baseline(folder) == (BASELINE, ())
    done = publish(folder, registry, "m")
    assert read_manifest(done.path).baseline == BASELINE
    with pytest.raises(PublishError, match=r"has a baseline\.pb already"):
        publish(folder, registry, "m", baseline=folder / BASELINE)
    (folder / BASELINE).write_bytes(b"something else")
    done = publish(folder, registry, "m")
    assert read_manifest(done.path).baseline == ""
    assert [note for note in done.notes if "is no baseline: it is not TFX's" in note]


def test_what_is_no_statistics_is_not_published(
    registry: Path, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.pb").write_bytes(b"nothing of the kind")
    (tmp_path / "empty.csv").write_text("X\n")
    (tmp_path / "data.csv").write_text(DATA)

    with pytest.raises(PublishError, match=r"the baseline .*bad\.pb: it is not TFX's"):
        publish(model, registry, "m", baseline=tmp_path / "bad.pb")
    with pytest.raises(PublishError, match=r"training data: .*none\.csv: there is no such file"):
        publish(model, registry, "m", training_data=[tmp_path / "none.csv"])
    with pytest.raises(PublishError, match="has no example"):
        publish(model, registry, "m", training_data=[tmp_path / "empty.csv"])
    data = [tmp_path / "data.csv"]
    with pytest.raises(PublishError, match="not both"):
        publish(model, registry, "m", baseline=tmp_path / "bad.pb", training_data=data)
    assert list(registry.iterdir()) == []


def test_a_version_without_one_has_none(registry: Path, model: Path) -> None:
    done = publish(model, registry, "m")

    assert found_baseline(done.path) == ("", ())
    assert "statistics" not in (done.path / "serving_manifest.json").read_text()


def test_a_lying_baseline_is_a_note_of_the_load(
    registry: Path, model: Path, tmp_path: Path
) -> None:
    files.write(tmp_path / "stats.pb", statistics())
    done = publish(model, registry, "m", baseline=tmp_path / "stats.pb")
    (done.path / BASELINE).chmod(0o644)
    (done.path / BASELINE).write_bytes(b"\xff" * 40)

    named, notes = found_baseline(done.path)

    assert named == ""
    assert len(notes) == 1
    assert notes[0].startswith("its baseline of statistics is not used: it is not TFX's")


@pytest.mark.parametrize("named", ["../stats.pb", "/etc/passwd", "link.pb"])
def test_fault_8_a_baseline_lies_in_its_versions_folder(named: str, tmp_path: Path) -> None:
    version = tmp_path / "1"
    version.mkdir()
    files.write(tmp_path / "stats.pb", statistics())
    (version / "link.pb").symlink_to(tmp_path / "stats.pb")

    assert "its folder" in why_unusable(version, named)


def _twice(data: Any) -> None:
    data.features.add().CopyFrom(data.features[0])


def _none(data: Any) -> None:
    del data.features[:]


def _nameless(data: Any) -> None:
    data.features[0].ClearField("field_id")


def _bare(data: Any) -> None:
    data.features[0].ClearField("stats")


def _crowded(data: Any) -> None:
    data.features[0].num_stats.common_stats.num_non_missing = 4


def _nan(data: Any) -> None:
    data.features[0].num_stats.min = math.nan


def _negative(data: Any) -> None:
    data.features[0].num_stats.histograms[0].buckets[0].sample_count = -1


def _uncountable(data: Any) -> None:
    data.features[0].string_stats.top_values.add(value="a", frequency=math.nan)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_twice, "feature 'X' is there twice"),
        (_none, "has no feature"),
        (_nameless, "a feature has no name"),
        (_bare, "has no statistics"),
        (_crowded, "4 of 3 examples have it"),
        (_nan, "least value is nan"),
        (_negative, "bucket that none can have"),
        (_uncountable, "frequency that none can have"),
    ],
)
def test_statistics_that_no_data_has_are_told(change: Callable[[Any], None], said: str) -> None:
    message = statistics()
    checked(message)
    change(message.datasets[0])
    with pytest.raises(FormatError, match=said):
        checked(message)
