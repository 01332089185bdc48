"""Folders without a version: nothing of ours, or models that lie in the wrong way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from serving.execution.missing_file import describe, words_for_missing
from serving.registry import directory, tree
from serving.registry.directory import DirectorySource
from serving.registry.purpose import Purpose, is_systems, purpose
from serving.registry.snapshot import Snapshot


def lay(root: Path, *paths: str) -> Path:
    """Files, or with a slash at the end folders."""
    for path in paths:
        place = root / path
        (place if path.endswith("/") else place.parent).mkdir(parents=True, exist_ok=True)
        if not path.endswith("/"):
            place.write_bytes(b"model")
    return root


def source(root: Path) -> DirectorySource:
    return DirectorySource([root], settle_s=3.0)


def passed(snapshot: Snapshot) -> set[str]:
    return {one.path.name for one in snapshot.passed_over}


def errors(snapshot: Snapshot) -> dict[str, str]:
    return {found.name: found.error for found in snapshot.models}


NOTHING = [
    [],
    ["app.log", "old/app.log"],
    ["2026/", "2026/app.log", "2027/", "2027/app.csv"],
    ["a/", "a/b/", "a/b/README.md"],
    [".hidden/", ".hidden/1/", ".hidden/1/model.onnx"],
    ["@eaDir/", "@eaDir/1/", "@eaDir/1/model.onnx"],
    ["a/", "a/b/", "a/b/c.onnx"],
    ["1/", "1/.DS_Store", "notes.txt", "1/a.txt"],
    ["1/", "1/model-server.log", "2/", "2/model.log"],
    ["2024/", "2024/model.log", "2024/weights.csv", "2024/onnx.log"],
    ["1/", "1/data.bin", "1/rows.data", "1/report.xml"],
    ["1/", "1/a.xml", "1/b.bin"],
    ["train.h5", "cache.pkl", "remodel.pkl", "old/model.pt"],
]


@pytest.mark.parametrize("paths", NOTHING)
def test_a_folder_without_a_sign_of_a_model_is_passed_over(paths) -> None:
    found = purpose("m", paths)
    assert found.passed_over
    assert not found.error


MODELS = [
    ["config.pbtxt"],
    ["model.yaml", "notes.txt"],
    ["warmup/", "warmup/x.npz"],
    ["1/"],
    ["1/", "1/.model.onnx.Xk3a"],
    ["1/", "1/network.onnx"],
    ["1/", "1/saved_model.pb"],
    ["1/", "1/weights.h5", "notes.txt"],
    ["1/", "1/model.onnx.part"],
    ["1/", "1/big.onnx_data"],
    ["1/", "1/net.pt"],
    ["1/", "1/net.pth"],
    ["1/", "1/net.keras"],
    ["1/", "1/net.tflite"],
    ["1/", "1/clf.pkl"],
    ["1/", "1/clf.joblib"],
    ["1/", "1/net.plan"],
    ["1/", "1/model.savedmodel/", "1/model.savedmodel/saved_model.pb"],
    ["1/", "1/net.xml", "1/net.bin"],
]


@pytest.mark.parametrize("paths", MODELS)
def test_what_a_model_has_makes_it_one_though_it_can_not_be_served_yet(paths) -> None:
    assert purpose("m", paths) == Purpose()


MEANT = [
    (["iris.onnx"], "'iris.onnx' lies beside where its versions should: move it to 1/model.onnx"),
    (["v1/", "v1/model.onnx"], "'v1' is no version's name: rename it to 1"),
    (["007/", "007/model.onnx"], "'007' is no version's name: rename it to 7"),
    (["1.0/", "1.0/model.onnx"], "rename it to 1"),
    (["version_12/", "version_12/model.onnx"], "rename it to 12"),
    (["0/", "0/model.onnx"], "rename it to 1"),
    (["v3/", "v3/iris.onnx"], "rename it to 3, and 'iris.onnx' in it to model.onnx"),
    (["best/", "best/model.onnx"], "if 'best' is a model, move it up, beside 'm'; if it is a ver"),
    (["r50/", "r50/1/", "r50/1/model.onnx"], "'r50/1/model.onnx' lies one level too low: move"),
    (["1"], "'1' is a file: a version is a folder that holds model.onnx"),
    (["2026/", "2026/app.log", "iris.onnx"], "'iris.onnx' lies beside"),
    (
        ["net.pt"],
        "'net.pt' is no ONNX model, and only those are served: export it to ONNX, as 1/mod",
    ),
    (["MLmodel", "model.pkl"], "'MLmodel' is no ONNX model"),
    (["sk_model.joblib"], "'sk_model.joblib' is no ONNX model"),
    (["v1/", "v1/saved_model.pb"], "'v1/saved_model.pb' is no ONNX model"),
    (["net.bin", "net.xml"], "'net.xml' is no ONNX model"),
    (["iris.onnx", "iris.pt"], "'iris.onnx' lies beside"),
]


@pytest.mark.parametrize(("paths", "words"), MEANT)
def test_a_folder_meant_for_a_model_hears_what_to_do(paths, words) -> None:
    found = purpose("m", paths)
    assert words in found.error
    assert not found.passed_over


@pytest.mark.parametrize(
    "name", ["lost+found", "@eaDir", "__MACOSX", "#recycle", "$RECYCLE.BIN", "__pycache__"]
)
def test_the_systems_own_folders_are_never_models_whatever_lies_in_them(tmp_path, name) -> None:
    lay(tmp_path, "m/1/model.onnx", f"{name}/old/1/model.onnx", f"{name}/1/model.onnx")
    snapshot = source(tmp_path).scan()
    assert is_systems(name)
    assert errors(snapshot) == {"m": ""}
    assert passed(snapshot) == {name}


def test_beside_a_directorys_own_versions_the_systems_folders_change_nothing(tmp_path) -> None:
    lay(tmp_path / "DIR", "1/model.onnx", "#recycle/2/model.onnx", "lost+found/")
    (found,) = source(tmp_path / "DIR").scan().models
    assert (found.name, [v.number for v in found.versions]) == ("DIR", [1])


def test_a_scan_tells_apart_models_what_was_meant_for_one_and_the_rest(tmp_path) -> None:
    lay(tmp_path, "m/1/model.onnx", "logs/2026/11/app.log", "empty/", "notes/a.txt")
    lay(tmp_path, "v/v1/model.onnx", "group/r50/1/model.onnx", "iris.onnx", "m.onnx", "README.md")
    snapshot = source(tmp_path).scan()
    assert passed(snapshot) == {"logs", "empty", "notes"}
    found = errors(snapshot)
    assert found.pop("m") == ""
    assert set(found) == {"v", "group", "iris"}
    assert found["iris"] == "'iris.onnx' lies beside the models: move it to iris/1/model.onnx"
    assert all(words and str(tmp_path) not in words for words in found.values())
    assert {i.path.name for i in snapshot.ignored} == {"v1", "r50", "m.onnx"}


def test_many_loose_files_make_a_bounded_number_of_models(tmp_path) -> None:
    lay(tmp_path, "m/1/model.onnx", *(f"x{i}.onnx" for i in range(100)))
    assert len(source(tmp_path).scan().models) == 1 + directory.MOST_LOOSE


def test_a_name_that_no_message_can_carry_is_shown_with_question_marks(tmp_path) -> None:
    lay(tmp_path, "m/" + os.fsdecode(b"v\xff\n.onnx"))
    (found,) = source(tmp_path).scan().models
    assert "'v??.onnx'" in found.error
    found.error.encode()


def test_a_folder_passed_over_becomes_a_model_with_its_first_version(tmp_path) -> None:
    watching = source(lay(tmp_path, "m/"))
    for _ in range(5):
        assert passed(watching.scan()) == {"m"}
    lay(tmp_path, "m/1/model.onnx")
    snapshot = watching.scan()
    assert passed(snapshot) == set()
    assert errors(snapshot) == {"m": ""}


def test_a_model_file_that_comes_late_into_a_numbered_folder_is_seen_at_once(tmp_path) -> None:
    """A copier that takes the notes first: the model's own folder doesn't change any more."""
    watching = source(lay(tmp_path, "m/1/README.md"))
    for _ in range(5):
        assert passed(watching.scan()) == {"m"}
    lay(tmp_path, "m/1/model.onnx")
    assert errors(watching.scan()) == {"m": ""}


def test_folders_passed_over_cost_one_look_and_now_and_then_another(tmp_path, monkeypatch) -> None:
    watching = source(lay(tmp_path, "logs/2026/a.log", "notes/a.txt"))
    looks: list[str] = []
    real = tree.outline
    monkeypatch.setattr(tree, "outline", lambda *a: looks.append(a[0]) or real(*a))
    first = watching.scan()
    for _ in range(40):
        assert watching.scan() is first
    assert len(looks) < 2 * (3 + 40 / directory.FULL_LOOK + 2)


def test_an_outline_is_bounded(tmp_path) -> None:
    lay(tmp_path, *(f"{i}/a/b/c/d" for i in range(50)))
    assert len(tree.outline(str(tmp_path), 3, 20)) == 20
    deep = tree.outline(str(tmp_path), 3, 1000)
    assert len(deep) == 150
    assert max(path.rstrip("/").count("/") for path in deep) == 2


@pytest.fixture
def unreadable(monkeypatch) -> set[str]:
    """Names of folders that can't be listed; root may read everything else."""
    names: set[str] = set()
    real = tree.list_entries

    def list_entries(folder: str):
        if Path(folder).name in names:
            raise PermissionError(13, "Permission denied", folder)
        return real(folder)

    monkeypatch.setattr(tree, "list_entries", list_entries)
    return names


def test_a_folder_that_was_never_read_is_passed_over(tmp_path, unreadable) -> None:
    unreadable.add("private")
    watching = source(lay(tmp_path, "m/1/model.onnx", "private/1/model.onnx"))
    for _ in range(3):
        (one,) = watching.scan().passed_over
        assert one.reason == "it may not be read (permission denied)"


def test_a_model_that_can_no_longer_be_read_is_in_error_and_not_absent(
    tmp_path, unreadable
) -> None:
    watching = source(lay(tmp_path, "m/1/model.onnx"))
    assert errors(watching.scan()) == {"m": ""}
    unreadable.add("m")
    for _ in range(20):
        found = errors(watching.scan(closely={"m"}))
        assert found == {"m": "its directory may not be read (permission denied)"}
    unreadable.clear()
    assert errors(watching.scan(closely={"m"})) == {"m": ""}


MISSING = [
    ([], [], "there is no model.onnx"),
    (["iris.onnx"], [], "there is no model.onnx, but iris.onnx: rename it to model.onnx, or set"),
    (["a.onnx", "b.onnx"], [], "but a.onnx and b.onnx: rename the one that is the model"),
    (["net/"], ["net/iris.onnx"], "but net/iris.onnx: move it up one level, to model.onnx"),
    (["a.pb", "b", "c", "d", "e"], [], "only a.pb, b, c and 2 more: a version holds a model in"),
]


@pytest.mark.parametrize(("names", "below", "words"), MISSING)
def test_a_version_without_its_model_file_hears_what_lies_there(names, below, words) -> None:
    assert words in describe("model.onnx", names, below)


def test_the_setting_that_would_do_is_named_and_hidden_files_are_not(tmp_path) -> None:
    lay(tmp_path, "iris.onnx", ".secret.onnx")
    words = words_for_missing(tmp_path, "model.onnx")
    assert "default_model_filename (config.pbtxt) or model_filename (model.yaml)" in words
    assert "secret" not in words
    assert words_for_missing(tmp_path / "absent", "model.onnx") == "there is no model.onnx"
