"""What commands decided, as it is kept from one start to the next."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.models.commands.command import SetDefault
from serving.models.desired.overrides import part_of
from serving.state_dir import StateDir
from tests.unit.models.test_manager_commands import at


def test_what_an_earlier_version_kept_counts_and_is_kept_in_parts_from_then_on(
    tmp_path: Path,
) -> None:
    state = StateDir(tmp_path / "state")
    state.write("models", {"form": 1, "models": {"m": {"pin": 1}, "other": {"pin": 3}}})
    world = at(tmp_path)
    for version in (1, 2):
        world.write("m", version)
    world.settle()
    assert (world.answers(), world.view().pinned) == (1, 1)
    world.outcome(SetDefault("m", None))
    assert state.read("models") is None
    assert {state.read(f"models/{part_of(m)}")["models"][m].get("pin") for m in ("m", "other")} == {
        None,
        3,
    }
    again = at(tmp_path)
    again.settle()
    assert (again.answers(), again.view().pinned) == (2, None)


def test_what_an_earlier_version_kept_stays_until_its_parts_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {"form": 1, "models": {"m": {"pin": 1}, "other": {"pin": 3}}}
    state = StateDir(tmp_path / "state")
    state.write("models", kept)
    world = at(tmp_path)
    world.write("m", 1)
    world.settle()
    with monkeypatch.context() as full:

        def refuse(*_: object) -> None:
            raise OSError(28, "No space left on device")

        full.setattr("serving.state_dir._replace", refuse)
        world.outcome(SetDefault("m", None))
    assert state.read("models") == kept
    # Parts beside it are not whole yet, or older.
    state.write(f"models/{part_of('m')}", {"form": 1, "models": {"m": {"pin": 7}}})
    again = at(tmp_path)
    again.settle()
    assert again.view().pinned == 1


def test_what_an_earlier_version_kept_and_cannot_be_read_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "models.json").write_text("{")
    world = at(tmp_path)
    world.write("m", 1)
    world.settle()
    world.outcome(SetDefault("m", 1))
    assert not (tmp_path / "state" / "models.json").exists()
    again = at(tmp_path)
    again.settle()
    assert again.view().pinned == 1


def test_a_command_writes_one_document_however_many_models_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = at(tmp_path)
    for number in range(100):
        world.write(f"m{number}", 1)
    world.settle()
    written: list[str] = []
    write = StateDir.write

    def note(self: StateDir, name: str, document: object) -> bool:
        written.append(name)
        return write(self, name, document)

    world.outcome(SetDefault("m1", 1))
    monkeypatch.setattr(StateDir, "write", note)
    world.outcome(SetDefault("m7", 1))
    assert written == [f"models/{part_of('m7')}"]


def test_a_state_document_that_is_not_ours_is_left_alone_and_said(tmp_path: Path) -> None:
    StateDir(tmp_path / "state").write("models", {"form": 1, "models": {"m": {"pin": "2"}}})
    world = at(tmp_path)
    world.write("m", 1)
    world.settle()
    assert (world.answers(), world.view().pinned) == (1, None)
