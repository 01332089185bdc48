"""The pins that a gateway keeps in its state directory, for who looks from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from serving.models.desired.kept import read_overrides, write_overrides
from serving.models.desired.overrides import Documents, Overrides
from serving.registry_state import find_registry
from serving.state_dir import StateDir


def kept_pins(folder: Path | None, roots: Sequence[Path]) -> dict[str, int]:
    """Model -> the version that it is pinned to where it is served from ``roots``, or from a
    directory that one of them lies in. Nothing is written there, and no lock taken."""
    base = StateDir(folder, is_ours=False)
    part = find_registry(base, roots) or find_registry(base, [root.parent for root in roots])
    if part is None:
        return {}
    kept = read_overrides(part, "poll")
    return {model: current.pin for model, current in kept.items() if current.pin is not None}


def pinned_state(pins: Mapping[str, int]) -> StateDir:
    """A state that holds nothing but these pins, in memory."""
    state = StateDir(None, is_ours=False)
    kept = {model: Overrides(pin=version) for model, version in pins.items()}
    documents = Documents(kept, "poll")
    documents.change_all()
    write_overrides(state, documents)
    return state
