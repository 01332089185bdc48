"""The keys of a model's rollouts, as YAML and JSON write them: those of the section `canary` of
the settings, but for the window, which is one for all models."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from serving.errors import ConfigError
from serving.model_config.canary import CanaryConfig
from serving.model_config.route import why_no_weights
from serving.step_shares import MOST_STEPS, why_no_steps

_LARGEST = 2**53
_Count = Annotated[int, Field(ge=1, le=_LARGEST)]
_Seconds = Annotated[float, Field(strict=False, ge=0, le=1e9)]
_Factor = Annotated[float, Field(strict=False, gt=1, le=1000)]
_Share = Annotated[float, Field(strict=False, ge=0, le=1)]


def _checked_steps(steps: list[int]) -> list[int]:
    why = why_no_steps(tuple(steps))
    if why is not None:
        raise ValueError(why)
    return steps


def _checked_sticky(name: str) -> str:
    if why := why_no_weights({}, name):
        raise ValueError(why)
    return name.lower()


class _Keys(BaseModel):
    """As those of ``yaml_keys``; None: as the settings say."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class DriftYaml(_Keys):
    classes: _Share | None = None
    scores: _Share | None = None
    inputs: _Share | None = None
    outputs: _Share | None = None
    min_answers: _Count | None = None


class CanaryYaml(_Keys):
    automatic: bool | None = None
    newer: Literal["waits", "replaces"] | None = None
    steps: (
        Annotated[list[int], Field(max_length=MOST_STEPS), AfterValidator(_checked_steps)] | None
    ) = None
    every_s: _Seconds | None = None
    sticky: Annotated[str, AfterValidator(_checked_sticky)] | None = None
    min_requests: _Count | None = None
    confidence: Annotated[float, Field(ge=0.5, lt=1)] | None = None
    errors_factor: _Factor | None = None
    errors_tolerated: Annotated[float, Field(gt=0, lt=1)] | None = None
    errors_floor: _Count | None = None
    p50_factor: _Factor | None = None
    p99_factor: _Factor | None = None
    latency_slack_s: _Seconds | None = None
    p50_requests: _Count | None = None
    p99_requests: _Count | None = None
    failing_requests: _Count | None = None
    nonfinite: bool | None = None
    drift: DriftYaml = DriftYaml()


def to_canary(keys: CanaryYaml) -> CanaryConfig:
    return CanaryConfig(_given(keys))


def read_json(text: str) -> CanaryConfig:
    """That of config.pbtxt's parameter: the keys of model.yaml, as JSON. Raises ConfigError."""
    try:
        return to_canary(CanaryYaml.model_validate_json(text))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        said = f"{where}: {first['msg']}" if where else first["msg"]
        raise ConfigError(f"parameter 'canary': {said}") from None


def _given(keys: BaseModel) -> tuple[tuple[str, object], ...]:
    given: list[tuple[str, object]] = []
    for name in type(keys).model_fields:
        value = getattr(keys, name)
        if isinstance(value, BaseModel):
            value = _given(value) or None
        if value is not None:
            given.append((name, tuple(value) if isinstance(value, list) else value))
    return tuple(given)
