"""Parts start in their order and stop in the reverse one, whatever fails."""

from __future__ import annotations

import pytest

from serving.parts import Part, Parts


class World:
    def __init__(self) -> None:
        self.told: list[str] = []

    def part(self, name: str, *, fails: str = "") -> Part:
        def do(what: str) -> None:
            self.told.append(f"{what} {name}")
            if fails == what:
                raise RuntimeError(f"{what} {name}")

        return Part(name, lambda: do("stop"), lambda: do("start"))

    def opened(self, name: str) -> Part:
        return Part(name, lambda: self.told.append(f"stop {name}"))


@pytest.fixture
def world() -> World:
    return World()


def test_parts_stop_in_the_reverse_of_the_order_in_which_they_start(world: World) -> None:
    parts = Parts(world.opened("a"), world.part("b"), Part.of("off", None), world.part("c"))
    parts.start()
    parts.stop()
    assert world.told == ["start b", "start c", "stop c", "stop b", "stop a"]
    assert parts.names == ("a", "b", "off", "c")


def test_a_part_that_fails_to_start_stops_those_before_it_and_what_was_open(world: World) -> None:
    parts = Parts(
        world.opened("a"),
        world.part("b"),
        world.part("c", fails="start"),
        world.part("d"),
        world.opened("e"),
    )
    with pytest.raises(RuntimeError, match="start c"):
        parts.start()
    assert world.told == ["start b", "start c", "stop e", "stop c", "stop b", "stop a"]


def test_an_error_while_those_before_it_stop_does_not_hide_the_first(world: World) -> None:
    parts = Parts(world.part("a"), world.part("b", fails="stop"), world.part("c", fails="start"))
    with pytest.raises(RuntimeError, match="start c"):
        parts.start()
    assert world.told[-1] == "stop a"


def test_a_part_that_fails_to_stop_keeps_no_other_from_it(world: World) -> None:
    parts = Parts(world.part("a"), world.part("b", fails="stop"), world.part("c"))
    parts.start()
    with pytest.raises(RuntimeError, match="stop b") as error:
        parts.stop()
    assert world.told[-3:] == ["stop c", "stop b", "stop a"]
    assert error.value.__notes__ == ["while 'b' was stopped"]


def test_what_was_stopped_is_not_stopped_again(world: World) -> None:
    parts = Parts(world.opened("a"), world.part("b"))
    parts.start()
    parts.stop()
    parts.stop()
    assert world.told == ["start b", "stop b", "stop a"]
