"""Every key of a model's gates, with its type, default and range."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from serving.model_config.gates import Average, Metric

_Name = Annotated[str, Field(min_length=1, max_length=1024)]
_Names = Annotated[list[_Name], Field(max_length=4096)]
_Number = Annotated[float, Field(strict=False, ge=-1e300, le=1e300)]
_Examples = Annotated[int, Field(ge=1, le=2**53)]
# Columns by which a set is cut.
_Slices = Annotated[list[_Name], Field(max_length=16)]


class Section(BaseModel):
    """As those of ``yaml_keys``."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class ThresholdYaml(Section):
    at_least: _Number | None = None
    at_most: _Number | None = None
    worse_by: Annotated[float, Field(strict=False, ge=0, le=1e300)] | None = None

    @model_validator(mode="after")
    def _any(self) -> ThresholdYaml:
        if not self.model_fields_set:
            raise ValueError("give at_least, at_most or worse_by")
        return self


def _value(value: Any) -> Any:
    """``accuracy: 0.9`` is short for what it has to reach at least."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return {"at_least": value} if is_number else value


Thresholds = dict[Metric, Annotated[ThresholdYaml, BeforeValidator(_value)]]


class EvaluationYaml(Section):
    data: _Name | None = None
    label: _Name | None = None
    inputs: dict[_Name, _Names] = {}
    output: _Name | None = None
    classes: _Names = []
    average: Average = "macro"
    min_examples: _Examples | None = None
    slices: _Slices = []
    min_slice_examples: _Examples = 20
    thresholds: Annotated[Thresholds, Field(min_length=1)]
    slice_thresholds: Annotated[Thresholds, Field(min_length=1)] | None = None


class GatesYaml(Section):
    safe_to_serve: bool | None = None
    p99_factor: Annotated[float, Field(strict=False, ge=0, le=1e9)] | None = None
    evaluation: EvaluationYaml | None = None


class GatesFile(Section):
    """The file of gates: those of a model named here go before the model's own."""

    models: dict[_Name, GatesYaml]
