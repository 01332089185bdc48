"""Scans cost what changed, and find what those that go through everything find."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections import Counter
from collections.abc import Collection
from functools import partial
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from serving.model_config import ModelConfig
from serving.registry import source_thread, tree
from serving.registry.configs import Configs
from serving.registry.directory import DirectorySource
from serving.registry.manifest import MANIFEST_NAME, FileEntry, Manifest
from serving.registry.schedule import Schedule
from serving.registry.snapshot import Closely, FoundModel, Snapshot
from serving.registry.source import Posted, Request

FEW, MANY = 10, 300


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0
        self.ahead = time.time() + 60.0 - self.now

    def mono(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + self.ahead


def source(root: Path, clock: Clock | None = None, *, follow: bool = False) -> DirectorySource:
    clock = clock or Clock()
    return DirectorySource([root], 3.0, wall=clock.wall, mono=clock.mono, follow_symlinks=follow)


def write(version: Path, content: str = "model") -> None:
    version.mkdir(parents=True, exist_ok=True)
    (version / "model.onnx").write_text(content)


def registry(root: Path, count: int, versions: int = 1) -> DirectorySource:
    """Of so many models, looked at until all is known."""
    for number in range(count):
        for version in range(1, versions + 1):
            write(root / f"m{number:04}" / str(version))
    watching = source(root)
    for _ in range(2):
        watching.scan()
    for _ in range(3):
        watching.scan(whole=False)
    return watching


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What is asked of the system, by what is asked."""
    found: Counter[str] = Counter()
    row, scandir, lexists = tree.row, os.scandir, os.path.lexists
    monkeypatch.setattr(tree, "row", lambda *a: found.update(["stat"]) or row(*a))
    monkeypatch.setattr(os, "scandir", lambda *a: found.update(["list"]) or scandir(*a))
    monkeypatch.setattr(os.path, "lexists", lambda *a: found.update(["stat"]) or lexists(*a))
    return found


def cost(calls: Counter[str], scan) -> dict[str, int]:
    calls.clear()
    scan()
    return dict(calls)


@pytest.mark.parametrize("count", [FEW, MANY])
def test_where_all_is_reported_a_scan_costs_a_stat_of_the_directory(
    tmp_path: Path, calls: Counter[str], count: int
) -> None:
    watching = registry(tmp_path, count)
    assert cost(calls, lambda: watching.scan(whole=False)) == {"stat": 1}


def test_thousands_of_versions_cost_nothing_where_all_is_reported(
    tmp_path: Path, calls: Counter[str]
) -> None:
    watching = registry(tmp_path, 1, versions=2000)
    assert cost(calls, lambda: watching.scan(whole=False)) == {"stat": 1}


def test_a_scan_of_everything_costs_a_stat_a_model_but_for_full_looks_now_and_then(
    tmp_path: Path, calls: Counter[str]
) -> None:
    watching = registry(tmp_path, FEW)
    for known in watching._known.values():
        known.turns = 2
    assert cost(calls, watching.scan) == {"stat": FEW, "list": 1}


def test_what_is_asked_for_or_reported_costs_no_look_at_the_others(
    tmp_path: Path, calls: Counter[str]
) -> None:
    few, many = (
        [
            cost(calls, partial(watching.scan, {"m0001"}, whole=False)),
            cost(calls, partial(watching.scan, at_once={("m0001", 1)}, whole=False)),
            cost(calls, partial(watching.scan, touched={f"{root}/m0001"}, whole=False)),
        ]
        for root, count in ((tmp_path / "few", FEW), (tmp_path / "many", MANY))
        if (watching := registry(root, count))
    )
    assert few == many
    assert all(found["stat"] < FEW for found in few)


def test_one_that_has_not_settled_costs_no_look_at_the_others(
    tmp_path: Path, calls: Counter[str]
) -> None:
    watching = registry(tmp_path, MANY)
    (tmp_path / "m0001" / "2").mkdir()
    watching.scan(touched={str(tmp_path / "m0001")}, whole=False)
    assert cost(calls, lambda: watching.scan(whole=False))["stat"] < FEW


def test_folders_that_come_and_go_are_found_also_where_nobody_tells(tmp_path: Path) -> None:
    watching = registry(tmp_path, FEW)
    write(tmp_path / "new" / "1")
    assert "new" in {found.name for found in watching.scan(whole=False).models}
    time.sleep(0.02)  # another tick of the file system's clock
    shutil.rmtree(tmp_path / "new")
    assert "new" not in {found.name for found in watching.scan(whole=False).models}


def test_links_are_resolved_in_every_scan(tmp_path: Path) -> None:
    for name in ("one", "other"):
        write(tmp_path / name / "m" / "1", name)
    (tmp_path / "way").mkdir()
    links = tmp_path / "way" / "now", tmp_path / "way" / "m"
    links[0].symlink_to(tmp_path / "one")
    links[1].symlink_to("now/m")
    watching = source(tmp_path / "way", follow=True)
    by_root = source(tmp_path / "way" / "now", follow=True)
    for _ in range(4):
        watching.scan()
        by_root.scan(whole=False)
    links[0].unlink()
    links[0].symlink_to(tmp_path / "other")
    for one in (watching, by_root):
        found = {model.name: model for model in one.scan(whole=False).models}
        (version,) = found["m"].versions
        assert version.origin.fetch().version == tmp_path / "other" / "m" / "1"


def test_what_is_reported_of_a_linked_directory_that_is_a_model_is_looked_at(
    tmp_path: Path,
) -> None:
    write(tmp_path / "real" / "1")
    config = tmp_path / "real" / "config.pbtxt"
    config.write_text("max_batch_size: 2")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real")
    clock = Clock()
    watching = source(link, clock, follow=True)
    for _ in range(3):
        clock.now += 5.0
        watching.scan()
        watching.scan(whole=False)
    (before,) = watching.scan(whole=False).models
    config.write_text("max_batch_size: 300")  # shows in no folder's row
    (after,) = watching.scan(touched={str(tmp_path / "real")}, whole=False).models
    assert after.config_stamp != before.config_stamp


@pytest.mark.parametrize("told", ["touched", "closely"])
def test_a_folder_that_may_be_read_at_last_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    write(tmp_path / "late" / "1")
    list_entries, late = tree.list_entries, str(tmp_path / "late")

    def refusing(directory: str) -> list[os.DirEntry[str]]:
        if directory == late:
            raise PermissionError(13, "Permission denied")
        return list_entries(directory)

    with monkeypatch.context() as patch:
        patch.setattr(tree, "list_entries", refusing)
        watching = registry(tmp_path, FEW)
        assert "late" not in {found.name for found in watching.scan(whole=False).models}
    asked: dict[str, set[str]] = {"touched": {late}} if told == "touched" else {"closely": {"late"}}
    assert "late" in {found.name for found in watching.scan(whole=False, **asked).models}


def test_that_a_linked_model_has_settled_is_told_at_once(tmp_path: Path) -> None:
    """Else the next looks came as often as if something were about to settle."""
    real, root, clock = tmp_path / "real", tmp_path / "root", Clock()
    root.mkdir()
    watching = source(root, clock, follow=True)
    for _ in range(4):
        clock.now += 1.0
        watching.scan()
    write(real / "1")
    files = {"model.onnx": FileEntry(5, hashlib.sha256(b"model").hexdigest())}
    manifest = Manifest("m", 1, "2026-01-01T00:00:00Z", files)
    (real / "1" / MANIFEST_NAME).write_text(manifest.to_json())
    (root / "m").symlink_to(real)
    clock.now += 1.0
    waits = [watching.scan().settles_in]
    for _ in range(2):
        clock.now += 0.1
        waits.append(watching.scan(whole=False).settles_in)
    waits += [watching.scan(whole=False).settles_in for _ in range(3)]
    assert waits[0] is not None
    assert waits[-1] is None


# A twin that goes through every file each time.

NAMES, NUMBERS = ("a", "b", "c"), ("1", "2", "x")


def _move(root: Path, name: str, number: str) -> None:
    folder = root / name / number
    if folder.is_dir():
        folder.rename(root / name / "7") if not (root / name / "7").exists() else None


def _remove(root: Path, name: str, number: str) -> None:
    shutil.rmtree(root / name / number, ignore_errors=True)


def _remove_all(root: Path, name: str, number: str) -> None:
    shutil.rmtree(root / name, ignore_errors=True)


def _configure(root: Path, name: str, number: str) -> None:
    if (root / name).is_dir():
        (root / name / "config.pbtxt").write_text(f"max_batch_size: {len(number)}")


def _empty(root: Path, name: str, number: str) -> None:
    (root / name / number).mkdir(parents=True, exist_ok=True)


def _fill(root: Path, name: str, number: str) -> None:
    """What is written into a version that is whole is not reported."""
    folder = root / name / number
    if folder.is_dir() and not any(folder.iterdir()):
        (folder / "model.onnx").write_text("late")


def _loose(root: Path, name: str, number: str) -> None:
    (root / f"{name}.onnx").touch()


def _add(root: Path, name: str, number: str) -> None:
    if not (root / name / number).exists():
        write(root / name / number)


CHANGES = {
    "add": _add,
    "move": _move,
    "remove": _remove,
    "remove all": _remove_all,
    "configure": _configure,
    "empty": _empty,
    "fill": _fill,
    "loose": _loose,
}
_STEPS = st.lists(
    st.tuples(st.sampled_from(list(CHANGES)), st.sampled_from(NAMES), st.sampled_from(NUMBERS)),
    max_size=3,
)


@hypothesis.given(st.lists(st.tuples(_STEPS, st.sampled_from([0.3, 1.0, 4.0])), max_size=8))
@hypothesis.example([([("empty", "c", "x")], 0.3), ([("fill", "c", "x")], 0.3)])
@hypothesis.example(
    [([("empty", "c", "x"), ("loose", "c", "1")], 0.3), ([], 0.3), ([("add", "c", "1")], 0.3)]
)
@hypothesis.settings(max_examples=60, deadline=None)
def test_a_scan_of_what_was_reported_finds_what_a_look_at_every_file_finds(
    tmp_path_factory: pytest.TempPathFactory,
    rounds: list[tuple[list[tuple[str, str, str]], float]],
) -> None:
    root = tmp_path_factory.mktemp("models")
    clock = Clock()
    watching, twin = source(root, clock), source(root, clock)
    assert watching.scan() == twin.scan()
    for steps, seconds in [*rounds, ([], 4.0), ([], 4.0)]:
        clock.now += seconds
        touched = set()
        for change, name, number in steps:
            CHANGES[change](root, name, number)
            touched.add(str(root / name))
        found = watching.scan(touched=touched, whole=False)
        assert found == twin.scan(closely=NAMES)


# When they come.


def test_where_changes_are_reported_scans_of_everything_come_more_seldom() -> None:
    schedule = Schedule(1.0)
    schedule.looked(10.0, cost=0.02, settles_in=None)
    assert (schedule.next, schedule.everything_at) == (11.5, 11.5)
    schedule.reports(True)
    assert schedule.everything_at == pytest.approx(20.0)
    schedule.looked(11.5, cost=0.0, settles_in=None, everything=False)
    assert (schedule.next, schedule.everything_at) == (12.5, pytest.approx(20.0))
    schedule.looked(20.0, cost=9.0, settles_in=None)
    assert schedule.everything_at == 80.0
    schedule.reports(False)
    assert schedule.next == schedule.everything_at == 21.5


def test_a_small_registry_is_gone_through_as_often_as_the_setting_says() -> None:
    for interval_s in (0.2, 1.0, 30.0):
        schedule = Schedule(interval_s)
        schedule.reports(True)
        schedule.looked(10.0, cost=0.0003, settles_in=None)
        assert schedule.next == schedule.everything_at == 10.0 + interval_s


class Noted:
    """A source that notes how it was asked."""

    place = Path("/noted")
    broken = False

    def __init__(self) -> None:
        self.scans: list[tuple[bool, set[str]]] = []
        self.last = Snapshot()

    def scan(
        self,
        closely: Closely = (),
        at_once: Closely = (),
        *,
        touched: Collection[str] = (),
        whole: bool = True,
    ) -> Snapshot:
        self.scans.append((whole, set(touched)))
        if self.broken:
            raise RuntimeError("a bug of ours")
        return self.last


def test_everything_is_looked_at_when_it_is_due_and_where_it_is_not_known_what_changed() -> None:
    noted, now = Noted(), [0.0]
    posted: list[Posted] = []
    configs = Configs(lambda folder: ModelConfig())
    thread = source_thread.SourceThread(
        noted, configs, 10.0, posted.append, lambda: now[0], lambda: 0.0
    )

    def after(seconds: float) -> list[tuple[bool, set[str]]]:
        now[0] += seconds
        noted.scans.clear()
        thread.turn()
        return list(noted.scans)

    assert after(0) == [(True, set())]
    assert after(1) == []
    thread.hurry({"/noted/m"})
    thread.hurry({"/noted/n"})
    assert after(1) == [(False, {"/noted/m", "/noted/n"})]
    thread.ask(Request({"m"}))
    assert after(1) == [(False, set())]
    thread.ask(Request(configurations=True))
    assert after(1) == [(True, set())]
    thread.hurry(None)
    thread.hurry({"/noted/m"})
    assert after(1) == [(True, set())]
    thread.hurry({f"/noted/{number}" for number in range(source_thread._MOST_TOUCHED + 1)})
    assert after(1) == [(True, set())]
    noted.broken = True
    thread.hurry({"/noted/m"})
    assert after(1) == [(False, {"/noted/m"})]
    noted.broken = False
    thread.hurry({"/noted/n"})
    assert after(1) == [(True, {"/noted/n"})]
    assert after(10) == [(True, set())]


# Their configurations.


def test_only_configurations_of_models_that_changed_are_put_together_anew() -> None:
    read: list[str] = []

    def read_config(folder: Path) -> ModelConfig:
        read.append(folder.name)
        return ModelConfig()

    models = [FoundModel(f"m{number:04}", Path(f"/m{number:04}"), (), "1") for number in range(100)]
    configs = Configs(read_config)
    before = configs.read_into(Snapshot(tuple(models)))
    assert len(read) == 100
    read.clear()
    models[7] = FoundModel("m0007", Path("/m0007"), (), "2")
    after = configs.read_into(Snapshot(tuple(models)))
    assert read == ["m0007"]
    others = [one is other for one, other in zip(before.models, after.models, strict=True)]
    assert others.count(False) == 1
    configs.forget()
    configs.read_into(Snapshot(tuple(models)))
    assert len(read) == 101
