"""Files that come with a load: where they lie, how long, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serving.errors import ErrorCode
from serving.model_config import ModelConfig
from serving.models.commands.command import LoadModel, Outcome, UnloadModel
from serving.models.commands.uploads import Uploads
from serving.state_dir import StateDir
from tests.unit.manager_world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "registry").mkdir()
    return World(tmp_path / "registry", StateDir(tmp_path / "state"), model_control="poll")


def test_files_that_come_with_a_load_are_served_and_removed_once_nothing_uses_them(
    world: World, tmp_path: Path
) -> None:
    world.write("m", 1)
    world.settle()
    seen: list[tuple[bytes, int]] = []

    def look(call: dict[str, Any]) -> None:
        file = call["path"] / "model.onnx"
        seen.append((file.read_bytes(), call["folder"].parent.stat().st_mode & 0o777))

    world.during = look
    files = {"5/model.onnx": b"sent weights"}
    ticket = world.order(LoadModel("m", override=ModelConfig(), files=files))
    assert ticket.wait(0) == Outcome(version=5)
    assert ticket.command.files == {}
    assert seen == [(b"sent weights", 0o700)]
    assert world.states() == {5: "READY"}
    uploads = tmp_path / "state" / "uploads"
    assert len(list(uploads.iterdir())) == 1
    assert world.outcome(LoadModel("m")) == Outcome(version=1)
    world.settle()
    assert world.states() == {1: "READY"}
    assert list(uploads.iterdir()) == []


def test_a_model_that_is_only_sent_can_be_loaded_and_unloaded(world: World) -> None:
    world.settle()
    files = {"1/model.onnx": b"sent"}
    assert world.outcome(LoadModel("new", override=ModelConfig(), files=files)).ok
    assert world.states("new") == {1: "READY"}
    assert world.outcome(UnloadModel("new")) == Outcome()
    assert world.manager.views() == ()


def test_files_that_were_just_written_are_not_swept_before_their_command_is_known(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.settle()
    first = {"1/model.onnx": b"first"}
    assert world.outcome(LoadModel("first", override=ModelConfig(), files=first)).ok
    given = world.manager._tickets.give

    def give_late(*arguments: Any) -> Any:
        world.tick()
        return given(*arguments)

    monkeypatch.setattr(world.manager._tickets, "give", give_late)
    files = {"1/model.onnx": b"sent"}
    assert world.outcome(LoadModel("new", override=ModelConfig(), files=files)).ok
    assert world.states("new") == {1: "READY"}
    uploads = list((world.root.parent / "state" / "uploads").glob("*/*/1/model.onnx"))
    assert sorted(path.read_bytes() for path in uploads) == [b"first", b"sent"]


def test_a_command_that_comes_while_unused_files_are_looked_for_keeps_its_own(
    tmp_path: Path,
) -> None:
    uploads = Uploads(tmp_path, lambda _, work: work())
    files = {"1/model.onnx": b"sent"}
    old, late = uploads.write("old", files), uploads.write("late", files)
    uploads.hand_over(old)

    def used() -> set[Path]:
        uploads.hand_over(late)
        return set()

    uploads.sweep(used)
    assert list(tmp_path.iterdir()) == [late.root]
    uploads.sweep(set)
    assert list(tmp_path.iterdir()) == []


def test_files_handed_over_after_the_end_are_removed(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path, lambda _, work: work())
    late = uploads.write("late", {"1/model.onnx": b"sent"})
    uploads.close()
    uploads.hand_over(late)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "files",
    [
        {"../1/model.onnx": b""},
        {"/etc/model.onnx": b""},
        {"1/../../model.onnx": b""},
        {"1/a/b/c/d/model.onnx": b""},
        {f"1/{'x' * 300}": b""},
        {"readme.txt": b""},
    ],
)
def test_files_that_would_lie_elsewhere_or_are_no_model_are_refused(
    world: World, tmp_path: Path, files: dict[str, bytes]
) -> None:
    world.settle()
    refused = world.outcome(LoadModel("m", override=ModelConfig(), files=files))
    assert refused.code is ErrorCode.BAD_REQUEST
    assert str(tmp_path) not in refused.message
    assert not list((tmp_path / "state" / "uploads").glob("*"))


@pytest.mark.parametrize("model", ["", "..", "a/b", ".hidden"])
def test_a_name_that_is_no_models_takes_no_files(world: World, model: str) -> None:
    files = {"1/model.onnx": b"x"}
    refused = world.manager.command(LoadModel(model, override=ModelConfig(), files=files)).wait(0)
    assert refused is not None
    assert refused.code is ErrorCode.BAD_REQUEST


def test_files_without_a_configuration_are_refused(world: World) -> None:
    refused = world.manager.command(LoadModel("m", files={"1/model.onnx": b"x"})).wait(0)
    assert refused is not None
    assert refused.code is ErrorCode.BAD_REQUEST
