"""What the manager does next, as transcripts.

A line that begins with ``>`` is what happens; the lines below it are the actions
that follow. Versions are written ``2``, ``2:b`` (other files), ``2@B`` (other
configuration), and on disk ``2?`` while they are still being copied.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import count
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from serving.errors import Retry
from serving.model_config.schema import VersionPolicy
from serving.models.desired import places, policy
from serving.models.desired.candidates import Candidate, ModelTarget
from serving.models.desired.choosing import desired, desired_for_all
from serving.models.desired.policy import Limits
from serving.models.state import IN_LOADER, PENDING, Slot, SlotKey, State
from serving.registry.folder_origin import FolderOrigin
from serving.rollout.plan import Aliases
from tests.unit.models.desired.whole_policy import next_actions


class World:
    """One model's disk and slots, with the manager's part played by hand."""

    def __init__(self, **limits: int) -> None:
        self.target = ModelTarget("m")
        self.config = "A"
        self.slots: list[Slot] = []
        self.now = 0.0
        self.limits = Limits(**{"loads": 1, **limits})
        self.ids = count(1)
        self.disk: dict[int, tuple[str, bool]] = {}
        self.policy = VersionPolicy()
        self.unknown = False
        # What commands said: fields of ``ModelTarget``, and versions asked for as they are.
        self.said: dict[str, Any] = {}
        self.exact: frozenset[int] = frozenset()

    def set_disk(self, words: list[str]) -> None:
        self.disk = {}
        for word in words:
            number, files, moving = re.fullmatch(r"(\d+)(?::(\w+))?(\??)", word).groups()
            self.disk[int(number)] = (files or "a", not moving)

    def set_policy(self, words: list[str]) -> None:
        kind, numbers = words[0], [int(word) for word in words[1:]]
        self.policy = VersionPolicy(
            kind, latest=numbers[0] if kind == "latest" else 1, specific=tuple(numbers)
        )

    def see(self) -> ModelTarget:
        versions = tuple(
            Candidate(
                SlotKey("m", number, files, self.config),
                FolderOrigin(Path(f"m/{number}")),
                whole,
                exact=number in self.exact,
            )
            for number, (files, whole) in sorted(self.disk.items())
        )
        versions = () if self.unknown else versions
        return ModelTarget("m", versions, self.policy, self.unknown, **self.said)

    def act(self) -> list[str]:
        """Every action until there are none, in words."""
        said = []
        for _ in range(50):
            actions = next_actions([self.see()], self.slots, self.now, self.limits)
            if not actions:
                return said
            said += [self.do(action) for action in actions]
        raise AssertionError(f"the policy never comes to rest: {said[-4:]}")

    def do(self, action: policy.Action) -> str:
        if isinstance(action, policy.Add):
            slot = Slot(next(self.ids), action.candidate.key, action.candidate.origin, self.now)
            self.slots.append(slot)
            return f"add {name(slot)}"
        slot = next(slot for slot in self.slots if slot.id == action.slot)
        words = f"{type(action).__name__.lower()} {name(slot)}"
        match action:
            case places.Load():
                slot.move(State.LOADING, self.now)
            case policy.Cancel():
                slot.cancelled = True
                if slot.state is State.NEW:
                    self.end(slot)
            case policy.Unload():
                slot.move(State.DRAINING, self.now)
            case policy.Discard():
                self.end(slot)
            case policy.Annotate():
                slot.remark = action.words
                words = words + f": {action.words}" if action.words else f"clear {name(slot)}"
        return words

    def find(self, word: str, *states: State) -> Slot:
        found = [s for s in self.slots if name(s) == word and s.state in states]
        assert found, f"no {word} in {states}"
        return found[0]

    def ready(self, slot: Slot) -> None:
        slot.move(State.WARMING, self.now)
        slot.move(State.READY, self.now)
        slot.attempts = 0

    def fail(self, slot: Slot, *, heals: bool = False) -> None:
        slot.move(State.FAILED, self.now, "broken")
        slot.attempts += 1
        slot.retry = Retry.LATER if heals else Retry.NEVER

    def end(self, slot: Slot) -> None:
        """The way out, whatever the state."""
        if slot.state is not State.FAILED and slot.state is not State.DRAINING:
            slot.move(State.FAILED, self.now)
        slot.move(State.GONE, self.now)
        self.slots.remove(slot)

    def happen(self, command: str) -> list[str]:
        verb, *words = command.split()
        match verb:
            case "disk":
                self.set_disk(words)
            case "policy":
                self.set_policy(words)
            case "config":
                self.config = words[0]
            case "unreadable" | "readable":
                self.unknown = verb == "unreadable"
            case "ready":
                self.ready(self.find(words[0], *IN_LOADER))
            case "fails":
                self.fail(self.find(words[0], *IN_LOADER), heals="heals" in words)
            case "ends":
                self.end(self.find(words[0], *IN_LOADER, State.DRAINING))
            case "wait":
                self.now += float(words[0])
            case _:
                self.hear(verb, frozenset(map(int, words)))
        return self.act()

    def hear(self, verb: str, versions: frozenset[int]) -> None:
        match verb:
            case "pinned" | "kept":
                self.said[verb] = next(iter(versions), None)
            case "out" | "extra":
                self.said[verb] = versions
            case "aliases":
                self.said[verb] = Aliases({f"a{number}": number for number in versions})
            case "wanted" | "unwanted":
                self.said["wanted"] = verb == "wanted"
            case "exact":
                self.exact = versions
            case _:
                raise AssertionError(verb)


def name(slot: Slot) -> str:
    files = "" if slot.key.files == "a" else f":{slot.key.files}"
    config = "" if slot.key.config == "A" else f"@{slot.key.config}"
    return f"{slot.version}{files}{config}"


def check(transcript: str, **limits: int) -> World:
    world = World(**limits)
    expected = dedent(transcript).strip()
    lines = []
    for line in expected.splitlines():
        if line.startswith(">"):
            lines.append(line)
            lines += [f"  {said}" for said in world.happen(line[1:])]
    assert "\n".join(lines) == expected
    return world


def test_a_version_is_added_loaded_and_then_left_alone() -> None:
    check("""
        > disk 1
          add 1
          load 1
        > ready 1
        > wait 1000
    """)


def test_does_not_unload_the_old_version_before_the_new_one_is_ready() -> None:
    check("""
        > disk 1
          add 1
          load 1
        > ready 1
        > disk 1 2
          add 2
          annotate 1: answers until version 2 is ready
          load 2
        > ready 2
          unload 1
        > ends 1
    """)


def test_fault_2_a_broken_new_version_leaves_the_old_one_serving() -> None:
    check("""
        > disk 1
          add 1
          load 1
        > ready 1
        > disk 1 2
          add 2
          annotate 1: answers until version 2 is ready
          load 2
        > fails 2
          clear 1
        > wait 1000
    """)


def test_does_not_unload_the_last_version_when_it_vanishes() -> None:
    """Fault 6: also when all of them vanish in one scan, the last good set stays."""
    check(f"""
        > policy all
        > disk 1 2
          add 2
          add 1
          load 2
        > ready 2
          load 1
        > ready 1
        > disk
          annotate 2: {policy.ALL_GONE}
          annotate 1: {policy.ALL_GONE}
        > disk 2
          clear 2
          unload 1
        > ends 1
        > disk
          annotate 2: {policy.ALL_GONE}
        > wait 1000
    """)


def test_fault_5_a_removed_version_leaves_when_another_can_answer() -> None:
    check("""
        > policy all
        > disk 1 2
          add 2
          add 1
          load 2
        > ready 2
          load 1
        > ready 1
        > disk 1
          unload 2
        > ends 2
    """)


def test_a_removed_version_stays_while_the_remaining_one_only_loads() -> None:
    check(f"""
        > disk 1
          add 1
          load 1
        > ready 1
        > disk 2
          add 2
          annotate 1: {policy.GONE_FROM_DISK}
          load 2
        > fails 2
        > disk 2:b
          add 2:b
          discard 2
          load 2:b
        > ready 2:b
          unload 1
    """)


def test_unwanted_and_immediately_wanted_again_is_loaded_anew_beside_the_draining_slot() -> None:
    check("""
        > policy all
        > disk 1 2
          add 2
          add 1
          load 2
        > ready 2
          load 1
        > ready 1
        > disk 2
          unload 1
        > disk 1 2
          add 1
          load 1
        > ready 1
        > ends 1
    """)


def test_a_source_that_cannot_say_adds_and_takes_nothing() -> None:
    check(f"""
        > policy all
        > disk 1 2
          add 2
          add 1
          load 2
        > ready 2
          load 1
        > ready 1
        > unreadable
          annotate 2: {policy.UNREADABLE}
          annotate 1: {policy.UNREADABLE}
        > wait 1000
        > readable
          clear 2
          clear 1
    """)


def test_fault_3_a_version_still_being_copied_is_not_loaded() -> None:
    check("""
        > disk 1?
        > wait 1000
        > disk 1
          add 1
          load 1
    """)


def test_a_version_still_being_copied_does_not_displace_the_one_below() -> None:
    check("""
        > disk 1 2?
          add 1
          load 1
        > ready 1
        > disk 1 2
          add 2
          annotate 1: answers until version 2 is ready
          load 2
    """)


def test_at_the_start_a_broken_newest_version_brings_up_the_next_lower_one() -> None:
    check("""
        > disk 1 2 3
          add 3
          load 3
        > fails 3
          add 2
          load 2
        > fails 2
          add 1
          load 1
        > ready 1
        > disk 1 2 3:b
          add 3:b
          discard 3
          annotate 1: answers until version 3 is ready
          load 3:b
        > ready 3:b
          discard 2
          unload 1
    """)


def test_a_failed_version_is_not_tried_again_before_its_files_change() -> None:
    check("""
        > disk 1
          add 1
          load 1
        > fails 1
        > wait 100000
        > disk 1?
        > disk 1:b
          add 1:b
          discard 1
          load 1:b
    """)


def test_what_may_heal_is_tried_again_with_growing_waits_and_keeps_its_stand_in() -> None:
    check("""
        > disk 1 2
          add 2
          load 2
        > fails 2 heals
          add 1
          load 1
        > ready 1
        > wait 1.9
        > wait 0.1
          load 2
        > fails 2 heals
        > wait 3.9
        > wait 0.1
          load 2
        > ready 2
          unload 1
    """)


def test_what_waits_to_be_loaded_from_files_that_are_gone_is_given_up() -> None:
    """In ``explicit`` a model goes on as a command took it, also when it is off the disk; what was
    to take its place with another configuration can't be loaded any more."""
    origin = FolderOrigin(Path("m/1"))
    answers = Slot(1, SlotKey("m", 1, "a", "A"), origin, since=0.0, state=State.READY)
    waits = Slot(2, SlotKey("m", 1, "a", "B"), origin, since=0.0)
    lost = Candidate(SlotKey("m", 1, "a", "B"), origin, whole=False, gone=True)
    actions = next_actions([ModelTarget("m", (lost,))], [answers, waits], 0.0, Limits())
    assert actions == [policy.Cancel(2)]


def test_retries_wait_at_most_a_minute() -> None:
    key = SlotKey("m", 1, "a", "A")
    slot = Slot(1, key, FolderOrigin(Path("m/1")), since=100.0, state=State.FAILED)
    slot.attempts, slot.retry = 500, Retry.LATER
    assert policy.retry_at(slot, Limits()) == 160.0
    slot.retry = Retry.NEVER
    assert policy.retry_at(slot, Limits()) is None


def test_a_failed_version_is_forgotten_once_it_is_off_the_disk() -> None:
    world = check("""
        > disk 1
          add 1
          load 1
        > fails 1
        > disk
          discard 1
    """)
    assert not world.slots


def test_a_changed_configuration_is_a_new_slot_swapped_in_when_ready() -> None:
    check(f"""
        > disk 1
          add 1
          load 1
        > ready 1
        > config B
          add 1@B
          annotate 1: {policy.RECONFIGURING}
          load 1@B
        > ready 1@B
          unload 1
    """)


def test_a_changed_configuration_that_fails_leaves_the_former_slot_and_says_why() -> None:
    check(f"""
        > disk 1
          add 1
          load 1
        > ready 1
        > config B
          add 1@B
          annotate 1: {policy.RECONFIGURING}
          load 1@B
        > fails 1@B
          annotate 1: answers with its former configuration; the new one: broken
        > config A
          clear 1
          discard 1@B
    """)


def test_each_version_keeps_its_former_slot_until_its_own_new_one_is_ready() -> None:
    check(f"""
        > policy all
        > disk 1 2
          add 2
          add 1
          load 2
        > ready 2
          load 1
        > ready 1
        > config B
          add 2@B
          add 1@B
          annotate 2: {policy.RECONFIGURING}
          annotate 1: {policy.RECONFIGURING}
          load 2@B
        > ready 2@B
          unload 2
          load 1@B
        > ready 1@B
          unload 1
    """)


def test_files_changed_under_a_ready_slot_are_reported_and_not_picked_up() -> None:
    check(f"""
        > disk 1
          add 1
          load 1
        > ready 1
        > disk 1?
        > disk 1:b
          annotate 1: {policy.FILES_CHANGED}
        > wait 1000
        > disk 1
          clear 1
    """)


def test_of_two_ready_slots_of_a_version_the_newer_stays_while_its_files_are_in_motion() -> None:
    check(f"""
        > disk 1
          add 1
          load 1
        > ready 1
        > config B
          add 1@B
          annotate 1: {policy.RECONFIGURING}
          load 1@B
        > disk 1:b?
          annotate 1: {policy.FILES_CHANGED}
        > ready 1@B
          unload 1
          annotate 1@B: {policy.FILES_CHANGED}
    """)


def test_files_changed_before_it_was_ready_make_a_new_slot() -> None:
    check("""
        > disk 1
          add 1
          load 1
        > disk 1:b
          add 1:b
          cancel 1
        > ends 1
          load 1:b
    """)


def test_a_load_in_progress_is_cancelled_when_the_version_is_no_longer_desired() -> None:
    check("""
        > disk 1
          add 1
          load 1
        > disk 1 2
          add 2
          cancel 1
        > ends 1
          load 2
    """)


def test_a_version_policy_changes_in_place() -> None:
    check("""
        > policy all
        > disk 1 2 3
          add 3
          add 2
          add 1
          load 3
        > ready 3
          load 2
        > ready 2
          load 1
        > ready 1
        > policy latest 2
          unload 1
        > policy specific 1 3
          add 1
          unload 2
          load 1
    """)


def test_a_specific_policy_without_its_version_on_disk_keeps_what_serves() -> None:
    check(f"""
        > policy specific 1
        > disk 1 2
          add 1
          load 1
        > ready 1
        > policy specific 7
          annotate 1: {policy.OUT_OF_POLICY}
    """)


def test_the_newest_versions_load_first_and_never_more_than_the_limit_at_once() -> None:
    check(
        """
        > policy all
        > disk 1 2 3 4
          add 4
          add 3
          add 2
          add 1
          load 4
          load 3
        > ready 3
          load 2
        > fails 4
          load 1
    """,
        loads=2,
    )


def test_a_model_without_an_answer_is_loaded_before_the_second_version_of_another() -> None:
    def candidate(model: str, version: int) -> Candidate:
        return Candidate(SlotKey(model, version, "a", "A"), FolderOrigin(Path(model)))

    def slot(number: int, made_of: Candidate, state: State) -> Slot:
        return Slot(number, made_of.key, made_of.origin, 0.0, state)

    everything = VersionPolicy("all")
    models = [
        ModelTarget("a", (candidate("a", 1), candidate("a", 2)), everything),
        ModelTarget("b", (candidate("b", 1),), everything),
    ]
    slots = [
        slot(1, candidate("a", 1), State.NEW),
        slot(2, candidate("a", 2), State.READY),
        slot(3, candidate("b", 1), State.NEW),
    ]
    assert next_actions(models, slots, 0.0, Limits(loads=1)) == [places.Load(3)]


def test_small_models_are_loaded_before_huge_ones_and_alike_ones_by_name() -> None:
    def candidate(model: str, size: int) -> Candidate:
        return Candidate(SlotKey(model, 1, "a", "A"), FolderOrigin(Path(model)), size=size)

    sizes = {"a": 4 << 30, "b": 90 << 20, "c": 900, "d": 80 << 20, "e": 100, "f": 0}
    made = [candidate(model, size) for model, size in sizes.items()]
    models = [ModelTarget(one.key.model, (one,)) for one in made]
    slots = [Slot(at, one.key, one.origin, 0.0, State.NEW) for at, one in enumerate(made)]
    order = [action.slot for action in next_actions(models, slots, 0.0, Limits(loads=6))]
    assert ["abcdef"[at] for at in order] == ["c", "e", "f", "b", "d", "a"]


@pytest.mark.parametrize(
    ("latest", "held", "chosen"),
    [
        (1, {}, [4]),
        (1, {4}, [1, 4, 3]),
        (1, {3, 4}, [1, 4, 2]),
        (1, {2, 3, 4}, [1, 4]),
        (2, {4}, [1, 4, 3, 2]),
        (2, {2, 3, 4}, [1, 4, 3]),
        (1, {3}, [4]),
    ],
)
def test_what_is_held_back_counts_for_no_place_and_takes_no_more_than_there_are(
    latest: int, held: set[int], chosen: list[int]
) -> None:
    """The one that answers comes first while anything is held back."""
    world = World()
    world.set_disk(["1", "2", "3", "4"])
    world.set_policy(["latest", str(latest)])
    world.said = {"answered": 1, "held": frozenset(held)}
    assert [candidate.version for candidate in desired(world.see(), [])] == chosen


def test_below_what_is_held_back_it_is_not_looked_for_ever() -> None:
    world = World()
    world.set_disk([str(number) for number in range(1, 30)])
    world.said = {"answered": 1, "held": frozenset(range(12, 30))}
    assert [candidate.version for candidate in desired(world.see(), [])] == [1, 29]


def test_a_pinned_version_is_desired_whatever_the_policy_says_and_loads_first() -> None:
    check("""
        > pinned 1
        > disk 1 2 3
          add 1
          add 3
          load 1
        > ready 1
          load 3
        > ready 3
        > pinned
          unload 1
    """)


def test_a_pin_to_a_version_that_is_not_there_wants_nothing() -> None:
    check("""
        > pinned 9
        > disk 1
          add 1
          load 1
        > ready 1
        > disk 1 9
          add 9
          annotate 1: answers until version 9 is ready
          load 9
    """)


def test_what_an_alias_names_is_loaded_last_and_does_nobody_elses_work() -> None:
    check(f"""
        > aliases 1
        > disk 1 2
          add 2
          add 1
          load 2
        > ready 2
          load 1
        > ready 1
        > disk 1 2 3
          add 3
          annotate 2: answers until version 3 is ready
          load 3
        > fails 3
          clear 2
        > config B
          add 3@B
          add 1@B
          annotate 2: answers until version 3 is ready
          annotate 1: {policy.RECONFIGURING}
          discard 3
          load 3@B
        > ready 3@B
          unload 2
          load 1@B
        > ready 1@B
          unload 1
        > aliases
          unload 1@B
    """)


def test_what_an_alias_names_is_no_successor_of_what_the_policy_wants_no_more() -> None:
    check(f"""
        > aliases 1
        > disk 1 2
          add 2
          add 1
          load 2
        > ready 2
          load 1
        > ready 1
        > policy specific 3
          annotate 2: {policy.OUT_OF_POLICY}
    """)


def test_an_unloaded_version_waits_for_its_stand_in_and_not_for_an_alias() -> None:
    check("""
        > aliases 1
        > disk 1 2 3
          add 3
          add 1
          load 3
        > ready 3
          load 1
        > ready 1
        > out 3
          add 2
          annotate 3: unloaded by command as soon as version 2 is ready
          load 2
        > ready 2
          unload 3
    """)


def test_what_answered_before_stays_as_long_as_it_is_kept_and_on_disk() -> None:
    check(f"""
        > disk 1
          add 1
          load 1
        > ready 1
        > disk 1 2
          add 2
          annotate 1: answers until version 2 is ready
          load 2
        > kept 1
          annotate 1: {policy.KEPT}
        > ready 2
        > wait 1000
        > config B
          add 2@B
          annotate 2: {policy.RECONFIGURING}
          load 2@B
        > ready 2@B
          unload 2
        > kept
          unload 1
    """)


def test_what_is_kept_is_not_loaded_for_it_and_leaves_with_its_files() -> None:
    check(f"""
        > kept 1
        > disk 1 2
          add 2
          load 2
        > ready 2
        > policy all
          add 1
          load 1
        > ready 1
        > policy latest 1
          annotate 1: {policy.KEPT}
        > disk 2
          unload 1
    """)


def test_an_unload_of_the_model_ends_everything_also_what_is_being_loaded() -> None:
    check("""
        > policy all
        > disk 1 2 3
          add 3
          add 2
          add 1
          load 3
        > fails 3
          load 2
        > ready 2
          load 1
        > unwanted
          discard 3
          unload 2
          cancel 1
        > wait 1000
        > wanted
          add 3
          add 2
          add 1
        > ends 1
          load 3
    """)


def test_an_unload_counts_while_the_source_cannot_say_anything() -> None:
    check(f"""
        > policy all
        > disk 1 2
          add 2
          add 1
          load 2
        > ready 2
          load 1
        > ready 1
        > unreadable
          annotate 2: {policy.UNREADABLE}
          annotate 1: {policy.UNREADABLE}
        > out 1
          unload 1
        > unwanted
          unload 2
    """)


def test_an_unloaded_version_answers_until_its_stand_in_does() -> None:
    check("""
        > disk 1 2
          add 2
          load 2
        > ready 2
        > out 2
          add 1
          annotate 2: unloaded by command as soon as version 1 is ready
          load 1
        > ready 1
          unload 2
    """)


def test_an_unloaded_version_goes_when_nothing_can_stand_in_for_it() -> None:
    check("""
        > disk 1 2
          add 2
          load 2
        > ready 2
        > out 2
          add 1
          annotate 2: unloaded by command as soon as version 1 is ready
          load 1
        > fails 1
          unload 2
    """)


def test_a_version_asked_for_by_number_is_desired_beside_the_policys_own() -> None:
    check("""
        > extra 1
        > disk 1 2 3
          add 3
          add 1
          load 3
        > ready 3
          load 1
        > ready 1
        > unwanted
          unload 3
        > extra
          unload 1
    """)


def test_files_that_were_asked_for_replace_those_of_a_ready_slot_once_they_are_loaded() -> None:
    check(f"""
        > disk 1
          add 1
          load 1
        > ready 1
        > disk 1:b
          annotate 1: {policy.FILES_CHANGED}
        > exact 1
          add 1:b
          annotate 1: {policy.RELOADING}
          load 1:b
        > fails 1:b
          annotate 1: answers with its former files; the new ones: broken
        > disk 1:c
          add 1:c
          annotate 1: {policy.RELOADING}
          discard 1:b
          load 1:c
        > ready 1:c
          unload 1
        > exact
    """)


NUMBERS = st.sets(st.integers(1, 4))


class PolicyMachine(RuleBasedStateMachine):
    """Anything may happen in any order: what must hold all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(loads=2)
        self.answered = False

    def settle(self) -> None:
        before = self.answers()
        self.world.act()
        # The policy itself never takes the last answer away, nor a version's own for nothing.
        assert bool(self.answers()) >= bool(before)

    def answers(self) -> list[Slot]:
        return [slot for slot in self.world.slots if slot.state is State.READY]

    def some(self, data: st.DataObject, *states: State) -> Slot:
        found = [slot for slot in self.world.slots if slot.state in states]
        return data.draw(st.sampled_from(found))

    def any_in(self, *states: State) -> bool:
        return any(slot.state in states for slot in self.world.slots)

    @rule(numbers=NUMBERS, files=st.sampled_from("ab"), moving=NUMBERS)
    def publish(self, numbers: set[int], files: str, moving: set[int]) -> None:
        self.world.disk = {number: (files, number not in moving) for number in numbers}
        self.settle()

    @rule(
        kind=st.sampled_from(("latest", "all", "specific")), latest=st.integers(1, 3), some=NUMBERS
    )
    def change_policy(self, kind: str, latest: int, some: set[int]) -> None:
        self.world.policy = VersionPolicy(kind, latest, tuple(sorted(some)))
        self.settle()

    @rule(some=NUMBERS)
    def name_versions(self, some: set[int]) -> None:
        self.world.said["aliases"] = Aliases({f"a{number}": number for number in some})
        self.settle()

    @rule(config=st.sampled_from("AB"))
    def change_config(self, config: str) -> None:
        self.world.config = config
        self.settle()

    @rule(unknown=st.booleans())
    def lose_sight(self, unknown: bool) -> None:
        self.world.unknown = unknown
        self.settle()

    @rule(seconds=st.floats(0.1, 100))
    def wait(self, seconds: float) -> None:
        self.world.now += seconds
        self.settle()

    @precondition(lambda self: self.any_in(*IN_LOADER))
    @rule(data=st.data())
    def load_succeeds(self, data: st.DataObject) -> None:
        slot = self.some(data, *IN_LOADER)
        self.world.end(slot) if slot.cancelled else self.world.ready(slot)
        self.settle()

    @precondition(lambda self: self.any_in(*IN_LOADER))
    @rule(data=st.data(), heals=st.booleans())
    def load_fails(self, data: st.DataObject, heals: bool) -> None:
        slot = self.some(data, *IN_LOADER)
        self.world.end(slot) if slot.cancelled else self.world.fail(slot, heals=heals)
        self.settle()

    @precondition(lambda self: self.any_in(State.DRAINING))
    @rule(data=st.data())
    def drain_ends(self, data: st.DataObject) -> None:
        self.world.end(self.some(data, State.DRAINING))
        self.settle()

    @invariant()
    def an_answer_once_given_is_never_lost(self) -> None:
        self.answered = self.answered or bool(self.answers())
        assert bool(self.answers()) == self.answered

    @invariant()
    def loads_stay_within_the_limit(self) -> None:
        assert sum(slot.state in IN_LOADER for slot in self.world.slots) <= 2

    @invariant()
    def a_version_has_one_ready_slot_and_one_pending_at_most(self) -> None:
        for number in {slot.version for slot in self.world.slots}:
            mine = [s for s in self.world.slots if s.version == number and not s.cancelled]
            # While the source cannot say anything, nothing is taken away.
            assert sum(slot.state is State.READY for slot in mine) <= 1 + self.world.unknown
            assert sum(slot.state in PENDING for slot in mine) <= 1

    @invariant()
    def left_alone_everything_desired_becomes_ready_and_nothing_else_stays(self) -> None:
        if self.world.unknown or not all(whole for _, whole in self.world.disk.values()):
            return
        world = self.copy()
        for _ in range(60):
            world.act()
            busy = [s for s in world.slots if s.state in (*IN_LOADER, State.DRAINING)]
            if not busy:
                break
            for slot in busy:
                leaving = slot.cancelled or slot.state is State.DRAINING
                world.end(slot) if leaving else world.ready(slot)
        wanted = {candidate.version for candidate in desired(world.see(), world.slots)}
        failed = {slot.version for slot in world.slots if slot.state is State.FAILED}
        ready = {slot.version for slot in world.slots if slot.state is State.READY}
        assert not any(slot.state in PENDING for slot in world.slots)
        assert wanted <= ready | failed
        # What is there for its aliases only does nobody else's work.
        if ready & {one.version for one in desired_for_all(world.see(), world.slots)}:
            assert ready <= wanted

    def copy(self) -> World:
        twin = World(loads=2)
        twin.__dict__.update(self.world.__dict__)
        twin.slots = [replace(slot) for slot in self.world.slots]
        twin.ids = count(10_000)
        return twin


TestPolicyMachine = PolicyMachine.TestCase
TestPolicyMachine.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
