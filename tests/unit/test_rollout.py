"""The route table as a function of the models' views."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving.models.state import State
from serving.models.views import ModelView, VersionView
from serving.registry.folder_origin import FolderOrigin
from serving.rollout.policy import default_version, plan


def version(number: int, state: State, reason: str = "") -> VersionView:
    queue: Any = f"queue {number}" if state in (State.READY, State.DRAINING) else None
    return VersionView(
        number=number,
        state=state,
        reason=reason,
        signature=None,
        config=None,
        max_rows=0,
        batching_words="",
        provider="",
        provider_nodes={},
        threads=0,
        instances=0,
        ready_since=None,
        stats=None,
        queue=queue,
        origin=FolderOrigin(Path("m") / str(number)),
        left_out=(),
        load_seconds=None,
    )


def view(*versions: VersionView, reason: str = "", default: int | None = None) -> ModelView:
    return ModelView("m", versions, default, reason)


def test_where_the_chosen_version_does_not_answer_the_highest_ready_one_is_the_default() -> None:
    shown = view(
        version(2, State.READY),
        version(10, State.READY),
        version(11, State.LOADING),
        version(12, State.FAILED),
        default=11,
    )
    assert default_version(shown) == 10
    assert plan(shown).default == 10


def test_a_version_held_back_is_reached_by_number_and_the_default_only_where_it_was_chosen() -> (
    None
):
    ready = version(1, State.READY)
    held = replace(version(2, State.READY), held_back=True)
    for shown, default in (
        (view(ready, held, default=1), 1),
        (view(version(1, State.LOADING), held, default=None), None),
        (view(version(1, State.FAILED), held, default=1), None),
        (view(version(1, State.FAILED), held, default=2), 2),
    ):
        made = plan(shown)
        assert made.default == default
        assert made.versions[2] == "queue 2"


def test_without_a_ready_version_there_is_no_default_but_a_reason() -> None:
    made = plan(view(version(1, State.LOADING), reason="version 1 is loading"))
    assert made.default is None
    assert made.reason == "version 1 is loading"
    assert plan(view()).reason == "no version of it is ready"


def test_with_a_default_there_is_no_reason_why_not() -> None:
    shown = view(version(1, State.READY), reason="its configuration is wrong", default=1)
    assert plan(shown).reason is None


@pytest.mark.parametrize(
    "state", [State.NEW, State.LOADING, State.WARMING, State.FAILED, State.DRAINING]
)
def test_a_known_version_that_is_not_ready_is_unavailable_and_never_unknown(state: State) -> None:
    """Fault table A: UNAVAILABLE, never NOT_FOUND."""
    made = plan(view(version(1, State.READY), version(2, state, "because")))
    assert dict(made.versions) == {1: "queue 1"}
    assert list(made.unavailable) == [2]
    assert made.unavailable[2].endswith(": because")


def test_a_gone_version_is_in_no_part_of_the_route() -> None:
    made = plan(view(version(1, State.READY), version(2, State.GONE)))
    assert dict(made.versions) == {1: "queue 1"}
    assert not made.unavailable


def test_a_ready_version_without_a_queue_never_gets_a_request() -> None:
    from dataclasses import replace

    broken = replace(version(1, State.READY), queue=None)
    made = plan(view(broken))
    assert not made.versions
    assert made.default is None
    assert list(made.unavailable) == [1]
