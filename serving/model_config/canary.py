"""What a model's configuration says of its rollouts. Data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CanaryConfig:
    """``given``: (key, value) of the section `canary` of the settings, in whose place the value
    stands for this model; a section's value is such pairs again. It can be hashed."""

    given: tuple[tuple[str, object], ...] = ()


NO_CANARY = CanaryConfig()
