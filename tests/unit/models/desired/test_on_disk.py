"""What is on disk and not loaded, and what a pin holds back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from serving.model_config.schema import VersionPolicy
from serving.models.desired.candidates import Candidate, ModelTarget
from serving.models.desired.on_disk import (
    held_by_pin,
    numbers,
    pinned_words,
    unloaded,
    waiting_words,
)
from serving.models.desired.pins import Pins
from serving.models.state import SlotKey
from serving.registry.folder_origin import FolderOrigin
from serving.rollout.route import NO_SPLIT, Split


def candidate(version: int, **more: object) -> Candidate:
    return Candidate(SlotKey("m", version, "files", "config"), FolderOrigin(Path("m")), **more)  # type: ignore[arg-type]  # fields by name


def target(*versions: Candidate, **more: object) -> ModelTarget:
    return ModelTarget("m", versions, **more)  # type: ignore[arg-type]  # fields by name


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({}, "the version policy is latest 1"),
        ({"policy": VersionPolicy("latest", latest=3)}, "the version policy is latest 3"),
        (
            {"policy": VersionPolicy("specific", specific=(4, 9))},
            "the version policy is specific 4, 9",
        ),
        ({"out": frozenset({1})}, "unloaded by command"),
        ({"wanted": False}, "nobody has asked for it"),
    ],
)
def test_what_is_not_loaded_says_what_holds_it_back(said: dict[str, object], reason: str) -> None:
    (found,) = unloaded(target(candidate(1), candidate(2), **said), {2})
    assert (found.number, found.reason) == (1, reason)


def test_what_is_not_whole_says_why_and_what_is_gone_is_not_listed() -> None:
    half, gone = candidate(1, whole=False, note="its directory is empty"), candidate(3, gone=True)
    (found,) = unloaded(target(half, candidate(2), gone), {2})
    assert found.reason == "its directory is empty"


def test_a_pin_holds_back_what_is_newer_while_it_answers() -> None:
    pinned = target(
        candidate(1),
        candidate(2),
        candidate(3),
        candidate(4, whole=False),
        pinned=2,
        out=frozenset({5}),
    )
    assert held_by_pin(pinned, 2) == (3,)
    assert held_by_pin(pinned, 3) == ()
    assert held_by_pin(target(candidate(1), candidate(2)), 1) == ()
    assert pinned_words("my m", (3,), 2) == (
        "version 3 is held back: the model is pinned to version 2"
        " (to let go of the pin: serving models default 'my m' auto)"
    )
    assert pinned_words("m", (3, 4), 2).startswith("versions 3, 4 are held back: ")
    assert pinned_words("m", (), 2) == ""
    assert numbers(range(1, 12)) == "4, 5, 6, 7, 8, 9, 10, 11 and 3 more"


def test_what_a_pin_holds_back_is_logged_once() -> None:
    pins = Pins()

    def logged(pinned: int | None, *held: int) -> list[tuple[str, int]]:
        with capture_logs() as lines:
            pins.tell("m", pinned, held)
        return [(line["event"], line["version"]) for line in lines]

    assert logged(2) == [("version_pinned", 2)]
    assert logged(2) == []
    assert logged(2, 3) == [("version_held_back", 3)]
    assert logged(2, 3) == []
    assert logged(2, 3, 4) == [("version_held_back", 4)]
    assert logged(None) == []
    assert logged(1, 2, 3) == [("version_held_back", 3)]
    pins.keep_only(())
    assert logged(1, 3) == [("version_held_back", 3)]


def test_weights_have_newer_versions_wait_and_say_what_lets_them_take_over() -> None:
    on_disk = [candidate(v) for v in (1, 2, 3, 5)] + [candidate(6, whole=False)]
    kept = target(*on_disk, split=Split({2: 100, 5: 0}))
    assert waiting_words(kept, 2) == (
        "version 3 waits: the weights give requests to others"
        " (to take over step by step: serving rollout start m 3;"
        " to let the newest version answer at once: serving rollout weights m --clear)"
    )
    assert waiting_words(kept, 3) == waiting_words(kept, None) == ""
    assert waiting_words(kept, 2, {3}) == ""
    assert waiting_words(replace(kept, pinned=2), 2) == ""
    assert waiting_words(replace(kept, held=frozenset({3})), 2) == ""
    assert waiting_words(replace(kept, out=frozenset({3})), 2) == ""
    assert waiting_words(replace(kept, split=NO_SPLIT), 2) == ""
    fixed = replace(kept, fixed=frozenset({"weights"}))
    assert waiting_words(fixed, 2) == "version 3 waits: model.yaml says the weights"
