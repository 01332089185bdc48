"""What a model's configuration says of its rollouts, in the place of what the settings say."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from serving.delivery.usual import rules_for, settings_of
from serving.model_config.canary import NO_CANARY
from serving.model_config.canary_form import CanaryYaml, to_canary
from serving.settings.canary import CanarySettings

# One for all models.
_WINDOW = {"window_s"}
_NUMBERS = (-1, 0, 0.0005, 0.5, 1, 1.5, 2, 1000, 1001, 10**9, 2 * 10**9, 2**53, 2**53 + 1)


def _takes(form: type[BaseModel], given: dict[str, Any]) -> bool:
    try:
        form.model_validate(given)
    except ValidationError:
        return False
    return True


def test_a_model_may_say_all_that_the_settings_say() -> None:
    assert set(CanaryYaml.model_fields) == set(CanarySettings.model_fields) - _WINDOW
    drift = CanarySettings.model_fields["drift"].annotation
    assert isinstance(drift, type)
    assert issubclass(drift, BaseModel)
    given = CanaryYaml.model_fields["drift"].annotation
    assert isinstance(given, type)
    assert issubclass(given, BaseModel)
    assert set(given.model_fields) == set(drift.model_fields)


_PLACES = [
    *((name,) for name in CanaryYaml.model_fields if name != "drift"),
    *(("drift", name) for name in ("classes", "scores", "inputs", "outputs", "min_answers")),
]


@pytest.mark.parametrize("place", _PLACES, ids=".".join)
def test_what_it_may_say_is_what_the_settings_take(place: tuple[str, ...]) -> None:
    texts = ("waits", "replaces", "never", "x-user", "a b", "x" * 255, "x" * 256, "")
    lists = ([100], [1, 100], [100, 1], [1, 50], [0, 100], [], [1] * 100, [*range(1, 101)])
    # A switch takes no numbers, nor a text lists: those two are read alike by nobody.
    kinds = {"steps": lists, "newer": texts, "sticky": texts, "automatic": (True, False)}
    kinds["nonfinite"] = (True, False)
    for value in kinds.get(place[-1], _NUMBERS):
        given: Any = value
        for name in reversed(place):
            given = {name: given}
        assert _takes(CanaryYaml, given) is _takes(CanarySettings, given), value


def test_what_is_not_said_is_as_the_settings_say() -> None:
    settings = CanarySettings(errors_factor=3.0, drift={"classes": 0.2, "scores": 0.3})  # type: ignore[arg-type] # as a file has it
    assert settings_of(settings, NO_CANARY) is settings
    keys = CanaryYaml.model_validate({"steps": [10, 100], "drift": {"scores": 0.1}})
    merged = settings_of(settings, to_canary(keys))
    assert (merged.steps, merged.errors_factor) == ((10, 100), 3.0)
    rules = rules_for(merged)
    assert (rules.drift_classes, rules.drift_scores) == (0.2, 0.1)
    assert settings_of(settings, to_canary(keys)) is merged
