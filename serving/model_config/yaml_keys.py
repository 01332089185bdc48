"""Every key of ``model.yaml``, with its type, default and range."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from serving.model_config.canary_form import CanaryYaml
from serving.model_config.gates_keys import GatesYaml
from serving.model_config.route import LARGEST_WEIGHT, MOST_ALIASES, MOST_SHADOWS, MOST_WEIGHTS
from serving.model_config.schema import (
    DEFAULT_MODEL_FILENAME,
    ExecutionMode,
    GraphLevel,
    Isolation,
    SignatureMethod,
)
from serving.model_config.validation import MOST_FEATURES, Mode

Datatype = Literal[
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "FP32",
    "FP64",
    "BYTES",
    "BF16",
]
Scalar = str | bool | int | float
Size = Annotated[int, Field(ge=1, le=2**53)]
SizeOrZero = Annotated[int, Field(ge=0, le=2**53)]
Threads = Annotated[int, Field(ge=0, le=1024)]
Dims = Annotated[list[Annotated[int, Field(ge=-1, le=2**53)]], Field(max_length=32)]

# Keys that are planned: whoever writes them learns that, and not that they mistyped.
NOT_YET = frozenset(
    {
        "cache",
        "ensemble",
        "ragged",
        "rate_limit",
        "response_cache",
        "rollback",
        "sequence",
        "trial",
    }
)
# Where what is written at the top belongs.
ELSEWHERE = {
    "aliases": "route.aliases",
    "automatic": "canary.automatic",
    "labels": "route.aliases",
    "pin": "route.pin",
    "rollout": "canary",
    "shadow": "route.shadows",
    "shadows": "route.shadows",
    "steps": "canary.steps",
    "sticky": "route.sticky",
    "weights": "route.weights",
}


class Section(BaseModel):
    """Unknown keys are errors, and values are taken as they are written."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class LevelYaml(Section):
    level: Size
    default_timeout_us: SizeOrZero = 0
    max_queue_requests: SizeOrZero = 0


class BatchingYaml(Section):
    enabled: bool | None = None
    delay_us: Annotated[int, Field(ge=0, le=60_000_000)] | None = None
    preferred_batch_sizes: list[Size] = []
    max_queue_requests: Size | None = None
    max_queue_rows: Size | None = None
    max_queue_bytes: Size | None = None
    priority_levels: SizeOrZero = 0
    default_priority: SizeOrZero = 0
    default_timeout_us: SizeOrZero = 0
    levels: list[LevelYaml] = []


class ProvidersYaml(Section):
    prefer: Annotated[list[str], Field(min_length=1)] | None = None
    require: list[str] = []
    options: dict[str, dict[str, Scalar]] = {}


class SessionYaml(Section):
    graph_optimization_level: GraphLevel | None = None
    intra_op_threads: Threads | None = None
    inter_op_threads: Threads | None = None
    execution_mode: ExecutionMode | None = None
    enable_mem_arena: bool = True
    enable_mem_pattern: bool = True
    entries: dict[str, Scalar] = {}


class WarmupInputYaml(Section):
    datatype: Datatype | None = None
    shape: Dims | None = None
    fill: Literal["zero", "random"] | None = None
    file: str | None = None


class WarmupYaml(Section):
    name: str | None = None
    count: Size = 1
    inputs: dict[str, WarmupInputYaml] = {}


class VersionPolicyYaml(Section):
    latest: Size | None = None
    all: Literal[True] | None = None
    specific: list[Size] | None = None

    @model_validator(mode="after")
    def _one(self) -> VersionPolicyYaml:
        if len(self.model_fields_set) > 1:
            raise ValueError("give one of latest, all, specific")
        return self


class TensorYaml(Section):
    name: str
    datatype: Datatype | None = None
    shape: Dims | None = None
    optional: bool | None = None


class OutputYaml(TensorYaml):
    label_filename: str | None = None


class ToleranceYaml(Section):
    rtol: Annotated[float, Field(ge=0)] = 1e-3
    atol: Annotated[float, Field(ge=0)] = 1e-4


class RequestLogYaml(Section):
    rate: Annotated[float, Field(ge=0, le=1)] | None = None
    redact: list[Annotated[str, Field(min_length=1)]] = []


def _off(value: Any) -> Any:
    """``off`` without quotes is YAML's word for False."""
    return "off" if value is False else value


_Mode = Annotated[Mode, BeforeValidator(_off)]


class ValidationYaml(Section):
    mode: _Mode | None = None
    features: Annotated[dict[str, _Mode], Field(max_length=MOST_FEATURES)] = {}


class SignatureYaml(Section):
    method: SignatureMethod
    inputs: Annotated[list[str], Field(min_length=1)] | None = None
    classes: str | None = None
    scores: str | None = None
    output: str | None = None


Version = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,17}$")]
Weight = Annotated[int, Field(ge=0, le=LARGEST_WEIGHT)]


def _share(value: Any) -> Any:
    """``10%`` is 0.1."""
    if isinstance(value, str) and value.endswith("%"):
        try:
            return float(value[:-1]) / 100
        except ValueError:
            return value
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


CopyShare = Annotated[float, Field(gt=0, le=1), BeforeValidator(_share)]


class RouteYaml(Section):
    weights: Annotated[dict[Version, Weight], Field(max_length=MOST_WEIGHTS)] | None = None
    sticky: str = ""
    aliases: Annotated[dict[str, Size], Field(max_length=MOST_ALIASES)] = {}
    pin: Size | None = None
    shadows: Annotated[dict[Version, CopyShare], Field(max_length=MOST_SHADOWS)] | None = None


def _switch(value: Any) -> Any:
    """``batching: false`` is short for its ``enabled`` key."""
    return {"enabled": value} if isinstance(value, bool) else value


def _all(value: Any) -> Any:
    return {"all": True} if value == "all" else value


class ModelYaml(Section):
    max_batch_size: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    batching: Annotated[BatchingYaml, BeforeValidator(_switch)] = BatchingYaml()
    instances: Size = 1
    providers: ProvidersYaml = ProvidersYaml()
    session: SessionYaml = SessionYaml()
    warmup: list[WarmupYaml] = []
    version_policy: Annotated[VersionPolicyYaml, BeforeValidator(_all)] = VersionPolicyYaml()
    inputs: list[TensorYaml] = []
    outputs: list[OutputYaml] = []
    tolerance: ToleranceYaml = ToleranceYaml()
    model_filename: str = DEFAULT_MODEL_FILENAME
    parameters: dict[str, Scalar] = {}
    isolation: Isolation | None = None
    run_timeout_s: Annotated[float, Field(ge=0, le=1e9)] | None = None
    memory_bytes: Size | None = None
    request_log: RequestLogYaml = RequestLogYaml()
    signatures: dict[str, SignatureYaml] = {}
    gates: GatesYaml = GatesYaml()
    canary: CanaryYaml = CanaryYaml()
    route: RouteYaml = RouteYaml()
    validation: ValidationYaml = ValidationYaml()
