"""The watch hurries a scan, whatever happens to the directories, and follows no links."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serving import machine
from serving.registry import watch
from serving.registry.watch import Watcher
from tests.clients.gateway import wait_until


class Hurried:
    """Counters calls, and waits for the next one."""

    def __init__(self) -> None:
        self._called = threading.Event()
        # Where something was reported; None: anywhere.
        self.touched: list[Collection[str] | None] = []
        self.reported: list[bool] = []
        self._all_reported = threading.Event()

    def __call__(self, touched: Collection[str] | None) -> None:
        self.touched.append(touched)
        self._called.set()

    def reports(self, reported: bool) -> None:
        self.reported.append(reported)
        (self._all_reported.set if reported else self._all_reported.clear)()

    def all_reported(self, seconds: float = 5.0) -> bool:
        return self._all_reported.wait(seconds)

    def forget(self) -> None:
        self._called.clear()

    def wait(self, seconds: float = 5.0) -> bool:
        return self._called.wait(seconds)


@contextmanager
def watching(*roots: Path, follow: bool = False) -> Iterator[Hurried]:
    hurried = Hurried()
    watcher = Watcher(roots, hurried, hurried.reports, follow_symlinks=follow)
    watcher.start()
    try:
        yield hurried
    finally:
        watcher.stop()
        assert not watcher._thread.is_alive()


def changed(hurried: Hurried, change) -> bool:
    """Whether the change was noticed; whatever was noticed before is forgotten."""
    while hurried.wait(0.5):
        hurried.forget()
    change()
    return hurried.wait()


def test_models_and_versions_that_come_and_go_hurry(tmp_path: Path) -> None:
    (tmp_path / "m" / "1").mkdir(parents=True)
    with watching(tmp_path) as hurried:
        assert changed(hurried, (tmp_path / "m" / "2").mkdir)
        assert changed(hurried, lambda: (tmp_path / "m" / "2").rename(tmp_path / "m" / "3"))
        assert changed(hurried, (tmp_path / "m" / "3").rmdir)
        assert changed(hurried, (tmp_path / "new").mkdir)
        assert changed(hurried, (tmp_path / "new" / "1").mkdir)


def test_a_directory_that_comes_late_or_again_is_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_AGAIN_S", 0.2)
    root = tmp_path / "late"
    with watching(root) as hurried:
        root.mkdir()
        assert hurried.wait()
        assert changed(hurried, (root / "m").mkdir)
        for folder in (root / "m", root):
            folder.rename(tmp_path / "away")
            folder.mkdir()
            (tmp_path / "away").rename(root / "away")
            assert changed(hurried, (folder / "new").mkdir)
            shutil.rmtree(root / "away")


def test_fault_11_links_are_not_watched_unless_they_are_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root = tmp_path / "root"
    root.mkdir()
    (root / "m").symlink_to(outside)
    assert Watcher([root], Hurried())._folders().keys() == {str(root)}
    followed = Watcher([root], Hurried(), follow_symlinks=True)._folders()
    assert followed.keys() == {str(root), str(root / "m")}
    with watching(root, follow=True) as hurried:
        assert changed(hurried, (outside / "1").mkdir)


def test_versions_of_a_directory_that_is_a_model_are_not_watched_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("1", "00000002", ".publishing-x", "m", "n"):
        (tmp_path / name).mkdir()
    folders = Watcher([tmp_path], Hurried())._folders()
    assert folders.keys() == {str(tmp_path), str(tmp_path / "m"), str(tmp_path / "n")}
    monkeypatch.setattr(watch, "MAX_WATCHED", 2)
    assert len(Watcher([tmp_path], Hurried())._folders()) == 2


def test_it_says_where_something_changed_once_it_reports_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_AGAIN_S", 0.3)
    models = [tmp_path / "m", tmp_path / "n"]
    for model in models:
        (model / "1").mkdir(parents=True)
    with watching(tmp_path) as hurried:
        assert hurried.all_reported()
        assert hurried.touched[-1] is None, "what changed before it began may be anywhere"
        changes = (models[0] / "2").mkdir, lambda: (models[1] / "config.pbtxt").write_text("")
        for model, change in zip(models, changes, strict=True):
            hurried.touched.clear()
            assert changed(hurried, change)
            assert set().union(*(one or {"anywhere"} for one in hurried.touched)) == {str(model)}
        before = len(hurried.reported)
        (tmp_path / "another").mkdir()
        wait_until(lambda: len(hurried.reported) > before, 5, "the folders are watched anew")
        assert hurried.reported[before] is False
        assert hurried.all_reported()
    assert hurried.reported[-1] is False


def test_that_it_reports_all_is_known_long_before_anything_changes(tmp_path: Path) -> None:
    """Until then everything is looked through every second or two."""
    (tmp_path / "m").mkdir()
    with watching(tmp_path) as hurried:
        assert hurried.all_reported(watch._AGAIN_S / 2)
        assert hurried.touched == [None], "it looks through everything once for that"


def test_not_all_is_reported_of_a_disk_that_others_may_write_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m").mkdir()
    file = tmp_path / "bare.onnx"
    file.touch()

    def all_reported(*roots: Path) -> bool:
        watcher = Watcher(roots, Hurried())
        return watcher._are_all_reported(watcher._folders())

    assert all_reported(tmp_path)
    assert all_reported(tmp_path, file)
    assert not all_reported(tmp_path, tmp_path / "missing")
    with monkeypatch.context() as patch:
        patch.setattr(watch, "MAX_WATCHED", 2)
        assert not all_reported(tmp_path)
    monkeypatch.setattr(watch, "is_local", lambda folder: False)
    assert not all_reported(tmp_path)


def test_not_all_is_reported_where_two_names_lead_to_one_folder(tmp_path: Path) -> None:
    """What happens in it is told by one of them."""
    (tmp_path / "m").mkdir()
    watcher = Watcher([tmp_path], Hurried(), follow_symlinks=True)
    assert watcher._are_all_reported(watcher._folders())
    (tmp_path / "same").symlink_to("m")
    assert not watcher._are_all_reported(watcher._folders())


def test_where_the_system_cannot_watch_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    tried = threading.Event()

    def none_left(*paths: str, **options: object) -> Iterator[object]:
        if lines:
            tried.set()
        raise OSError("no more watches")

    monkeypatch.setattr(watch, "_AGAIN_S", 0.05)
    monkeypatch.setattr(watch, "watch", none_left)
    said = "serving.registry.watch.log.warning"
    monkeypatch.setattr(said, lambda event, **_: lines.append(event))
    with watching(tmp_path):
        assert tried.wait(5)
    assert lines == ["registry_not_watched"]


def test_fault_115_no_watch_begins_where_no_thread_can_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its library would end the process."""
    reasons: list[object] = []
    begun: list[object] = []

    def none_left(count: int) -> None:
        assert count > 1
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(machine, "spare_threads", none_left)
    monkeypatch.setattr(watch, "watch", lambda *paths, **options: begun.append(paths))
    said = "serving.registry.watch.log.warning"
    monkeypatch.setattr(said, lambda event, reason, **_: reasons.append(reason))
    with watching(tmp_path):
        wait_until(lambda: reasons, 5, "it is told")
    assert reasons == ["no thread could be started"]
    assert not begun
