"""What the gateway writes: private, whole, and no trouble where it cannot be written."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from serving.registry_state import of_registry
from serving.state_dir import MAX_BYTES, StateDir
from serving.state_lock import HeldError, StateLock


def test_a_document_outlives_the_process(tmp_path: Path) -> None:
    assert StateDir(tmp_path / "state").write("models", {"a": [1, "é"]})
    assert StateDir(tmp_path / "state").read("models") == {"a": [1, "é"]}


def test_a_text_that_is_no_unicode_outlives_the_process_too(tmp_path: Path) -> None:
    """Names in others' files may hold anything."""
    assert StateDir(tmp_path).write("models", {"a\udcff": "\ud800"})
    assert StateDir(tmp_path).read("models") == {"a\udcff": "\ud800"}


def test_nothing_is_made_before_something_is_written(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "state")
    assert state.read("models") is None
    assert state.names("trials") == []
    state.remove("models")
    assert not (tmp_path / "state").exists()


def test_fault_68_what_is_written_is_private(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o777)
    StateDir(tmp_path / "state").write("trials/one", 1)
    for path in (tmp_path / "state", tmp_path / "state" / "trials"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "state" / "trials" / "one.json").stat().st_mode) == 0o600


def test_a_folder_with_things_of_others_keeps_its_mode(tmp_path: Path) -> None:
    """A home directory or ``/tmp`` would lock its users out."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    (shared / "somebody's").touch()
    state = StateDir(shared)
    for _ in range(2):
        assert state.write("trials/one", 1)
        assert stat.S_IMODE(shared.stat().st_mode) == 0o755
    assert stat.S_IMODE((shared / "trials").stat().st_mode) == 0o700


def test_documents_of_a_folder_come_oldest_first_and_can_be_removed(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    for at, name in enumerate(("b", "a", "c")):
        state.write(f"trials/{name}", at)
        os.utime(tmp_path / "trials" / f"{name}.json", (at, at))
    state.remove("trials/a")
    assert state.names("trials") == ["b", "c"]


@pytest.mark.parametrize("content", ["", "{", "\udcff", "[" * 100_000])
def test_what_is_damaged_counts_as_absent(tmp_path: Path, content: str) -> None:
    (tmp_path / "models.json").write_text(content, errors="surrogateescape")
    assert StateDir(tmp_path).read("models") is None


def test_fault_16_where_it_cannot_be_written_memory_serves(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    for state in (StateDir(blocked / "state"), StateDir(None)):
        assert not state.write("trials/one", {"x": 1})
        assert state.read("trials/one") == {"x": 1}
        assert state.names("trials") == ["one"]
        state.remove("trials/one")
        assert state.read("trials/one") is None


def test_what_could_not_be_written_is_written_with_the_next_that_can(tmp_path: Path) -> None:
    """A registry's pins are found again only with the document that says whose they are."""
    blocked = tmp_path / "state"
    blocked.write_text("not a directory")
    own = of_registry(StateDir(blocked), [tmp_path / "models"])
    own.write("huge", "x" * MAX_BYTES)
    blocked.unlink()
    assert own.write("models", {"m": 1})
    assert of_registry(StateDir(blocked), [tmp_path / "models"]).read("models") == {"m": 1}
    assert own.read("huge") == "x" * MAX_BYTES


def test_a_volume_of_another_owner_is_written_to_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Kubernetes makes them with ``fsGroup``: its group may write, and nobody else chmod."""
    tmp_path.chmod(0o770)
    us = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: us + 1)
    assert StateDir(tmp_path).write("part/one", 1)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o770
    assert stat.S_IMODE((tmp_path / "part" / "one.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("said", ["", "{}", '{"pid": Infinity, "host": "h", "since": "s"}'])
def test_a_holder_that_describes_itself_oddly_is_another_gateway(tmp_path: Path, said: str) -> None:
    lock = StateLock(tmp_path)
    (tmp_path / "lock").write_text(said)
    with pytest.raises(HeldError) as held:
        StateLock(tmp_path)
    assert str(held.value) == "held by another gateway"
    lock.release()


def test_what_is_too_large_is_not_written(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    state.write("models", "small")
    assert not state.write("models", "x" * MAX_BYTES)
    assert StateDir(tmp_path).read("models") == "small"


def test_a_name_cannot_leave_the_directory(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="document's name"):
        StateDir(tmp_path).write("../out", 1)


def test_what_waited_for_the_directory_is_written_once_it_is_ours(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "state", is_ours=False)
    assert not state.write("trials", [1])
    assert not (tmp_path / "state").exists()
    state.become_ours()
    assert StateDir(tmp_path / "state").read("trials") == [1]
