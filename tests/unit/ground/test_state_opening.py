"""Whose a state directory is: which gateway's, and which registry's."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from serving.registry_state import of_registry
from serving.settings import Settings
from serving.state_dir import StateDir
from serving.state_lock import HeldError, StateLock
from serving.state_opening import NoDirectoryError, StateHeldError, open_state


def settings(folder: Path | None, when_held: str = "exit") -> Settings:
    return Settings.model_validate({"state_dir": folder, "state": {"when_held": when_held}})


def test_a_held_directory_says_who_holds_it(tmp_path: Path) -> None:
    lock = StateLock(tmp_path)
    with pytest.raises(HeldError) as caught:
        StateLock(tmp_path)
    assert (caught.value.holder.pid, caught.value.holder.host) == (os.getpid(), os.uname().nodename)
    lock.release()
    lock.release()
    StateLock(tmp_path).release()
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600


def test_no_child_inherits_the_lock(tmp_path: Path) -> None:
    lock = StateLock(tmp_path)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    lock.release()
    StateLock(tmp_path).release()
    child.communicate(b"\n")


@pytest.mark.parametrize("text", [b"", b"\xff", b"[]", b'{"pid": "x"}', b"[" * 5000])
def test_a_holder_that_does_not_describe_itself_holds_all_the_same(
    tmp_path: Path, text: bytes
) -> None:
    lock = StateLock(tmp_path)
    (tmp_path / "lock").write_bytes(text)
    with pytest.raises(HeldError, match="another gateway"):
        StateLock(tmp_path)
    lock.release()


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic"):
        StateLock(tmp_path)
    assert (tmp_path / "precious").read_text() == "kept"


def test_a_lock_that_cannot_be_had_is_told_and_keeps_nobody_from_serving(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    opened = open_state(settings(tmp_path), [tmp_path / "models"])
    assert opened.lock is None
    assert opened.own.write("models", 1)


def test_without_a_directory_or_a_place_for_it_memory_serves(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (None, tmp_path / "file" / "state"):
        opened = open_state(settings(folder), [tmp_path])
        assert opened.lock is None
        with capture_logs() as said:
            assert opened.own.read("models") is None
        assert said == []
        assert not opened.own.write("models", 1)
        assert opened.own.read("models") == 1


def test_a_file_in_place_of_the_directory_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(NoDirectoryError, match="there is a file"):
        open_state(settings(tmp_path / "file"), [tmp_path])


def test_memory_reads_the_cache_of_the_holder_and_writes_nothing(tmp_path: Path) -> None:
    first = open_state(settings(tmp_path), [tmp_path])
    first.own.write("models", "pinned")
    first.shared.write("trials/one", "found out")
    with pytest.raises(StateHeldError, match="--state-dir"):
        open_state(settings(tmp_path), [tmp_path])
    before = sorted(tmp_path.rglob("*"))
    second = open_state(settings(tmp_path, "memory"), [tmp_path])
    assert second.settings.state_dir is None
    assert second.own.path is None
    assert second.own.read("models") is None
    assert second.shared.read("trials/one") == "found out"
    assert not second.shared.write("trials/two", 2)
    assert second.shared.read("trials/two") == 2
    second.shared.remove("trials/one")
    assert sorted(tmp_path.rglob("*")) == before
    first.close()
    open_state(settings(tmp_path), [tmp_path]).close()


def part(state: Path, *roots: Path) -> StateDir:
    return of_registry(StateDir(state), roots)


def test_a_registry_is_known_again_by_a_directory_in_common(tmp_path: Path) -> None:
    state, one, two, three = (tmp_path / name for name in ("state", "one", "two", "three"))
    part(state, one).write("models", "of one")
    part(state, three).write("models", "of three")
    assert part(state, two).read("models") is None
    assert part(state, one).read("models") == "of one"
    assert part(state, one, three.parent / "four").read("models") == "of one"
    assert part(state, three).read("models") == "of three"


def test_what_is_taken_over_from_other_directories_is_said_with_both(tmp_path: Path) -> None:
    state, one, two, three = (tmp_path / name for name in ("state", "one", "two", "three"))
    part(state, one, two)
    with capture_logs() as said:
        part(state, one, two)
    assert said == []
    with capture_logs() as said:
        part(state, two, three)
    (line,) = said
    assert line["event"] == "state_registry_changed"
    assert line["before"] == sorted(map(str, (one, two)))
    assert line["serving"] == sorted(map(str, (two, three)))


def test_a_registry_is_known_by_its_path_and_by_where_that_leads(tmp_path: Path) -> None:
    """A link that is led elsewhere with each release, and another name for the same place."""
    state, link = tmp_path / "state", tmp_path / "current"
    for release in ("a", "b"):
        (tmp_path / release).mkdir()
    link.symlink_to("a")
    part(state, link).write("models", "kept")
    link.unlink()
    link.symlink_to("b")
    assert part(state, link).read("models") == "kept"
    assert part(state, tmp_path / "b").read("models") == "kept"


def test_what_an_earlier_gateway_kept_is_taken_over_once(tmp_path: Path) -> None:
    earlier = StateDir(tmp_path)
    earlier.write("models", "pinned")
    earlier.write("tracking/mlflow/000000000000-1-1", [{}])
    ours = part(tmp_path, tmp_path / "one")
    assert ours.read("models") == "pinned"
    assert ours.names("tracking/mlflow") == ["000000000000-1-1"]
    assert earlier.read("models") is None
    assert part(tmp_path, tmp_path / "two").read("models") is None


def test_registries_that_nobody_served_for_long_go(tmp_path: Path) -> None:
    for number in range(40):
        part(tmp_path, tmp_path / str(number)).write("models", number)
    assert len(list((tmp_path / "registries").iterdir())) == 32
    assert part(tmp_path, tmp_path / "39").read("models") == 39
    for folder in (tmp_path / "registries").iterdir():
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
