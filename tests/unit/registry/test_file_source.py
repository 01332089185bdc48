"""A bare file as a source."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.registry.file_source import FileSource
from serving.registry.kinds import Terms, open_sources
from serving.registry.snapshot import FoundModel, FoundVersion, Snapshot
from serving.settings.registry import RegistrySettings
from tests.unit.registry.test_directory import Clock


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "iris.onnx"
    path.write_bytes(b"model")
    return path


def source(file: Path, clock: Clock | None = None) -> FileSource:
    clock = clock or Clock()
    return FileSource(file, 3.0, clock.wall, clock.mono)


def only(snapshot: Snapshot) -> tuple[FoundModel, FoundVersion]:
    (model,) = snapshot.models
    (version,) = model.versions
    return model, version


def test_a_file_is_version_1_of_a_model_named_after_it(file: Path) -> None:
    model, version = only(source(file).scan())
    assert (model.name, version.number, version.whole) == ("iris", 1, True)
    assert version.origin.fetch().version == file.parent
    assert model.config is not None
    assert model.config.config is not None
    assert model.config.config.model_filename == "iris.onnx"


def test_a_file_that_changes_is_whole_again_after_the_settle_time_or_when_told(file: Path) -> None:
    clock = Clock()
    watching = source(file, clock)
    first = watching.scan()
    assert watching.scan() is first
    (file.parent / "iris.onnx.data").write_bytes(b"weights")
    changed = watching.scan()
    assert only(changed)[1].settling
    assert only(changed)[1].fingerprint != only(first)[1].fingerprint
    assert changed.settles_in == pytest.approx(3.0)
    assert only(watching.scan(at_once={"iris"}))[1].whole
    file.write_bytes(b"another")
    assert only(watching.scan())[1].settling
    clock.now += 3.01
    found = only(watching.scan())[1]
    assert found.whole
    assert found.origin.fingerprint() == found.fingerprint


def test_fault_6_a_file_that_vanishes_hides_its_own_model_and_no_other(file: Path) -> None:
    watching = source(file)
    _, version = only(watching.scan())
    file.unlink()
    snapshot = watching.scan()
    assert [(model.name, model.error) for model in snapshot.models] == [("iris", "does not exist")]
    assert snapshot.errors == ()
    assert version.origin.fingerprint() == ""


def test_a_file_whose_name_can_be_no_models_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a\nb.onnx"
    path.write_bytes(b"model")
    snapshot = source(path).scan()
    assert snapshot.models == ()
    assert [entry.path for entry in snapshot.ignored] == [path]


def test_a_link_is_named_as_it_was_written_and_leads_to_its_data(file: Path) -> None:
    (file.parent / "links").mkdir()
    link = file.parent / "links" / "best.onnx"
    link.symlink_to(file)
    model, version = only(source(link).scan())
    assert model.name == "best"
    assert version.origin.fetch().version == file.parent.resolve()
    assert model.config is not None
    assert model.config.config is not None
    assert model.config.config.model_filename == "iris.onnx"


def test_files_are_one_source_and_directories_another(file: Path) -> None:
    clock = Clock()
    roots = [file.parent, file, file.parent / "absent"]
    terms = Terms(RegistrySettings(), clock.wall, clock.mono)
    kinds = [type(one).__name__ for one in open_sources(roots, terms)]
    assert kinds == ["Together", "DirectorySource"]
    assert [type(one).__name__ for one in open_sources([file, file], terms)] == ["Together"]
    assert len(open_sources([], terms)) == 1
