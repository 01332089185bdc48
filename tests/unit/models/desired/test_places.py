"""Who is loaded, who waits and who gives way, as transcripts.

A line that begins with ``>`` is what happens: ``come`` (in line), ``tries`` (its trial does its
own work from now on), ``warms``, ``ready``, ``out`` (it has given way), ``wait`` (seconds). The
lines below it are the steps that follow.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from serving.models.desired.places import GiveWay, Load, MoveOver, next_steps
from serving.models.state import IN_LOADER, Slot, SlotKey, State
from serving.registry.folder_origin import FolderOrigin


class World:
    def __init__(self, places: int) -> None:
        self.places, self.now = places, 0.0
        self.slots: list[Slot] = []

    def find(self, name: str) -> Slot:
        return next(slot for slot in self.slots if slot.model == name)

    def happen(self, command: str) -> list[str]:
        verb, *names = command.split()
        if verb == "wait":
            self.now += float(names[0])
        for name in names if verb != "wait" else ():
            self.one(verb, name)
        return self.act()

    def one(self, verb: str, name: str) -> None:
        if verb == "come":
            key = SlotKey(name, 1, "f", "c")
            self.slots.append(Slot(len(self.slots), key, FolderOrigin(Path(name)), self.now))
            return
        slot = self.find(name)
        if verb == "tries":
            slot.trying_since = self.now
        elif verb == "out":
            assert slot.told
            slot.gave_way += 1
            slot.move(State.NEW, self.now)
        else:
            slot.move(State.WARMING, self.now)
            if verb == "ready":
                slot.move(State.READY, self.now)

    def act(self) -> list[str]:
        """Every step until there are none, in words."""
        said: list[str] = []
        for _ in range(50):
            line = [slot for slot in self.slots if slot.state is State.NEW]
            line.sort(key=lambda slot: slot.gave_way)
            loading = [slot for slot in self.slots if slot.state in IN_LOADER]
            steps = next_steps(line, loading, self.now, self.places, slow_after=1.0)
            if not steps:
                return said
            said += [self.do(step) for step in steps]
        raise AssertionError(f"it never comes to rest: {said[-4:]}")

    def do(self, step: Load | MoveOver | GiveWay) -> str:
        slot = self.slots[step.slot]
        match step:
            case Load():
                slot.told, slot.trying_since = False, None
                slot.move(State.LOADING, self.now)
                return f"load {slot.model}"
            case MoveOver():
                slot.gave_way += 1
                return f"move over {slot.model}"
            case GiveWay():
                slot.told = True
                return f"give way {slot.model}"


def check(transcript: str, places: int = 1) -> None:
    world = World(places)
    expected = dedent(transcript).strip()
    lines = []
    for line in expected.splitlines():
        if line.startswith(">"):
            lines.append(line)
            lines += [f"  {said}" for said in world.happen(line[1:])]
    assert "\n".join(lines) == expected


def test_one_after_the_other_while_each_is_quick() -> None:
    check("""
        > come a b c
          load a
        > tries a
        > wait 0.9
        > ready a
          load b
        > tries b
        > ready b
          load c
    """)


def test_two_places_take_two() -> None:
    check(
        """
        > come a b c
          load a
          load b
        > ready b
          load c
    """,
        places=2,
    )


def test_nobody_gives_way_where_nobody_waits() -> None:
    check("""
        > come a
          load a
        > tries a
        > wait 1000
    """)


def test_fault_106_who_takes_long_goes_on_beside_others_and_the_next_such_one_ends() -> None:
    check("""
        > come hangs again good
          load hangs
        > tries hangs
        > wait 1
          move over hangs
          load again
        > tries again
        > wait 1
          give way again
        > out again
          load good
        > ready good
    """)


def test_who_gave_way_waits_for_a_slow_place_and_may_go_on_longer_each_time() -> None:
    check("""
        > come a b
          load a
        > tries a
        > wait 1
          move over a
          load b
        > tries b
        > come c
        > wait 1
          give way b
        > out b
          load c
        > ready c
        > wait 2.9
        > wait 0.1
          give way a
        > out a
          load b
        > tries b
        > wait 4.9
        > wait 0.1
          give way b
        > out b
          load a
        > tries a
        > wait 24.9
        > wait 0.1
          give way a
    """)


def test_a_newcomer_finds_the_fast_lane_free_however_many_slow_ones_wait() -> None:
    check("""
        > come a b c
          load a
        > tries a
        > wait 1
          move over a
          load b
        > tries b
        > wait 1
          give way b
        > out b
          load c
        > tries c
        > wait 100
          give way a
        > come new
          give way c
        > out c
          load new
    """)


def test_slow_ones_take_no_turns_while_a_newcomer_waits() -> None:
    check("""
        > come a b c
          load a
        > tries a
        > wait 1
          move over a
          load b
        > tries b
        > wait 1
          give way b
        > out b
          load c
        > come new
        > wait 100
        > ready c
          load new
          give way a
    """)


def test_only_a_trial_gives_way_and_only_for_its_own_work() -> None:
    check("""
        > come a b c
          load a
        > wait 100
        > tries a
        > wait 0.9
        > warms a
        > wait 100
    """)


def test_no_more_are_told_than_wait() -> None:
    check(
        """
        > come a b
          load a
          load b
        > tries a
        > wait 0.5
        > tries b
        > wait 5
        > come c
          move over a
          load c
    """,
        places=2,
    )


def test_one_that_is_told_is_not_told_again_and_nobody_else_in_its_stead() -> None:
    check(
        """
        > come a b c d
          load a
          load b
        > tries a b
        > wait 1
          move over a
          move over b
          load c
          load d
        > tries c d
        > come e
        > wait 1
          give way c
        > wait 1
        > out c
          load e
    """,
        places=2,
    )
