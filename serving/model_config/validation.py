"""What becomes of requests that are not as their model's schema says, whichever file says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

Mode = Literal["off", "log", "reject"]
# Beside a model's configuration, or in the folder of a version, which goes before it.
SCHEMA = "schema.pbtxt"
MODES: tuple[Mode, ...] = ("off", "log", "reject")


@dataclass(frozen=True, slots=True)
class ValidationConfig:
    """``mode``: None as the setting says; ``features``: of those that have a mode of their own."""

    mode: Mode | None = None
    features: Mapping[str, Mode] = field(default_factory=lambda: MappingProxyType({}))


NO_VALIDATION = ValidationConfig()
