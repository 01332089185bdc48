"""A model as a command finds it, and what is told of what isn't there. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serving.errors import ErrorCode
from serving.models.commands.command import Outcome
from serving.models.desired.candidates import ModelTarget
from serving.models.desired.on_disk import numbers
from serving.models.state import Slot, State


@dataclass(frozen=True, slots=True)
class Facts:
    """One model as it stands. ``found``: its directory is there, or its files were sent;
    ``overridden``: by a command before. ``error``: why nothing is known of its versions;
    ``disk``: those that are there, also where the model was taken before they came."""

    target: ModelTarget
    slots: Sequence[Slot] = ()
    default: int | None = None
    previous: int | None = None
    found: bool = True
    overridden: bool = False
    error: str = ""
    disk: frozenset[int] = frozenset()

    @property
    def model(self) -> str:
        return self.target.model

    def has(self, version: int) -> bool:
        candidate = self.target.of(version)
        return version in self.disk or (candidate is not None and not candidate.gone)

    def is_loaded(self, version: int) -> bool:
        return any(s.version == version and s.takes_traffic for s in self.slots)

    def gated(self, version: int) -> Slot | None:
        """The version's newest READY slot, where its gates keep it from traffic."""
        mine = [s for s in self.slots if s.version == version and s.state is State.READY]
        newest = max(mine, key=lambda slot: slot.id, default=None)
        return None if newest is None or newest.takes_traffic else newest

    def shut_by_gates(self, version: int) -> Outcome | None:
        """What is told of a version whose verdict does not bless it."""
        slot = self.gated(version)
        if slot is None or slot.is_judged or self.is_loaded(version):
            return None
        words = f"version {version} of model '{self.model}' is {slot.gate_words}"
        return Outcome(ErrorCode.FAILED_PRECONDITION, words, self.default)


def missing(facts: Facts, version: int | None) -> Outcome | None:
    """What is to be loaded has to be on disk."""
    if facts.target.unknown:
        words = facts.error or "its model directory cannot be read now"
        return Outcome(
            ErrorCode.UNAVAILABLE, f"failed to load '{facts.model}': {words}", facts.default
        )
    if not facts.found or (version is not None and not facts.has(version)):
        return not_found(facts, version)
    return None


def not_found(facts: Facts, version: int | None) -> Outcome:
    model, known = facts.model, sorted(facts.disk)
    if version is None or not facts.found:
        what = f"version {version} of model" if version is not None else "model"
        return Outcome(ErrorCode.NOT_FOUND, f"{what} '{model}' is in no model directory")
    there = f"; on disk: {numbers(known)}" if known else ""
    return Outcome(
        ErrorCode.NOT_FOUND, f"version {version} of model '{model}' is in no model directory{there}"
    )
