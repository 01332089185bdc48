"""What a model's configuration says, whichever form it was written in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from serving.model_config.canary import NO_CANARY, CanaryConfig
from serving.model_config.gates import NO_GATES, GatesConfig
from serving.model_config.route import NO_ROUTE, RouteConfig
from serving.model_config.validation import NO_VALIDATION, ValidationConfig

EMPTY: Mapping[str, str] = MappingProxyType({})

GraphLevel = Literal["all", "layout", "extended", "basic", "disabled"]
ExecutionMode = Literal["sequential", "parallel"]
InstanceKind = Literal["auto", "cpu", "gpu"]
Fill = Literal["zero", "random", "file"]
Isolation = Literal["process", "none"]
SignatureMethod = Literal["classify", "regress"]
Source = Literal["none", "config.pbtxt", "model.yaml"]

DEFAULT_MODEL_FILENAME = "model.onnx"
# Parameters of ours in config.pbtxt that change without a load, as the keys of model.yaml do.
IN_PLACE = ("request_log_rate", "request_log_redact", "canary", "gates")


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """Which versions on disk are desired: the newest ``latest``, ``all``, or ``specific`` ones."""

    kind: Literal["latest", "all", "specific"] = "latest"
    latest: int = 1
    specific: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelFile:
    """A plain file name beside the configuration; ``digest``: of what it held when that was
    read, "" where it was not looked at."""

    file: str
    digest: str = ""


@dataclass(frozen=True, slots=True)
class TensorConfig:
    """What the configuration says of one input or output; ``None`` is: not said.

    ``shape`` is the whole shape, batch axis included, -1 where any size is fine. ``described``:
    the one in which clients see it, where it is another (``reshape`` in config.pbtxt); it holds
    as many elements, and as many -1. ``labels``: what an output's elements are called.
    """

    name: str
    datatype: str | None = None
    shape: tuple[int, ...] | None = None
    optional: bool | None = None
    described: tuple[int, ...] | None = None
    labels: LabelFile | None = None


@dataclass(frozen=True, slots=True)
class WarmupInput:
    """One input of a warm-up request.

    ``shape`` is the whole shape of the request (``None``: the signature's, made
    concrete). ``file`` is a plain file name in the model's ``warmup/`` folder; it
    holds the bytes (BYTES length-prefixed) of one row, used ``repeat`` times
    along axis 0, so ``shape[0] == repeat`` wherever ``repeat > 1``.
    """

    name: str
    datatype: str | None = None
    shape: tuple[int, ...] | None = None
    fill: Fill = "zero"
    file: str = ""
    repeat: int = 1


@dataclass(frozen=True, slots=True)
class WarmupSample:
    """A request to run ``count`` times on every instance before READY."""

    name: str
    inputs: tuple[WarmupInput, ...]
    count: int = 1


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """Options of the onnxruntime session.

    ``intra_op_threads`` and ``inter_op_threads``: ``None`` and 0 are the settings' numbers.
    Where all models share one pool, other numbers than the pool's cannot be had.
    ``graph_optimization_level`` and ``execution_mode``: ``None`` where nothing is said, which is
    "all" and "sequential" unless the version's own files ask for others.
    """

    graph_optimization_level: GraphLevel | None = None
    intra_op_threads: int | None = None
    inter_op_threads: int | None = None
    execution_mode: ExecutionMode | None = None
    enable_mem_arena: bool = True
    enable_mem_pattern: bool = True
    entries: Mapping[str, str] = field(default_factory=lambda: EMPTY)


@dataclass(frozen=True, slots=True)
class LevelPolicy:
    """What is different for the requests of one priority ``level``, from 1: the time-out of
    those that bring none, and how many may wait. 0: none, and only the model's bound."""

    level: int
    default_timeout_us: int = 0
    max_queue_requests: int = 0


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a batched answer may be from a single one in the proof of batching."""

    rtol: float = 1e-3
    atol: float = 1e-4


@dataclass(frozen=True, slots=True)
class RequestLogConfig:
    """What the request log keeps of the model: ``rate``, a share of its requests, ``None`` the
    setting; ``redact``: patterns (``*`` for a part) of tensors that go without their values,
    beside the setting's."""

    rate: float | None = None
    redact: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SignatureConfig:
    """A signature for examples (TensorFlow Serving's ``Classify`` and ``Regress``).

    ``inputs``: those that features fill, () for all; ``classes`` and ``scores``: outputs of a
    classification, one of them at least; ``output``: of a regression.
    """

    name: str
    method: SignatureMethod
    inputs: tuple[str, ...] = ()
    classes: str | None = None
    scores: str | None = None
    output: str | None = None


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The parsed configuration of one model; without a file all is default.

    ``max_batch_size``: ``None`` is the server's default, 0 unbatched.
    ``batching``: ``None`` if proven right, ``True`` wanted, ``False`` never.
    ``isolation``: where it runs; ``None`` as the settings say. ``run_timeout_s``: seconds
    that one run may take, 0 without end; ``memory_bytes``: what a loaded version may take;
    ``None`` is the setting. Other times are in microseconds. Provider names are onnxruntime's.
    """

    source: Source = "none"
    max_batch_size: int | None = None
    batching: bool | None = None
    preferred_batch_sizes: tuple[int, ...] = ()
    delay_us: int | None = None
    max_queue_requests: int | None = None
    max_queue_rows: int | None = None
    max_queue_bytes: int | None = None
    priority_levels: int = 0
    default_priority: int = 0
    default_timeout_us: int = 0
    level_policies: tuple[LevelPolicy, ...] = ()
    instances: int = 1
    providers_prefer: tuple[str, ...] | None = None
    providers_require: tuple[str, ...] = ()
    provider_options: Mapping[str, Mapping[str, str]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    session: SessionOptions = SessionOptions()
    warmup: tuple[WarmupSample, ...] = ()
    version_policy: VersionPolicy = VersionPolicy()
    inputs: tuple[TensorConfig, ...] = ()
    outputs: tuple[TensorConfig, ...] = ()
    tolerance: Tolerance = Tolerance()
    model_filename: str = DEFAULT_MODEL_FILENAME
    parameters: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    isolation: Isolation | None = None
    run_timeout_s: float | None = None
    memory_bytes: int | None = None
    request_log: RequestLogConfig = RequestLogConfig()
    signatures: tuple[SignatureConfig, ...] = ()
    gates: GatesConfig = NO_GATES
    canary: CanaryConfig = NO_CANARY
    route: RouteConfig = NO_ROUTE
    validation: ValidationConfig = NO_VALIDATION
    # The serialized ModelConfig message where config.pbtxt was the source.
    triton: bytes = b""
    # Keys that were understood and have no effect here.
    ignored: tuple[str, ...] = ()
