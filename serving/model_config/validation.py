"""What becomes of requests that are not as their model's schema says, whichever file says so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from serving.errors import ConfigError

Mode = Literal["off", "log", "reject"]
# Beside a model's configuration, or in the folder of a version, which goes before it.
SCHEMA = "schema.pbtxt"
MODES: tuple[Mode, ...] = ("off", "log", "reject")


# That have a mode of their own.
MOST_FEATURES = 4096


@dataclass(frozen=True, slots=True)
class ValidationConfig:
    """``mode``: None as the setting says; ``features``: of those that have a mode of their own."""

    mode: Mode | None = None
    features: Mapping[str, Mode] = field(default_factory=lambda: MappingProxyType({}))


NO_VALIDATION = ValidationConfig()


def read_features(text: str) -> Mapping[str, Mode]:
    """Those of config.pbtxt's parameter: feature -> mode, as JSON. Raises ConfigError."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict) or len(given) > MOST_FEATURES:
        raise ConfigError(
            "parameter 'validation_features' is a JSON object of at most"
            f' {MOST_FEATURES:,} features and their modes, such as {{"age": "log"}}'
        )
    for feature, mode in given.items():
        if mode not in MODES:
            words = ", ".join(MODES)
            raise ConfigError(
                f"parameter 'validation_features': {feature!r:.80} is one of {words},"
                f" got {mode!r:.80}"
            )
    return MappingProxyType(given)


def features_json(features: Mapping[str, Mode]) -> str:
    """The reverse; "" of none."""
    return json.dumps(dict(features), separators=(",", ":")) if features else ""
