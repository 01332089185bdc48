"""What a scan of model directories finds, with the clocks in the test's hand."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from serving.registry import directory, tree
from serving.registry.directory import DirectorySource, FoundModel, FoundVersion, Snapshot
from serving.registry.file_source import FileOrigin
from serving.registry.folder_origin import FolderOrigin
from serving.registry.look import A_LINK

SETTLE_S = 3.0


class Clock:
    """Both clocks; the wall clock starts well after every file was made."""

    def __init__(self, wall_ahead: float = 60.0) -> None:
        self.now = 1000.0
        self.ahead = time.time() + wall_ahead - self.now

    def mono(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + self.ahead


def source(root: Path, clock: Clock | None = None, *more: Path) -> DirectorySource:
    clock = clock or Clock()
    return DirectorySource([root, *more], SETTLE_S, wall=clock.wall, mono=clock.mono)


def write(version: Path, content: bytes = b"model", name: str = "model.onnx") -> Path:
    version.mkdir(parents=True, exist_ok=True)
    (version / name).write_bytes(content)
    return version


def model(snapshot: Snapshot, name: str = "m") -> FoundModel:
    return next(found for found in snapshot.models if found.name == name)


def version(snapshot: Snapshot, number: int = 1) -> FoundVersion:
    return next(found for found in model(snapshot).versions if found.number == number)


def reasons(snapshot: Snapshot) -> dict[str, str]:
    return {ignored.path.name: ignored.reason for ignored in snapshot.ignored}


def test_an_empty_directory_has_no_models(tmp_path: Path) -> None:
    assert source(tmp_path).scan() == Snapshot()


def test_versions_ascend_as_numbers_not_as_words(tmp_path: Path) -> None:
    for number in (10, 9, 100):
        write(tmp_path / "m" / str(number))
    found = model(source(tmp_path).scan())
    assert [v.number for v in found.versions] == [9, 10, 100]
    assert found.versions[0].origin == FolderOrigin(tmp_path / "m" / "9", tmp_path / "m")


def test_what_lay_there_before_the_start_is_whole_at_first_sight(tmp_path: Path) -> None:
    write(tmp_path / "m" / "1")
    snapshot = source(tmp_path).scan()
    assert version(snapshot).whole
    assert model(snapshot).config_settled
    assert snapshot.settles_in is None


def test_fault_3_what_changed_a_moment_ago_is_not_whole_before_the_settle_time(
    tmp_path: Path,
) -> None:
    clock = Clock(wall_ahead=0.0)
    write(tmp_path / "m" / "1")
    watching = source(tmp_path, clock)
    first = watching.scan()
    assert not version(first).whole
    assert version(first).settling
    assert version(first).why_not == "its files changed less than 3 s ago"
    assert first.settles_in is not None
    clock.now += first.settles_in - 0.01
    assert not version(watching.scan()).whole
    clock.now += 0.02
    assert version(watching.scan()).whole


def test_what_somebody_says_is_there_is_whole_at_once_until_it_changes_again(
    tmp_path: Path,
) -> None:
    clock = Clock()
    watching = source(tmp_path, clock)
    watching.scan()
    for number in (1, 2):
        write(tmp_path / "m" / str(number))
    (tmp_path / "m" / "model.yaml").write_text("max_batch_size: 4\n")
    assert not model(watching.scan()).config_settled
    found = watching.scan(at_once={("m", 2)})
    assert (version(found, 1).whole, version(found, 2).whole) == (False, True)
    assert model(found).config_settled
    assert all(v.whole for v in model(watching.scan(at_once={"m"})).versions)
    assert all(v.whole for v in model(watching.scan()).versions)
    write(tmp_path / "m" / "2", b"changed again")
    assert version(watching.scan(closely={"m"}), 2).settling


def test_fault_3_every_change_begins_the_settle_time_anew(tmp_path: Path) -> None:
    """Growing, a new file, a rename within, another inode."""
    clock = Clock()
    watching = source(tmp_path, clock)
    folder = write(tmp_path / "m" / "1")
    assert version(watching.scan()).whole
    changes = [
        lambda: (folder / "model.onnx").write_bytes(b"longer than before"),
        lambda: (folder / "labels.txt").write_text("a\n"),
        lambda: (folder / "labels.txt").rename(folder / "names.txt"),
        lambda: os.utime(folder / "model.onnx", ns=(1, 1)),
        lambda: (write(folder, b"model", "part"), (folder / "part").replace(folder / "model.onnx")),
    ]
    fingerprints = {version(watching.scan()).fingerprint}
    for change in changes:
        clock.now += SETTLE_S + 1
        change()
        found = version(watching.scan(closely={"m"}))
        assert found.settling
        fingerprints.add(found.fingerprint)
        clock.now += SETTLE_S - 0.01
        assert not version(watching.scan()).whole
        clock.now += 0.02
        assert version(watching.scan()).whole
    assert len(fingerprints) == len(changes) + 1


def test_fault_3_a_file_in_a_folder_below_counts_too(tmp_path: Path) -> None:
    """``model.onnx/`` may be a folder with external data."""
    clock = Clock()
    watching = source(tmp_path, clock)
    weights = write(tmp_path / "m" / "1" / "model.onnx", name="weights.bin")
    assert version(watching.scan()).whole
    (weights / "weights.bin").write_bytes(b"other")
    assert not version(watching.scan(closely={"m"})).whole


def test_fault_34_a_clock_that_jumps_a_day_makes_nothing_whole_early_or_late(
    tmp_path: Path,
) -> None:
    clock = Clock(wall_ahead=0.0)
    watching = source(tmp_path, clock)
    folder = write(tmp_path / "m" / "1")
    watching.scan()
    clock.ahead += 86400
    (folder / "model.onnx").write_bytes(b"still being copied")
    assert not version(watching.scan()).whole
    clock.ahead -= 2 * 86400
    clock.now += SETTLE_S + 0.01
    assert version(watching.scan()).whole


def test_fault_34_after_the_first_scan_a_clock_ahead_makes_nothing_new_whole_at_once(
    tmp_path: Path,
) -> None:
    clock = Clock()
    watching = source(tmp_path, clock)
    watching.scan()
    clock.now += 1
    clock.ahead += 86400
    write(tmp_path / "m" / "1")
    assert version(watching.scan()).settling
    clock.now += SETTLE_S - 1 + 0.01
    assert version(watching.scan()).whole


def test_fault_34_a_ctime_in_the_future_counts_as_just_changed(tmp_path: Path) -> None:
    clock = Clock(wall_ahead=-86400.0)
    watching = source(tmp_path, clock)
    write(tmp_path / "m" / "1")
    assert version(watching.scan()).settling
    clock.now += SETTLE_S + 0.01
    assert version(watching.scan()).whole


@pytest.mark.parametrize(
    "name", ["007", "0", "-1", "+1", "1.0", "v2", "1 ", "\u0661", "9" * 19, "9" * 30]
)
def test_fault_7_a_name_that_is_no_version_is_ignored_and_reported(
    tmp_path: Path, name: str
) -> None:
    write(tmp_path / "m" / name)
    snapshot = source(tmp_path).scan()
    assert model(snapshot).versions == ()
    assert set(reasons(snapshot)) == {name}


def test_the_largest_version_is_the_largest_int64(tmp_path: Path) -> None:
    write(tmp_path / "m" / str(2**63 - 1))
    write(tmp_path / "m" / str(2**63))
    found = model(source(tmp_path).scan())
    assert [v.number for v in found.versions] == [2**63 - 1]


@pytest.mark.parametrize("name", ["warmup", "initial_state", "configs"])
def test_folders_with_another_meaning_are_passed_over_in_silence(tmp_path: Path, name: str) -> None:
    write(tmp_path / "m" / name)
    snapshot = source(tmp_path).scan()
    assert snapshot.ignored == ()
    assert model(snapshot).versions == ()


def test_files_are_no_models_and_a_file_named_like_a_version_is_reported(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("hello")
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "1").write_text("hello")
    snapshot = source(tmp_path).scan()
    assert [found.name for found in snapshot.models] == ["m"]
    assert reasons(snapshot) == {"1": "not a directory"}


@pytest.mark.parametrize("name", [".git", "new\nline", "bell\x07", os.fsdecode(b"not-utf8-\xff")])
def test_fault_61_a_directory_whose_name_is_no_models_name_is_ignored(
    tmp_path: Path, name: str
) -> None:
    try:
        write(tmp_path / name / "1")
    except OSError:
        pytest.skip("this file system does not allow such a name")
    snapshot = source(tmp_path).scan()
    assert snapshot.models == ()
    assert set(reasons(snapshot)) == {name}


def test_an_empty_version_directory_is_not_whole_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "m" / "1").mkdir(parents=True)
    found = version(source(tmp_path).scan())
    assert (found.whole, found.settling) == (False, False)
    assert found.why_not == "its directory is empty"


def test_a_copying_tools_temporary_file_alone_is_no_content(tmp_path: Path) -> None:
    write(tmp_path / "m" / "1", name=".model.onnx.Xk3a")
    assert not version(source(tmp_path).scan()).whole


def test_any_file_is_content_for_its_name_may_be_configured(tmp_path: Path) -> None:
    write(tmp_path / "m" / "1", name="network.onnx")
    assert version(source(tmp_path).scan()).whole


def test_fault_11_symbolic_links_to_models_and_versions_are_ignored(tmp_path: Path) -> None:
    elsewhere = write(tmp_path / "elsewhere" / "1").parent
    root = tmp_path / "root"
    write(root / "m" / "1")
    (root / "m" / "2").symlink_to(elsewhere / "1")
    (root / "linked").symlink_to(elsewhere)
    snapshot = source(root).scan()
    assert [found.name for found in snapshot.models] == ["m"]
    assert [v.number for v in model(snapshot).versions] == [1]
    assert reasons(snapshot) == {"2": A_LINK, "linked": A_LINK}


def test_versions_that_link_to_one_folder_keep_their_numbers_at_every_look(tmp_path: Path) -> None:
    write(tmp_path / "m" / "1")
    for number in ("2", "3"):
        (tmp_path / "m" / number).symlink_to("1")
    clock = Clock(wall_ahead=0.0)
    links = DirectorySource(
        [tmp_path], SETTLE_S, wall=clock.wall, mono=clock.mono, follow_symlinks=True
    )
    for whole in (False, True, True, True):
        found = model(links.scan(closely={"m"} if clock.now > 1008 else ())).versions
        assert [(one.number, one.whole) for one in found] == [(n, whole) for n in (1, 2, 3)]
        clock.now += SETTLE_S + 1


def test_a_change_behind_a_symbolic_link_to_a_file_is_seen(tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(b"one")
    folder = tmp_path / "root" / "m" / "1"
    folder.mkdir(parents=True)
    (folder / "model.onnx").symlink_to(blob)
    watching = source(tmp_path / "root")
    before = version(watching.scan())
    blob.write_bytes(b"another")
    after = version(watching.scan(closely={"m"}))
    assert before.whole
    assert after.settling


def test_too_many_or_too_deep_files_are_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "MAX_FILES", 20)
    for number in range(30):
        write(tmp_path / "m" / "1", name=f"file{number}")
    write(tmp_path / "m" / "2" / "a" / "b" / "c" / "d" / "e")
    snapshot = source(tmp_path).scan()
    assert version(snapshot, 1).why_not == "it holds more than 20 files"
    assert version(snapshot, 2).why_not == "its folders are nested more than 4 deep"
    assert not version(snapshot, 1).settling


def test_a_root_that_cannot_be_listed_is_an_error_not_an_absence(tmp_path: Path) -> None:
    write(tmp_path / "here" / "m" / "1")
    (tmp_path / "file").write_text("")
    snapshot = source(tmp_path / "here", None, tmp_path / "gone", tmp_path / "file").scan()
    assert [found.name for found in snapshot.models] == ["m"]
    assert [(error.root.name, error.reason) for error in snapshot.errors] == [
        ("gone", "does not exist"),
        ("file", "is not a directory"),
    ]


def test_a_model_in_two_roots_is_in_error(tmp_path: Path) -> None:
    for root in "ab":
        write(tmp_path / root / "m" / "1")
    write(tmp_path / "b" / "other" / "1")
    snapshot = source(tmp_path / "a", None, tmp_path / "b").scan()
    assert model(snapshot).error == "it is in more than one model directory"
    assert model(snapshot).versions == ()
    assert model(snapshot, "other").error == ""


def test_the_same_root_given_twice_counts_once(tmp_path: Path) -> None:
    write(tmp_path / "m" / "1")
    assert model(source(tmp_path, None, tmp_path).scan()).error == ""


def test_the_config_stamp_follows_files_beside_the_versions_and_settles(tmp_path: Path) -> None:
    clock = Clock()
    watching = source(tmp_path, clock)
    folder = write(tmp_path / "m" / "1").parent
    stamps = [model(watching.scan()).config_stamp]
    for change in (
        lambda: (folder / "config.pbtxt").write_text("max_batch_size: 4"),
        lambda: (folder / "config.pbtxt").write_text("max_batch_size: 16"),
        lambda: write(folder / "warmup", name="sample"),
        (folder / "config.pbtxt").unlink,
    ):
        change()
        changed = model(watching.scan(closely={"m"}))
        assert not changed.config_settled
        stamps.append(changed.config_stamp)
        clock.now += SETTLE_S + 0.01
        assert model(watching.scan()).config_settled
    assert len(set(stamps)) == len(stamps)


def test_a_new_version_does_not_change_the_config_stamp_nor_the_other_versions(
    tmp_path: Path,
) -> None:
    clock = Clock()
    watching = source(tmp_path, clock)
    write(tmp_path / "m" / "1")
    before = watching.scan()
    write(tmp_path / "m" / "2")
    after = watching.scan()
    assert model(after).config_stamp == model(before).config_stamp
    assert model(after).config_settled
    assert version(after, 1) == version(before, 1)
    assert version(after, 2).settling


def test_without_a_change_the_very_same_snapshot_comes_back(tmp_path: Path) -> None:
    write(tmp_path / "m" / "1")
    watching = source(tmp_path)
    first = watching.scan()
    assert all(watching.scan() is first for _ in range(30))


def test_a_settled_model_costs_one_stat_and_a_full_look_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 73's sibling: an idle registry must not cost a scan of every file each second."""
    for number in range(1, 51):
        write(tmp_path / "m" / str(number))
    watching = source(tmp_path)
    trees: list[str] = []
    real = tree.read_tree
    monkeypatch.setattr(tree, "read_tree", lambda folder: trees.append(folder) or real(folder))
    scans = 44
    for _ in range(scans):
        watching.scan()
    full_looks = len(trees) / 50
    assert full_looks <= 2 + scans / directory.FULL_LOOK + 1


def test_files_changed_in_place_are_found_within_a_few_scans(tmp_path: Path) -> None:
    watching = source(tmp_path)
    folder = write(tmp_path / "m" / "1")
    for _ in range(3):
        watching.scan()
    (folder / "model.onnx").write_bytes(b"other")
    assert any(version(watching.scan()).settling for _ in range(directory.FULL_LOOK + 1))


def test_versions_that_come_and_go_are_found_at_the_next_scan(tmp_path: Path) -> None:
    watching = source(tmp_path)
    write(tmp_path / "m" / "1")
    for _ in range(3):
        watching.scan()
    write(tmp_path / "m" / "2")
    assert [v.number for v in model(watching.scan()).versions] == [1, 2]
    (tmp_path / "m" / "1").rename(tmp_path / "away")
    (tmp_path / "away").rename(tmp_path / "m" / "3")
    assert [v.number for v in model(watching.scan()).versions] == [2, 3]


def test_the_fingerprint_of_the_moment_is_that_of_the_scan(tmp_path: Path) -> None:
    folder = write(tmp_path / "m" / "1")
    watching = source(tmp_path)
    found = version(watching.scan())
    assert found.origin.fingerprint() == found.fingerprint
    (folder / "model.onnx").write_bytes(b"other")
    assert found.origin.fingerprint() != found.fingerprint
    assert FolderOrigin(tmp_path / "absent").fingerprint() == ""


def test_contents_are_what_files_hold_however_old_they_are(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
        (folder / "model.onnx").write_text("weights")
    one, two = map(FolderOrigin, folders)
    assert one.contents() == two.contents()
    assert one.fingerprint() != two.fingerprint()
    file = FileOrigin(folders[0] / "model.onnx")
    before = one.contents(), file.contents()
    (folders[0] / "model.onnx").write_text("weight5")
    assert one.contents() != before[0]
    assert file.contents() != before[1]
    # The model's own folder: what lies beside the version is none of it.
    direct = FolderOrigin(folders[0], direct=True)
    known = direct.contents()
    (folders[0] / "model.yaml").write_text("instances: 2")
    assert direct.contents() == known
    with pytest.raises(OSError, match="No such file"):
        FolderOrigin(tmp_path / "absent").contents()
