"""The desired state: what is seen on disk and what commands say come in, asking changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serving.model_config import ModelConfig, VersionPolicy
from serving.models.commands.command import LoadModel, SetDefault, UnloadModel
from serving.models.desired.store import DesiredState
from serving.registry.snapshot import FoundModel, FoundVersion, KnownConfig
from serving.settings import Settings

FOUND = FoundModel(
    "m",
    Path("/r/m"),
    tuple(FoundVersion(n, Path(f"/r/m/{n}"), f"files {n}", True, "") for n in (1, 2)),
    "stamp",
    config=KnownConfig("stamp", "fingerprint", VersionPolicy(), ModelConfig()),
)


def state(mode: Any) -> DesiredState:
    return DesiredState(Settings(model_control=mode), None)


def inside(desired: DesiredState) -> dict[Any, Any]:
    parts = (desired, desired.signatures)
    held = {(i, name): value for i, part in enumerate(parts) for name, value in vars(part).items()}
    return {key: dict(value) if isinstance(value, dict) else value for key, value in held.items()}


@pytest.mark.parametrize("mode", ["poll", "both", "explicit"])
@pytest.mark.parametrize(
    "command", [None, LoadModel("m"), LoadModel("m", 1), UnloadModel("m", 2), SetDefault("m", 1)]
)
def test_asking_what_is_desired_changes_nothing(mode: Any, command: Any) -> None:
    desired = state(mode)
    desired.see("m", FOUND, unseen=False)
    if command is not None:
        desired.apply(command, None, desired.target("m", False, 1.0), ())
    before = inside(desired)
    first = desired.target("m", False, 1.0)
    assert desired.target("m", False, 1.0) == first
    assert [one.version for one in first.versions] == [1, 2]
    assert desired.target("never seen", True, 1.0).unknown
    assert not desired.target("never seen", False, 1.0).unknown
    desired.is_held_out(first)
    desired.due()
    assert inside(desired) == before


def test_what_was_not_seen_again_is_as_it_was_seen() -> None:
    desired = state("poll")
    desired.see("m", FOUND, unseen=False)
    desired.see("m", None, unseen=True)
    assert desired.target("m", False, 1.0).unknown
    desired.see("m", None, unseen=False)
    assert desired.target("m", True, 1.0).versions == ()
    desired.keep_only(())
    assert desired.target("m", True, 1.0).unknown, "nothing is known of it any more"
