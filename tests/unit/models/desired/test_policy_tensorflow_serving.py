"""TensorFlow Serving's policy cases, by their names and facts, and what we do in them.

Its availability-preserving policy is what we follow; its resource-preserving one unloads before
it loads, which we never do. Where we decide otherwise, the case says so.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.model_config.schema import VersionPolicy
from serving.models.desired.candidates import Candidate, ModelTarget
from serving.models.desired.policy import Add, Annotate, Limits
from serving.models.state import Slot, SlotKey, State
from serving.registry.folder_origin import FolderOrigin
from tests.unit.models.desired.test_policy import check
from tests.unit.models.desired.whole_policy import next_actions

NEW, LOADING, READY = State.NEW, State.LOADING, State.READY
ERROR, UNLOADING = State.FAILED, State.DRAINING

# (version, state, whether it is aspired); ones that TensorFlow Serving calls disabled are gone.
Case = list[tuple[int, State, bool]]

CASES: dict[str, tuple[Case, set[str]]] = {
    # Its own: load 5.
    "LoadsNewAspired": (
        [(1, UNLOADING, False), (3, READY, True), (4, NEW, True), (5, NEW, True)],
        {"load 5"},
    ),
    # Its own: unload 3 first, then load 5. The two need not wait for each other.
    "UnloadsNonAspiredFirst": (
        [(1, UNLOADING, False), (3, READY, False), (4, READY, True), (5, NEW, True)],
        {"unload 3", "load 5"},
    ),
    # Its own: unload 2. Ours: a model's last version goes by command only.
    "UnloadsFirstNonAspiredWhenNoAspired": ([(2, READY, False)], set()),
    "ReturnsNoActionWhenNone": (
        [(1, READY, True), (2, ERROR, True), (3, LOADING, True), (4, UNLOADING, False)],
        set(),
    ),
    "DoesNotUnloadWhenOtherNotReady": ([(1, READY, False), (2, LOADING, True)], set()),
    "DoesNotUnloadWhenOtherInError": ([(1, READY, False), (2, ERROR, True)], set()),
    "UnloadIfOtherReadyEvenIfLoading": (
        [(1, READY, False), (2, LOADING, True), (3, READY, True)],
        {"unload 1"},
    ),
    "UnloadIfOtherReadyEvenIfError": (
        [(1, READY, False), (2, ERROR, True), (3, READY, True)],
        {"unload 1"},
    ),
    # Its own: unload 1. Ours: as long as nothing desired is ready, who asks for 1 gets 1.
    "UnloadIfNoAspiredVersionsReady": (
        [(2, READY, False), (1, READY, False), (3, ERROR, True), (4, LOADING, True)],
        set(),
    ),
    # The resource-preserving policy. Its own: unload 3. Ours: both, and the load beside them.
    "UnloadsFirstNonAspired": (
        [
            (1, UNLOADING, False),
            (2, READY, True),
            (3, READY, False),
            (4, NEW, True),
            (5, READY, False),
        ],
        {"unload 3", "unload 5", "load 4"},
    ),
    "LoadsFirstAspiredWhenNoneToUnload": (
        [(1, READY, True), (2, LOADING, True), (3, NEW, True), (5, NEW, True)],
        {"load 5"},
    ),
    # Its own: wait. Ours: an answer that comes sooner is worth the memory.
    "DoesNotLoadWhenOthersStillUnloading": ([(1, UNLOADING, False), (2, NEW, True)], {"load 2"}),
    "LoadIfUnaspiredIsError": ([(1, ERROR, False), (2, NEW, True)], {"discard 1", "load 2"}),
    "ErrorAndUnloadRequestedPreventLoading": (
        [(1, ERROR, False), (2, UNLOADING, False), (3, NEW, True)],
        {"discard 1", "load 3"},
    ),
    "ErrorAndDisabledAllowLoading": ([(1, ERROR, False), (3, NEW, True)], {"discard 1", "load 3"}),
}


@pytest.mark.parametrize("name", CASES)
def test_policy_cases_of_tensorflow_serving(name: str) -> None:
    versions, expected = CASES[name]
    assert decide(versions, ModelTarget("m", policy=VersionPolicy("all"))) == expected


def test_unloads_first_non_aspired_when_no_aspired_by_command() -> None:
    """What a command ended goes though nothing is left."""
    ended = ModelTarget("m", policy=VersionPolicy("all"), wanted=False)
    versions: Case = [(2, READY, False), (3, ERROR, False), (4, LOADING, False)]
    assert decide(versions, ended) == {"unload 2", "discard 3", "cancel 4"}


def decide(versions: Case, target: ModelTarget) -> set[str]:
    """The actions in words, remarks left out; a load takes one of two places."""
    slots = [
        Slot(number, key(number), FolderOrigin(Path("m")), 0.0, state, attempts=state is ERROR)
        for number, state, _ in versions
    ]
    aspired = tuple(
        Candidate(key(number), FolderOrigin(Path("m")))
        for number, _, is_aspired in versions
        if is_aspired
    )
    target = ModelTarget("m", aspired, target.policy, wanted=target.wanted)
    loading = sum(state is LOADING for _, state, _ in versions)
    actions = next_actions([target], slots, 0.0, Limits(loads=loading + 1))
    return {
        f"{type(action).__name__.lower()} {action.slot}"
        for action in actions
        if not isinstance(action, Add | Annotate)
    }


def key(number: int) -> SlotKey:
    return SlotKey("m", number, "a", "A")


# Its manager's cases, as transcripts of ours.


def test_aspire_error_dont_unload() -> None:
    """AspireErrorDontUnload: 0 and 1 are unaspired for a version that fails; they stay until a
    good one comes."""
    check("""
        > policy all
        > disk 1 2
          add 2
          add 1
          load 2
        > ready 2
          load 1
        > ready 1
        > disk 7
          add 7
          annotate 2: no longer on disk; stays until a version that is on disk can answer
          annotate 1: no longer on disk; stays until a version that is on disk can answer
          load 7
        > fails 7
        > wait 1000
        > disk 8
          add 8
          discard 7
          load 8
        > ready 8
          unload 2
          unload 1
    """)


def test_last_version_not_removed() -> None:
    check("""
        > disk 1
          add 1
          load 1
        > ready 1
        > disk
          annotate 1: no longer on disk, nor is any other version of the model; stays as loaded
        > disk 1
          clear 1
    """)


def test_unaspire_then_immediately_reaspire() -> None:
    """UnaspireThenImmediatelyReaspire: the draining slot ends as it would have; a new one comes
    beside it, without waiting for that."""
    check("""
        > policy all
        > disk 7 8
          add 8
          add 7
          load 8
        > ready 8
          load 7
        > ready 7
        > disk 8
          unload 7
        > disk 7 8
          add 7
          load 7
        > ends 7
    """)


def test_unaspire_new_servable_then_immediately_reaspire() -> None:
    """UnaspireNewServableThenImmediatelyReaspire: one that was never loaded is simply new."""
    check("""
        > policy all
        > disk 7 8
          add 8
          add 7
          load 8
        > disk 8
          cancel 7
        > disk 7 8
          add 7
        > ready 8
          load 7
    """)


def test_unaspire_failed_servable_then_immediately_reaspire() -> None:
    """UnaspireFailedServableThenImmediatelyReaspire: a failure does not outlive its files."""
    check("""
        > disk 7
          add 7
          load 7
        > fails 7
        > disk
          discard 7
        > disk 7
          add 7
          load 7
        > ready 7
    """)


def test_retry_on_load_error_finally_succeeds() -> None:
    check("""
        > disk 7
          add 7
          load 7
        > fails 7 heals
        > wait 2
          load 7
        > fails 7 heals
        > wait 4
          load 7
        > ready 7
        > wait 1000
    """)


def test_retry_on_load_error_finally_fails() -> None:
    """RetryOnLoadErrorFinallyFails: what a retry can't heal is tried no more."""
    check("""
        > disk 7
          add 7
          load 7
        > fails 7 heals
        > wait 2
          load 7
        > fails 7
        > wait 1000
    """)


def test_retry_on_load_error_unaspire() -> None:
    """A version that is unaspired between two tries is not tried again."""
    check("""
        > disk 7
          add 7
          load 7
        > fails 7 heals
        > disk
          discard 7
        > wait 1000
    """)
