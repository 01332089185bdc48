"""A served version's configuration as clients of Triton read it: completed, normalised."""

from __future__ import annotations

from typing import Any

from serving.model_config.reshape import described_shape
from serving.model_config.schema import ModelConfig, TensorConfig, VersionPolicy
from serving.model_config.signatures import to_json
from serving.model_config.triton_read import GRAPH_LEVELS
from serving.model_config.triton_rules import BACKEND, PLATFORM
from serving.model_config.validation import features_json
from serving.signature import DATATYPES, Signature, Tensor
from serving.wire import messages

_GPU_PROVIDERS = ("CUDA", "Tensorrt", "ROCM", "MIGraphX")


def triton_config(
    name: str,
    signature: Signature,
    config: ModelConfig,
    *,
    max_rows: int,
    provider: str = "CPUExecutionProvider",
) -> Any:
    """The ``ModelConfig`` message of a version served with at most ``max_rows`` rows a run.

    ``max_rows`` 0 is unbatched: then shapes are whole and there is no scheduler.
    """
    message = messages.ModelConfig.FromString(config.triton)
    message.name = name
    message.platform = PLATFORM
    message.backend = BACKEND
    message.default_model_filename = config.model_filename
    message.max_batch_size = max_rows
    _set_version_policy(message.version_policy, config.version_policy)
    _set_tensors(message.input, signature.inputs, config.inputs, max_rows)
    _set_tensors(message.output, signature.outputs, config.outputs, max_rows)
    _set_scheduler(message, config, max_rows)
    _set_instances(message.instance_group, name, config.instances, provider)
    _set_session(message, config)
    return message


def _set_version_policy(message: Any, policy: VersionPolicy) -> None:
    if policy.kind == "all":
        message.all.SetInParent()
    elif policy.kind == "specific":
        del message.specific.versions[:]
        message.specific.versions.extend(policy.specific)
    else:
        message.latest.num_versions = policy.latest


def _set_tensors(
    target: Any,
    tensors: tuple[Tensor, ...],
    written: tuple[TensorConfig, ...],
    max_rows: int,
) -> None:
    """The graph's own names, types and shapes; what else was written of them stays."""
    kept = {entry.name: entry for entry in target}
    labels = {entry.name: entry.labels.file for entry in written if entry.labels is not None}
    types = messages.enum("DataType")
    optional = {entry.name: entry.optional for entry in written}
    entries = []
    for tensor in tensors:
        entry = type(target.add())()
        if tensor.name in kept:
            entry.CopyFrom(kept[tensor.name])
        entry.name = tensor.name
        entry.data_type = types[DATATYPES[tensor.datatype][2]]
        _set_dims(entry, tensor, max_rows)
        if tensor.name in labels:
            entry.label_filename = labels[tensor.name]
        if "optional" in entry.DESCRIPTOR.fields_by_name:
            entry.optional = bool(tensor.optional and optional.get(tensor.name) is not False)
        entries.append(entry)
    del target[:]
    target.extend(entries)


def _set_dims(entry: Any, tensor: Tensor, max_rows: int) -> None:
    """As clients see it, without the batch axis where there is one; and how the model does.
    A scalar is written as [1]."""
    entry.ClearField("reshape")
    first = 1 if max_rows else 0
    described = described_shape(tensor, max_rows)
    del entry.dims[:]
    entry.dims.extend(described[first:] or (1,))
    if described != tensor.shape:
        entry.reshape.SetInParent()
        entry.reshape.shape.extend(tensor.shape[first:])


def _set_scheduler(message: Any, config: ModelConfig, max_rows: int) -> None:
    if not max_rows:
        message.ClearField("dynamic_batching")
        return
    batching = message.dynamic_batching
    preferred = [size for size in config.preferred_batch_sizes if size <= max_rows]
    del batching.preferred_batch_size[:]
    batching.preferred_batch_size.extend(preferred or [max_rows])
    batching.max_queue_delay_microseconds = config.delay_us or 0
    batching.priority_levels = config.priority_levels
    batching.default_priority_level = config.default_priority
    if config.default_timeout_us or config.max_queue_requests:
        policy = batching.default_queue_policy
        policy.default_timeout_microseconds = config.default_timeout_us
        policy.max_queue_size = min(config.max_queue_requests or 0, 2**32 - 1)
    for own in config.level_policies:
        policy = batching.priority_queue_policy[own.level]
        policy.default_timeout_microseconds = own.default_timeout_us
        policy.max_queue_size = min(own.max_queue_requests, 2**32 - 1)


def _set_instances(groups: Any, name: str, count: int, provider: str) -> None:
    """KIND_AUTO says where the version really landed; written groups keep their split."""
    kinds = messages.enum("ModelInstanceGroup.Kind")
    landed = kinds["KIND_GPU" if provider.startswith(_GPU_PROVIDERS) else "KIND_CPU"]
    if not groups:
        groups.add(name=name, count=count)
    for number, group in enumerate(groups):
        group.name = group.name or (name if len(groups) == 1 else f"{name}_{number}")
        group.count = group.count or 1
        if group.kind == kinds["KIND_AUTO"]:
            group.kind = landed


def _set_session(message: Any, config: ModelConfig) -> None:
    """What model.yaml said of the session, under the keys that config.pbtxt has for it."""
    if config.source != "model.yaml":
        return
    session = config.session
    levels = {level: number for number, level in GRAPH_LEVELS.items()}
    number = levels.get(session.graph_optimization_level or "all", 0)
    if number:
        message.optimization.graph.level = number
    given: dict[str, str] = dict(config.parameters)
    for key, value in (
        ("intra_op_thread_count", session.intra_op_threads),
        ("inter_op_thread_count", session.inter_op_threads),
        ("isolation", config.isolation),
        ("run_timeout_s", config.run_timeout_s),
        ("memory_bytes", config.memory_bytes),
        ("request_log_rate", config.request_log.rate),
        ("request_log_redact", ",".join(config.request_log.redact) or None),
        ("signatures", to_json(config.signatures) or None),
        ("validation_mode", config.validation.mode),
        ("validation_features", features_json(config.validation.features) or None),
    ):
        if value is not None:
            given[key] = (
                f"{value:.9f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
            )
    if session.execution_mode == "parallel":
        given["execution_mode"] = "1"
    for key, text in given.items():
        message.parameters[key].string_value = text


def message_to_json_dict(message: Any) -> dict[str, Any]:
    """The message as JSON shows it: snake_case names, every plain field even at its
    default, sub-messages only when set, enums by name, 64-bit integers as numbers."""
    result: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        if field.has_presence and not message.HasField(field.name):
            continue
        result[field.name] = _field_to_json(field, getattr(message, field.name))
    return result


def _field_to_json(field: Any, value: Any) -> Any:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        inner = field.message_type.fields_by_name["value"]
        return {_key_to_json(key): _value_to_json(inner, value[key]) for key in sorted(value)}
    # A repeated field is a container, whatever this protobuf release calls it.
    if hasattr(value, "extend"):
        return [_value_to_json(field, item) for item in value]
    return _value_to_json(field, value)


def _key_to_json(key: object) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _value_to_json(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return message_to_json_dict(value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known else int(value)
    return value
