"""How models may lie in directories, what a manifest says of them, and what a scan costs."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from serving.registry import look, tree
from serving.registry.directory import FULL_LOOK, DirectorySource
from serving.registry.manifest import MANIFEST_NAME, read_manifest
from serving.registry.snapshot import FoundModel, FoundVersion, Snapshot

WALL_LATER_S = 3600.0


class Clock:
    """Monotonic seconds in the test's hand; the wall clock an hour after every file."""

    now = 1000.0

    def mono(self) -> float:
        return self.now

    def wall(self) -> float:
        import time

        return time.time() + WALL_LATER_S


def lay(root: Path, *paths: str) -> Path:
    """Files, or with a slash at the end folders."""
    for path in paths:
        if path.endswith("/"):
            (root / path).mkdir(parents=True, exist_ok=True)
        else:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(path)
    return root


def source(*roots: Path, follow: bool = False, clock: Clock | None = None) -> DirectorySource:
    clock = clock or Clock()
    return DirectorySource(
        list(roots), 3.0, wall=clock.wall, mono=clock.mono, follow_symlinks=follow
    )


def shape(snapshot: Snapshot) -> dict[str, list[int]]:
    return {m.name: [v.number for v in m.versions] for m in snapshot.models}


def only(snapshot: Snapshot) -> FoundModel:
    (model,) = snapshot.models
    return model


def only_version(snapshot: Snapshot) -> FoundVersion:
    (version,) = only(snapshot).versions
    return version


def folder_of(version: FoundVersion) -> Path:
    return version.origin.fetch().version


LAYOUTS = [
    ("Triton's", ["a/1/model.onnx", "a/2/model.onnx", "b/7/model.onnx"], {"a": [1, 2], "b": [7]}),
    ("Triton's, a model named by digits", ["5/1/model.onnx", "5/config.pbtxt"], {"5": [1]}),
    ("Triton's, all named by digits", ["5/1/model.onnx", "6/2/model.onnx"], {"5": [1], "6": [2]}),
    ("TensorFlow Serving's", ["1/model.onnx", "00000123/model.onnx"], {"DIR": [1, 123]}),
    ("TensorFlow Serving's, time stamps", ["1700000000/model.onnx"], {"DIR": [1700000000]}),
    ("TensorFlow Serving's, being made", ["1/"], {"DIR": [1]}),
    ("TensorFlow Serving's, a folder beside", ["1/model.onnx", "notes/a.txt"], {"DIR": [1]}),
    ("TensorFlow Serving's, configured", ["3/m.onnx", "config.pbtxt", "warmup/x"], {"DIR": [3]}),
    ("a model's folder with the file", ["m/model.onnx", "m/model.yaml"], {"m": [1]}),
    ("as MLflow saves", ["m/model.onnx", "m/MLmodel", "m/input_example.json"], {"m": [1]}),
    ("the file, and later versions beside it", ["m/model.onnx", "m/2/model.onnx"], {"m": [1, 2]}),
    ("the directory itself with the file", ["model.onnx", "labels.txt"], {"DIR": [1]}),
    ("a stray file above models", ["model.onnx", "a/1/model.onnx"], {"a": [1], "model": []}),
    ("a numbered folder among models", ["5/model.onnx", "a/1/model.onnx"], {"5": [1], "a": [1]}),
    ("nothing", ["README.md"], {}),
]


@pytest.mark.parametrize(("paths", "found"), [c[1:] for c in LAYOUTS], ids=[c[0] for c in LAYOUTS])
def test_a_layout_is_told_by_what_lies_there(tmp_path, paths, found) -> None:
    assert shape(source(lay(tmp_path / "DIR", *paths)).scan()) == found


@pytest.mark.parametrize(
    ("paths", "path", "version"),
    [
        (["m/1/model.onnx"], "m", "m/1"),
        (["0012/model.onnx"], "", "0012"),
        (["m/model.onnx"], "m", "m"),
        (["model.onnx"], "", ""),
    ],
)
def test_the_configuration_and_the_model_file_have_their_folders(
    tmp_path, paths, path, version
) -> None:
    snapshot = source(lay(tmp_path, *paths)).scan()
    assert only(snapshot).path == tmp_path / path
    assert folder_of(only_version(snapshot)) == tmp_path / version


@pytest.mark.parametrize(
    ("names", "kept", "reason"),
    [
        (["0123", "123"], 123, "the same version as 123"),
        (["00", "5"], 5, "a version is a positive integer"),
        (["0" * 30 + "9" * 19, "5"], 5, "a version fits into 63 bits"),
    ],
)
def test_fault_7_in_tensorflow_servings_layout_only_zeros_may_lead(
    tmp_path, names, kept, reason
) -> None:
    snapshot = source(lay(tmp_path, *(f"{name}/model.onnx" for name in names))).scan()
    assert [v.number for v in only(snapshot).versions] == [kept]
    assert [(i.path.name, i.reason) for i in snapshot.ignored] == [(names[0], reason)]


def test_a_version_folder_goes_before_a_model_file_beside_it(tmp_path) -> None:
    snapshot = source(lay(tmp_path, "m/model.onnx", "m/1/model.onnx")).scan()
    assert folder_of(only_version(snapshot)) == tmp_path / "m" / "1"
    assert [i.path.name for i in snapshot.ignored] == ["model.onnx"]


def test_a_model_in_two_directories_is_that_models_error_in_every_layout(tmp_path) -> None:
    below = lay(tmp_path / "all", "m/1/model.onnx", "other/1/model.onnx")
    itself = lay(tmp_path / "m", "1/model.onnx")
    snapshot = source(below, itself).scan()
    errors = {m.name: m.error for m in snapshot.models}
    assert errors == {"m": "it is in more than one model directory", "other": ""}


def test_of_a_model_in_one_folder_configuration_and_files_change_apart(tmp_path) -> None:
    lay(tmp_path, "m/model.onnx", "m/config.pbtxt", "m/warmup/x")
    watching = source(tmp_path)
    before = watching.scan()
    assert only_version(before).origin.fingerprint() == only_version(before).fingerprint
    (tmp_path / "m" / "config.pbtxt").write_text("max_batch_size: 4")
    configured = watching.scan(closely={"m"})
    assert only(configured).config_stamp != only(before).config_stamp
    assert only_version(configured) == only_version(before)
    (tmp_path / "m" / "labels.txt").write_text("a")
    changed = watching.scan(closely={"m"})
    assert only(changed).config_stamp == only(configured).config_stamp
    assert only_version(changed).settling


def test_of_a_model_in_one_folder_a_schema_is_beside_it_unless_it_was_published_with_it(
    tmp_path,
) -> None:
    lay(tmp_path, "m/model.onnx", "m/schema.pbtxt")
    watching = source(tmp_path)
    before = watching.scan()
    (tmp_path / "m" / "schema.pbtxt").write_text("feature {}")
    edited = watching.scan(closely={"m"})
    assert only(edited).config_stamp != only(before).config_stamp
    assert only_version(edited) == only_version(before)
    text = manifest(**{"model.onnx": b"", "schema.pbtxt": b"feature {}"})
    (tmp_path / "m" / "serving_manifest.json").write_text(text)
    (tmp_path / "m" / "model.onnx").write_bytes(b"")
    published = watching.scan(closely={"m"})
    assert only_version(published).why_not == ""
    assert only_version(published).origin.fingerprint() == only_version(published).fingerprint


def test_what_is_being_published_is_passed_over_without_a_word(tmp_path) -> None:
    lay(tmp_path, ".publishing-1/version/model.onnx", ".publishing-1.lock", "m/1/model.onnx")
    watching = source(tmp_path)
    before = watching.scan()
    lay(tmp_path, "m/.publishing-2/version/model.onnx", "m/.publishing-2.lock")
    assert watching.scan(closely={"m"}) is before
    assert shape(before) == {"m": [1]}
    assert before.ignored == ()


# Links


def test_fault_11_links_are_followed_only_where_the_setting_says_so(tmp_path) -> None:
    lay(tmp_path / "elsewhere", "m/1/model.onnx", "2/model.onnx")
    root = lay(tmp_path / "root", "n/1/model.onnx")
    (root / "m").symlink_to(tmp_path / "elsewhere" / "m")
    (root / "n" / "2").symlink_to(tmp_path / "elsewhere" / "2")
    snapshot = source(root).scan()
    assert shape(snapshot) == {"n": [1]}
    assert {i.path.name for i in snapshot.ignored} == {"m", "2"}
    followed = source(root, follow=True).scan()
    assert shape(followed) == {"m": [1], "n": [1, 2]}
    assert followed.ignored == ()
    paths = {folder_of(v) for m in followed.models for v in m.versions}
    assert tmp_path / "elsewhere" / "2" in paths
    assert followed.models[0].path == root / "m"


@pytest.mark.parametrize("target", ["gone", "m"])
def test_fault_11_a_link_to_nothing_or_to_itself_hurts_nobody(tmp_path, target) -> None:
    root = lay(tmp_path, "n/1/model.onnx")
    (root / "m").symlink_to(root / target)
    (root / "n" / "2").symlink_to(root / "n" / ("2" if target == "m" else target))
    snapshot = source(root, follow=True).scan()
    assert shape(snapshot) == {"n": [1]}
    assert [i.reason for i in snapshot.ignored] == ["not a directory"]


def test_fault_11_a_swapped_link_is_one_change_seen_by_the_next_scan(tmp_path) -> None:
    """As Kubernetes' volumes and git-sync do: every path leads through one link."""
    root = lay(tmp_path, "..one/m/1/model.onnx", "..two/m/2/model.onnx", "..two/m/3/model.onnx")
    (root / "..data").symlink_to("..one")
    (root / "m").symlink_to("..data/m")
    clock = Clock()
    watching = source(root, follow=True, clock=clock)
    assert shape(watching.scan()) == {"m": [1]}
    for _ in range(3):
        clock.now += 1
        watching.scan()
    (root / "..next").symlink_to("..two")
    (root / "..next").rename(root / "..data")
    clock.now += 1
    swapped = watching.scan()
    assert shape(swapped) == {"m": [2, 3]}
    assert {folder_of(v) for v in only(swapped).versions} == {
        root / "..two/m/2",
        root / "..two/m/3",
    }
    assert swapped.ignored == ()


def test_fault_11_a_version_whose_link_was_swapped_elsewhere_is_seen_too(tmp_path) -> None:
    lay(tmp_path, "one/model.onnx", "two/model.onnx", "root/m/config.pbtxt")
    current = tmp_path / "current"
    current.symlink_to("one")
    root = tmp_path / "root"
    (root / "m" / "1").symlink_to(current)
    watching = source(root, follow=True)
    for _ in range(3):
        assert folder_of(only_version(watching.scan())) == tmp_path / "one"
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").rename(current)
    assert folder_of(only_version(watching.scan())) == tmp_path / "two"


# Manifests


def entry(data: bytes) -> dict[str, object]:
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def manifest(**files: bytes) -> str:
    listed = {name.replace("__", "."): entry(data) for name, data in files.items()}
    created = "2026-01-01T00:00:00Z"
    return json.dumps(
        {"format": 1, "model": "m", "version": 1, "created": created, "files": listed}
    )


@pytest.fixture
def fresh(tmp_path: Path) -> tuple[Path, DirectorySource, Clock]:
    """A version's folder that appears while a source watches."""
    clock = Clock()
    watching = source(tmp_path, clock=clock)
    watching.scan()
    clock.now += 0.1
    folder = tmp_path / "m" / "1"
    folder.mkdir(parents=True)
    return folder, watching, clock


def test_with_a_manifest_a_version_is_whole_as_soon_as_its_files_are(fresh) -> None:
    folder, watching, _ = fresh
    (folder / MANIFEST_NAME).write_text(manifest(model__onnx=b"model", weights=b"12345"))
    missing = only_version(watching.scan())
    assert (missing.whole, missing.settling, missing.manifest) == (False, True, True)
    assert "is not there" in missing.why_not
    (folder / "model.onnx").write_bytes(b"model")
    (folder / "weights").write_bytes(b"123")
    short = only_version(watching.scan())
    assert short.why_not == "weights has 3 bytes, and its manifest lists 5"
    (folder / "weights").write_bytes(b"12345")
    done = only_version(watching.scan())
    assert (done.whole, done.settling, done.manifest) == (True, False, True)


def test_a_manifest_that_its_files_never_meet_keeps_the_version_out(fresh) -> None:
    folder, watching, clock = fresh
    (folder / MANIFEST_NAME).write_text(manifest(model__onnx=b"model"))
    (folder / "model.onnx").write_bytes(b"mode")
    assert only_version(watching.scan()).settling
    clock.now += 60
    found = only_version(watching.scan())
    assert (found.whole, found.settling) == (False, False)


def test_a_manifest_that_came_half_is_read_again_when_it_grew(fresh) -> None:
    folder, watching, _ = fresh
    text = manifest(model__onnx=b"model")
    (folder / "model.onnx").write_bytes(b"model")
    (folder / MANIFEST_NAME).write_text(text[:40])
    half = only_version(watching.scan())
    assert "not JSON, or not whole" in half.why_not
    assert half.origin.manifest is None
    (folder / MANIFEST_NAME).write_text(text)
    found = only_version(watching.scan())
    assert found.whole
    assert found.origin.manifest == read_manifest(folder)


def test_a_published_model_without_a_configuration_waits_for_none(fresh) -> None:
    folder, watching, clock = fresh
    (folder / "model.onnx").write_bytes(b"model")
    assert not only(watching.scan()).config_settled
    (folder / MANIFEST_NAME).write_text(manifest(model__onnx=b"model"))
    assert only(watching.scan()).config_settled
    (folder.parent / "config.pbtxt").write_text("max_batch_size: 4")
    assert not only(watching.scan()).config_settled
    clock.now += 3.01
    assert only(watching.scan()).config_settled


def test_files_that_the_manifest_does_not_list_do_not_count(fresh) -> None:
    folder, watching, _ = fresh
    (folder / "model.onnx").write_bytes(b"model")
    (folder / "README").write_text("hello")
    (folder / MANIFEST_NAME).write_text(manifest(model__onnx=b"model"))
    assert only_version(watching.scan()).whole


def test_without_a_manifest_the_settle_time_decides(fresh) -> None:
    folder, watching, clock = fresh
    (folder / "model.onnx").write_bytes(b"model")
    assert only_version(watching.scan()).settling
    clock.now += 3.01
    assert only_version(watching.scan()).whole


# What it costs


class Calls:
    """Counters what a scan asks of the system."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.stats = self.lists = self.manifests = 0
        row, scandir, read = tree.row, os.scandir, read_manifest

        def counted_row(name, found):
            self.stats += 1
            return row(name, found)

        def counted_scandir(path):
            self.lists += 1
            return scandir(path)

        def counted_read(path):
            self.manifests += 1
            return read(path)

        patch.setattr(tree, "row", counted_row)
        patch.setattr(os, "scandir", counted_scandir)
        patch.setattr(look, "read_manifest", counted_read)

    def of(self, scan) -> tuple[int, int, int]:
        self.stats = self.lists = self.manifests = 0
        scan()
        return self.stats, self.lists, self.manifests


def test_thousands_of_versions_cost_a_stat_a_scan_and_a_glance_each_when_one_comes(
    tmp_path, monkeypatch
) -> None:
    count = 2000
    for number in range(1, count + 1):
        folder = tmp_path / "m" / str(number)
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(b"model")
        if number % 100 == 0:
            (folder / MANIFEST_NAME).write_text(manifest(model__onnx=b"model"))
    clock = Clock()
    watching = source(tmp_path, clock=clock)
    calls = Calls(monkeypatch)
    assert calls.of(watching.scan)[2] == count / 100
    for _ in range(2 * FULL_LOOK):
        clock.now += 1
        watching.scan()
    idle = []
    for _ in range(4 * FULL_LOOK):
        clock.now += 1
        idle.append(calls.of(watching.scan))
    quiet = [cost for cost in idle if cost == (1, 1, 0)]
    assert len(quiet) >= 4 * FULL_LOOK - 5
    assert all(manifests == 0 for _, _, manifests in idle)

    while calls.of(watching.scan)[0] == 1:
        clock.now += 1
    (tmp_path / "m" / str(count + 1)).mkdir()
    (tmp_path / "m" / str(count + 1) / "model.onnx").write_bytes(b"model")
    clock.now += 1
    stats, lists, manifests = calls.of(watching.scan)
    assert stats <= count + 10
    assert lists <= 5
    assert manifests == 0
    assert len(only(watching.scan()).versions) == count + 1


def test_a_version_that_failed_is_looked_at_closely_and_its_siblings_are_not(
    tmp_path, monkeypatch
) -> None:
    for number in range(1, 101):
        lay(tmp_path, f"m/{number}/model.onnx")
    watching = source(tmp_path)
    for _ in range(2 * FULL_LOOK):
        watching.scan()
    calls = Calls(monkeypatch)
    lists = [calls.of(lambda: watching.scan(closely={("m", 7)}))[1] for _ in range(FULL_LOOK)]
    assert sorted(lists)[FULL_LOOK // 2] == 3  # the directory, the model, the version
    (tmp_path / "m" / "7" / "model.onnx").write_text("other")
    found = only(watching.scan(closely={("m", 7)}))
    assert [v.number for v in found.versions if v.settling] == [7]
