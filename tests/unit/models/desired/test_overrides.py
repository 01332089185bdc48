"""What commands said, as data: its algebra and its document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.models.actual.startup import Readiness, Startup
from serving.models.desired import overrides
from serving.models.desired.overrides import (
    NOTHING,
    Documents,
    Overrides,
    from_document,
)
from serving.models.state import Slot, SlotKey, State
from serving.registry.folder_origin import FolderOrigin

DISK = {1: "a", 2: "b"}


@pytest.mark.parametrize(
    ("current", "mode", "named", "wanted"),
    [
        (NOTHING, "poll", False, True),
        (NOTHING, "both", False, True),
        (NOTHING, "explicit", False, False),
        (NOTHING, "explicit", True, True),
        (Overrides(whole=False), "both", False, False),
        (Overrides(whole=False), "explicit", True, False),
        (Overrides(whole=True), "explicit", False, True),
    ],
)
def test_whether_the_version_policy_counts(
    current: Overrides, mode: overrides.Mode, named: bool, wanted: bool
) -> None:
    assert overrides.is_wanted(current, mode, named) == wanted


@pytest.mark.parametrize(
    ("ours", "joined"),
    [
        (NOTHING, Overrides(pin=1, answered=1, previous=3, kept_until=9.0)),
        (Overrides(answered=2), Overrides(pin=1, answered=2)),
    ],
)
def test_what_another_gateway_decided_holds_where_no_command_was_given(
    ours: Overrides, joined: Overrides
) -> None:
    theirs = Overrides(pin=1, answered=1, previous=3, kept_until=9.0)
    assert overrides.join(ours, theirs) == joined


def test_in_poll_an_unload_holds_out_the_files_that_are_there_and_no_others() -> None:
    current = overrides.unload(NOTHING, None, "poll", DISK)
    assert overrides.held_out(current, DISK) == {1, 2}
    assert overrides.held_out(current, {**DISK, 2: "changed", 3: "c"}) == {1}
    assert overrides.held_out(current, {}) == {1, 2}
    assert overrides.is_wanted(current, "poll", False)


@pytest.mark.parametrize("mode", ["both", "explicit"])
def test_elsewhere_an_unload_holds_whatever_comes(mode: overrides.Mode) -> None:
    current = overrides.unload(Overrides(versions=frozenset({1})), None, mode, DISK)
    assert current == Overrides(whole=False)
    assert overrides.held_out(overrides.unload(NOTHING, 2, "both", DISK), {2: "new"}) == {2}


def test_in_explicit_the_other_versions_go_on_by_themselves() -> None:
    current = overrides.unload(Overrides(whole=True), 2, "explicit", DISK, frozenset({2, 3}))
    assert current == Overrides(whole=False, versions=frozenset({3}))


def test_a_load_takes_back_what_was_unloaded() -> None:
    current = overrides.unload(overrides.unload(NOTHING, 1, "both", DISK), 2, "both", DISK)
    assert overrides.held_out(overrides.load(current, 1), DISK) == {2}
    assert overrides.load(current, None) == Overrides(whole=True)
    assert overrides.load(NOTHING, 3).versions == {3}


def test_a_pin_takes_its_version_in_and_ends_without_a_trace() -> None:
    out = overrides.unload(NOTHING, 2, "both", DISK)
    assert overrides.pin(out, 2, wanted=True) == Overrides(pin=2)
    assert overrides.pin(out, 2, wanted=False).versions == {2}
    assert overrides.pin(Overrides(pin=2), None, wanted=True) == NOTHING


def test_an_alias_takes_its_version_in_and_ends_without_a_trace() -> None:
    out = overrides.unload(NOTHING, 2, "both", DISK)
    current = overrides.alias(out, "stable", 2, wanted=True)
    assert current == Overrides(aliases={"stable": 2})
    assert overrides.alias(out, "stable", 2, wanted=False).versions == {2}
    moved = overrides.alias(current, "stable", 1, wanted=True)
    assert overrides.alias(moved, "other", 2, wanted=True).aliases == {"stable": 1, "other": 2}
    assert overrides.alias(moved, "stable", None, wanted=True) == NOTHING


def test_who_answered_before_is_remembered_one_step_back() -> None:
    current = overrides.answer(NOTHING, 1, 10.0)
    assert (current.answered, current.previous) == (1, None)
    current = overrides.answer(overrides.answer(current, 2, 20.0), 2, 99.0)
    assert (current.answered, current.previous, current.kept_until) == (2, 1, 20.0)


VERSIONS = st.integers(1, 2**63 - 1)
OVERRIDES = st.builds(
    Overrides,
    whole=st.none() | st.booleans(),
    versions=st.frozensets(VERSIONS),
    out=st.frozensets(st.tuples(VERSIONS, st.just(""))),
    pin=st.none() | VERSIONS,
    answered=st.none() | VERSIONS,
    previous=st.none() | VERSIONS,
    kept_until=st.floats(0, 1e11),
    aliases=st.dictionaries(st.text(), VERSIONS, max_size=3),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.text(), OVERRIDES))
def test_the_documents_read_back_as_they_were_written(every: dict[str, Overrides]) -> None:
    documents = Documents({}, "both")
    for model, current in every.items():
        documents.put(model, current)
    expected = {model: current for model, current in every.items() if current != NOTHING}
    parts = documents.take_changed()
    assert parts.keys() == {overrides.part_of(model) for model in every}
    # Together, as earlier versions kept it.
    models = {model: fields for part in parts.values() for model, fields in part["models"].items()}
    for whole in ([{"form": 1, "models": models}], parts.values()):
        found: dict[str, Overrides] = {}
        for document in whole:
            read, wrong = from_document(json.loads(json.dumps(document)), "both")
            assert wrong == ()
            found |= read
        assert found == expected


def test_what_is_decided_about_a_model_changes_one_document_of_many() -> None:
    many = {f"m{number}": Overrides(answered=1) for number in range(1000)}
    documents = Documents(many, "poll")
    assert documents.take_changed() == {}
    documents.put("m7", Overrides(answered=1, pin=1))
    ((part, document),) = documents.take_changed().items()
    assert part == overrides.part_of("m7")
    assert document["models"]["m7"] == {"pin": 1, "answered": 1}
    assert len(document["models"]) < 2 * len(many) / len(overrides.PARTS)
    assert documents.take_changed() == {}
    documents.change_all()
    assert len(documents.take_changed()) == len(overrides.PARTS)


@pytest.mark.parametrize("mode", ["poll", "explicit"])
def test_only_both_remembers_loads_and_unloads(mode: overrides.Mode) -> None:
    current = Overrides(False, frozenset({1}), frozenset({(2, "")}), 3, 4, 5, 6.0)
    kept = Overrides(pin=3, answered=4, previous=5, kept_until=6.0)
    for written in (mode, "both"):
        documents = Documents({}, written)
        documents.put("m", current)
        (document,) = documents.take_changed().values()
        assert from_document(document, mode) == ({"m": kept}, ())


@pytest.mark.parametrize(
    "entry",
    [
        [],
        {"pin": True},
        {"pin": "1"},
        {"pin": 0},
        {"pin": 2**63},
        {"versions": 1},
        {"versions": ["1"]},
        {"out": [1.5]},
        {"whole": 1},
        {"kept_until": -1},
        {"kept_until": "soon"},
        {"else": 1},
    ],
)
def test_an_entry_that_is_not_ours_is_left_out_whole_and_said(entry: Any) -> None:
    document = {"form": 1, "models": {"m": entry, "n": {"pin": 7}}}
    read, wrong = from_document(document, "both")
    assert read == {"n": Overrides(pin=7)}
    assert len(wrong) == 1
    assert wrong[0].startswith("m: ")


@pytest.mark.parametrize("document", [[], {}, {"form": 2, "models": {}}, {"form": 1}, "x"])
def test_a_document_of_another_form_says_so(document: object) -> None:
    read, wrong = from_document(document, "both")
    assert read == {}
    assert len(wrong) == 1


def test_no_document_is_no_mistake() -> None:
    assert from_document(None, "poll") == ({}, ())


WANTED = frozenset({("a", 1), ("a", 2), ("b", 1)})
READY, FAILED, LOADING, NEW = State.READY, State.FAILED, State.LOADING, State.NEW


# Slots (model, version, state) -> which of the three settings call that ready.
@pytest.mark.parametrize(
    ("slots", "ready"),
    [
        ([("a", 2, READY), ("b", 1, READY)], {"settled", "strict", "any"}),
        ([("a", 2, READY), ("a", 1, LOADING), ("b", 1, READY)], {"any"}),
        ([("a", 2, READY), ("b", 1, NEW)], set()),
        ([("a", 2, READY), ("b", 1, FAILED)], {"settled", "any"}),
        ([("a", 2, FAILED), ("a", 1, READY), ("b", 1, READY)], {"settled", "any"}),
        ([("a", 2, FAILED), ("a", 1, LOADING), ("b", 1, READY)], set()),
        ([("a", 3, LOADING), ("b", 1, READY)], {"settled", "strict", "any"}),
        ([], {"settled", "strict", "any"}),
    ],
)
def test_fault_33_when_a_server_that_starts_is_ready(
    slots: list[tuple[str, int, State]], ready: set[str]
) -> None:
    made = [slot(*one) for one in slots]
    settings: tuple[Readiness, ...] = ("settled", "strict", "any")
    assert {one for one in settings if has_started(one, made)} == ready


def test_what_is_being_copied_or_cannot_be_read_holds_readiness_back() -> None:
    made = [slot("a", 1, READY)]
    assert not has_started("settled", made, settling={"b"})
    assert has_started("any", made, settling={"a"})
    assert has_started("settled", made, wrong=True)
    assert not has_started("strict", made, wrong=True)


def test_what_failed_once_and_is_tried_again_holds_readiness_back_no_more() -> None:
    made = [slot("a", 1, READY), slot("b", 1, State.LOADING)]
    assert not has_started("settled", made)
    made[1].attempts = 1
    assert has_started("settled", made)
    assert has_started("any", made)
    assert not has_started("strict", made)


def has_started(readiness: Readiness, slots: list[Slot], **more: Any) -> bool:
    startup = Startup(WANTED)
    for model in {slot.model for slot in slots}:
        startup.note(model, [slot for slot in slots if slot.model == model])
    return startup.has_started(readiness, **more)


def slot(model: str, version: int, state: State) -> Slot:
    return Slot(version, SlotKey(model, version, "f", "c"), FolderOrigin(Path("m")), 0.0, state)
