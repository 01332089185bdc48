"""The operator's settings: parsed once, frozen, handed on in parts.

Precedence: defaults < YAML file < environment (``SERVING_LIMITS__MAX_STREAMS``) < flags.
Keys are written with dots (``limits.max_streams``). Every key is described here, once;
``docs/settings.md`` and ``serving check --settings`` show the same words.
"""

from serving.settings.reading import ignored_environment, load_settings
from serving.settings.sections import (
    JsonLinesSettings,
    LogSettings,
    MlflowSettings,
    OtlpMetricsSettings,
    RequestLogSettings,
)
from serving.settings.tree import Settings, default_state_dir, describe

__all__ = [
    "JsonLinesSettings",
    "LogSettings",
    "MlflowSettings",
    "OtlpMetricsSettings",
    "RequestLogSettings",
    "Settings",
    "default_state_dir",
    "describe",
    "ignored_environment",
    "load_settings",
]
