"""From a checked ``ModelConfig`` message to our own configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from serving.errors import ConfigError
from serving.model_config import rules, triton_rules
from serving.model_config.reshape import reshaped
from serving.model_config.schema import (
    DEFAULT_MODEL_FILENAME,
    GraphLevel,
    InstanceKind,
    LabelFile,
    LevelPolicy,
    ModelConfig,
    TensorConfig,
    VersionPolicy,
    WarmupInput,
    WarmupSample,
)
from serving.model_config.triton_runtime import (
    Placement,
    canary,
    gates,
    ignored_parameters,
    limits,
    placement,
    request_log,
    session,
    signatures,
    validation,
)
from serving.model_config.words import plain_file_name
from serving.signature import DATATYPES
from serving.wire import messages

GRAPH_LEVELS: Mapping[int, GraphLevel] = {-1: "basic", 0: "all", 1: "extended", 2: "disabled"}


def to_model_config(message: Any) -> ModelConfig:
    """Raises ConfigError for a value that no rule of ``triton_rules`` covers."""
    batching = message.dynamic_batching
    queue = batching.default_queue_policy
    kind, instances = _instances(message.instance_group)
    placed: Placement = placement(message, kind)
    largest = _max_batch_size(message)
    bounds = limits(message)
    has_batching = message.HasField("dynamic_batching")
    config = ModelConfig(
        source="config.pbtxt",
        max_batch_size=largest,
        # Beside max_batch_size 0 it only says how the queue works.
        batching=True if has_batching and largest != 0 else None,
        preferred_batch_sizes=tuple(batching.preferred_batch_size),
        delay_us=batching.max_queue_delay_microseconds if has_batching else None,
        max_queue_requests=queue.max_queue_size or None,
        priority_levels=batching.priority_levels,
        default_priority=batching.default_priority_level,
        default_timeout_us=queue.default_timeout_microseconds,
        level_policies=_level_policies(batching.priority_queue_policy),
        instances=instances,
        providers_prefer=placed.prefer,
        providers_require=placed.require,
        provider_options=placed.options,
        session=session(message, _graph_level(message)),
        warmup=_warmup(message),
        version_policy=_version_policy(message.version_policy),
        inputs=tuple(
            _tensor(t, message.max_batch_size, optional=t.optional) for t in message.input
        ),
        outputs=tuple(_output(t, message.max_batch_size) for t in message.output),
        model_filename=message.default_model_filename or DEFAULT_MODEL_FILENAME,
        parameters=MappingProxyType({k: v.string_value for k, v in message.parameters.items()}),
        isolation=bounds.isolation,
        run_timeout_s=bounds.run_timeout_s,
        memory_bytes=bounds.memory_bytes,
        request_log=request_log(message),
        signatures=signatures(message),
        canary=canary(message),
        gates=gates(message),
        validation=validation(message),
        triton=message.SerializeToString(deterministic=True),
        ignored=tuple(triton_rules.ignored(message) + ignored_parameters(message)),
    )
    rules.check(config)
    return config


def _max_batch_size(message: Any) -> int | None:
    """Beside a whole signature silence is 0, as no side of it is left to complete."""
    said = message.HasField("max_batch_size") or (message.input and message.output)
    return int(message.max_batch_size) if said else None


def _graph_level(message: Any) -> GraphLevel | None:
    if not message.optimization.HasField("graph"):
        return None
    level = message.optimization.graph.level
    if level not in GRAPH_LEVELS:
        raise ConfigError(
            f"optimization.graph.level {level} is unknown: -1 basic, 0 all, 1 extended, 2 disabled"
        )
    return GRAPH_LEVELS[level]


def _instances(groups: Any) -> tuple[InstanceKind, int]:
    kinds = messages.enum("ModelInstanceGroup.Kind")
    names: dict[int, InstanceKind] = {
        kinds["KIND_AUTO"]: "auto",
        kinds["KIND_GPU"]: "gpu",
        kinds["KIND_CPU"]: "cpu",
    }
    found = {group.kind for group in groups}
    if found - names.keys():
        raise ConfigError("instance_group kind KIND_MODEL is not supported")
    if len(found) > 1:
        raise ConfigError("instance groups of different kinds are not supported yet")
    kind = names[found.pop()] if found else "auto"
    return kind, sum(group.count or 1 for group in groups) or 1


def _level_policies(policies: Any) -> tuple[LevelPolicy, ...]:
    return tuple(
        LevelPolicy(
            level,
            policies[level].default_timeout_microseconds,
            policies[level].max_queue_size,
        )
        for level in sorted(policies)
    )


def _version_policy(policy: Any) -> VersionPolicy:
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return VersionPolicy(kind="all")
    if choice == "specific":
        return VersionPolicy(kind="specific", specific=tuple(sorted(set(policy.specific.versions))))
    return VersionPolicy(kind="latest", latest=policy.latest.num_versions or 1)


def _own_dims(tensor: Any) -> tuple[int, ...]:
    """The model's dimensions of what clients see as ``dims``."""
    return tuple(tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims)


def _tensor(tensor: Any, max_batch_size: int, optional: bool | None = None) -> TensorConfig:
    rows = (-1,) if max_batch_size > 0 else ()
    shape, described = (*rows, *_own_dims(tensor)), (*rows, *tensor.dims)
    return TensorConfig(
        tensor.name,
        datatype(tensor.data_type),
        shape,
        # proto3 cannot tell `optional: false` from silence.
        optional or None,
        None if described == shape else described,
    )


def _output(tensor: Any, max_batch_size: int) -> TensorConfig:
    read = _tensor(tensor, max_batch_size)
    if not tensor.label_filename:
        return read
    return replace(read, labels=LabelFile(plain_file_name(tensor.label_filename, "label_filename")))


def datatype(number: int) -> str | None:
    """The protocol's name of a ``DataType`` number; ``None`` for TYPE_INVALID."""
    types = messages.enum("DataType")
    return next((name for name, row in DATATYPES.items() if types[row[2]] == number), None)


def _warmup(message: Any) -> tuple[WarmupSample, ...]:
    samples = []
    known = {tensor.name: tensor for tensor in message.input}
    for number, sample in enumerate(message.model_warmup):
        # A sample of batch size 0 is switched off.
        if sample.batch_size == 0:
            continue
        name = sample.name or f"warmup_{number}"
        batched = message.max_batch_size > 0
        if sample.batch_size > max(message.max_batch_size, 1):
            raise ConfigError(
                f"warm-up {name!r}: batch_size {sample.batch_size} is more than "
                f"max_batch_size {message.max_batch_size}"
            )
        rows = sample.batch_size if batched else 0
        inputs = tuple(
            _warmup_input(key, sample.inputs[key], rows, known.get(key))
            for key in sorted(sample.inputs)
        )
        samples.append(WarmupSample(name, inputs, sample.count or 1))
    return tuple(samples)


def _warmup_input(name: str, tensor: Any, rows: int, known: Any | None) -> WarmupInput:
    """``known``: the input as it is listed, if it is."""
    choice = tensor.WhichOneof("input_data_type")
    dims = tuple(tensor.dims)
    if known is not None and known.HasField("reshape"):
        own = reshaped(dims, tuple(known.dims), _own_dims(known))
        dims = dims if own is None else own
    shape = (rows, *dims) if rows else dims
    kind = datatype(tensor.data_type)
    if choice == "input_data_file":
        file = plain_file_name(tensor.input_data_file, "input_data_file")
        return WarmupInput(name, kind, shape, fill="file", file=file, repeat=max(rows, 1))
    # There are no random strings.
    random = choice == "random_data" and kind != "BYTES"
    return WarmupInput(name, kind, shape, fill="random" if random else "zero")
