"""What lies beside a model's versions and changes in place is looked at by who serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.models.actual import beside
from tests.unit.manager_world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.write("m", 1)
    made.write("m", 2)
    made.configure("m", "version_policy: {specific: [1, 2]}\n")
    (tmp_path / "m" / "schema.pbtxt").write_text("")
    return made


def edit(world: World, name: str, text: str) -> None:
    """As an editor does: another file takes its place, which the folder tells."""
    new = world.root / "m" / f"{name}.new"
    new.write_text(text)
    new.rename(new.with_name(name))


def looks(world: World) -> list[int]:
    return [len(one.looked_beside) for one in world.made]


def test_each_version_that_serves_looks_once_at_what_changed(world: World) -> None:
    world.change()
    assert looks(world) == [0, 0]
    edit(world, "schema.pbtxt", "feature {}")
    world.change()
    assert looks(world) == [1, 1]
    assert world.made[0].looked_beside == [world.root / "m"]
    world.change()
    assert (looks(world), world.loads) == ([1, 1], ["m/2", "m/1"])


def test_a_configuration_that_is_wrong_keeps_nobody_from_looking(world: World) -> None:
    world.change()
    edit(world, "model.yaml", "nonsense: 1\n")
    world.change()
    assert looks(world) == [1, 1]


def test_what_changed_while_it_was_loaded_is_looked_at_when_it_serves(world: World) -> None:
    world.settle()
    world.settle(5.0)
    world.write("m", 3)
    edit(world, "model.yaml", "version_policy: {specific: [1, 2, 3]}\n")
    for _ in range(4):
        world.tick(1.01)
    assert any(name == "load-m-3" for name, _ in world.jobs)
    edit(world, "schema.pbtxt", "feature {}")
    for _ in range(4):
        world.tick(1.01)
    world.settle()
    (third,) = (one for one in world.made if one.version == 3)
    assert third.looked_beside == [world.root / "m"]


def test_without_a_thread_it_looks_the_next_time_that_anything_is_seen(world: World) -> None:
    world.change()
    world.threads = 0
    edit(world, "schema.pbtxt", "feature {}")
    world.change()
    assert looks(world) == [0, 0]
    world.threads = 1000
    # Which nobody wants.
    world.write("m", 3)
    world.change()
    assert looks(world) == [1, 1]


def test_fault_113_edits_after_each_other_take_one_thread_and_one_look(world: World) -> None:
    """An edit a second, of what takes longer to read, took a thread more each time."""
    world.change()
    for number in range(3):
        edit(world, "schema.pbtxt", f"feature {{ }} # {number}")
        for _ in range(6):
            world.tick(1.01)
    assert [name for name, _ in world.jobs] == ["look-beside"]
    assert looks(world) == [0, 0]
    world.settle()
    assert looks(world) == [1, 1]
    edit(world, "schema.pbtxt", "feature {}")
    world.change()
    assert looks(world) == [2, 2]


def test_without_a_thread_of_low_priority_they_look_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(work: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(beside, "run_low_priority", none)
    world.change()
    edit(world, "schema.pbtxt", "feature {}")
    world.change()
    assert looks(world) == [1, 1]
