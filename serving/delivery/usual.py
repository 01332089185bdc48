"""How a model's rollouts go where no command says it: by its configuration, else by the settings.
Pure."""

from __future__ import annotations

from functools import lru_cache

from serving.model_config.canary import CanaryConfig
from serving.rollout.rules import Rules, rules_of
from serving.settings.canary import CanarySettings

# Models with a word of their own; those of others are made again.
_KEPT = 4096


def settings_of(settings: CanarySettings, config: CanaryConfig) -> CanarySettings:
    return _merged(settings, config) if config.given else settings


@lru_cache(_KEPT)
def _merged(settings: CanarySettings, config: CanaryConfig) -> CanarySettings:
    given = dict(config.given)
    if "drift" in given:
        given["drift"] = settings.drift.model_copy(update=dict(given["drift"]))  # type: ignore[call-overload] # pairs, as CanaryConfig has it
    return settings.model_copy(update=given)


@lru_cache(_KEPT)
def rules_for(settings: CanarySettings) -> Rules:
    return rules_of(settings)
