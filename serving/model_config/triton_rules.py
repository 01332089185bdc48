"""What a ``ModelConfig`` message may say: refusals first, then what has no effect.

Every refusal is made at load, with its reason; nothing that would change answers
is passed over in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from serving.errors import ConfigError
from serving.model_config.reshape import agree
from serving.model_config.words import plain_file_name
from serving.wire import messages

PLATFORM = "onnxruntime_onnx"
BACKEND = "onnxruntime"


def check(message: Any, name: str) -> None:
    """Raise ConfigError for the first thing in ``message`` that model ``name`` cannot have."""
    _check_identity(message, name)
    _refuse_unbuilt(message)
    for tensor in message.input:
        _check_input(tensor, message.max_batch_size)
    for tensor in message.output:
        _check_tensor("output", tensor, message.max_batch_size)
    if message.HasField("dynamic_batching"):
        _check_batching(message.dynamic_batching)
    for group in message.instance_group:
        if group.count < 0:
            raise ConfigError(f"instance_group count must not be negative, got {group.count}")


def _check_identity(message: Any, name: str) -> None:
    if message.name and message.name != name:
        raise ConfigError(f"name {message.name!r} differs from the directory's name {name!r}")
    if message.platform not in ("", PLATFORM):
        raise ConfigError(
            f"unexpected platform type {message.platform!r}, only {PLATFORM!r} is served"
        )
    if message.backend not in ("", BACKEND):
        raise ConfigError(f"unexpected backend {message.backend!r}, only {BACKEND!r} is served")
    if message.runtime:
        raise ConfigError("runtime is not supported: the server's own onnxruntime runs every model")
    if message.default_model_filename:
        plain_file_name(message.default_model_filename, "default_model_filename")
    if message.max_batch_size < 0:
        raise ConfigError(f"max_batch_size must not be negative, got {message.max_batch_size}")


def _refuse_unbuilt(message: Any) -> None:
    for reason in _unbuilt(message):
        raise ConfigError(reason)


def _unbuilt(message: Any) -> Iterator[str]:
    if message.HasField("sequence_batching"):
        yield "sequence_batching is not supported"
    if message.HasField("ensemble_scheduling"):
        yield "ensemble_scheduling is not supported"
    if message.model_transaction_policy.decoupled:
        yield "decoupled models (model_transaction_policy) are not supported"
    if message.HasField("model_operations"):
        yield "model_operations is refused: a model's configuration may not load native code"
    if message.HasField("model_repository_agents"):
        yield "model_repository_agents is refused: a model's configuration may not load native code"
    if message.response_cache.enable:
        yield "response_cache is not supported"
    if message.batch_input:
        yield "batch_input is not supported yet"
    if message.batch_output:
        yield "batch_output is not supported yet"
    if message.cc_model_filenames:
        yield "cc_model_filenames is not supported yet"


def _check_input(tensor: Any, max_batch_size: int) -> None:
    _check_tensor("input", tensor, max_batch_size)
    if tensor.allow_ragged_batch:
        raise ConfigError(f"input {tensor.name!r}: allow_ragged_batch is not supported yet")


def _check_tensor(what: str, tensor: Any, max_batch_size: int) -> None:
    where = f"{what} {tensor.name!r}"
    if not tensor.name:
        raise ConfigError(f"an {what} has no name")
    if tensor.data_type == 0:
        raise ConfigError(f"{where}: data_type is missing")
    if tensor.is_shape_tensor or tensor.is_non_linear_format_io:
        raise ConfigError(f"{where}: shape tensors and non-linear formats are not supported")
    if not tensor.dims:
        raise ConfigError(f"{where}: dims is missing")
    _check_sizes(where, tensor.dims)
    if tensor.HasField("reshape"):
        _check_reshape(where, tensor, max_batch_size)


def _check_sizes(where: str, sizes: Iterable[int]) -> None:
    for size in sizes:
        if size == 0 or size < -1:
            raise ConfigError(f"{where}: a dimension is positive, or -1 for any size, got {size}")


def _check_reshape(where: str, tensor: Any, max_batch_size: int) -> None:
    dims, shape = list(tensor.dims), list(tensor.reshape.shape)
    if not shape and max_batch_size == 0:
        raise ConfigError(f"{where}: an empty reshape needs max_batch_size above 0")
    _check_sizes(where, shape)
    if not agree(dims, shape):
        raise ConfigError(
            f"{where}: reshape {shape} does not hold the elements of dims {dims}: each needs as "
            "many dimensions of -1, and as many elements before, between and behind them"
        )


def _check_batching(batching: Any) -> None:
    levels = batching.priority_levels
    for level in batching.priority_queue_policy:
        if not 1 <= level <= levels:
            raise ConfigError(f"priority_queue_policy names level {level} of {levels}")
    if batching.preserve_ordering and levels > 1:
        raise ConfigError("preserve_ordering cannot hold with more than one priority level")
    for policy in _queue_policies(batching):
        _check_queue_policy(batching, policy)


def _queue_policies(batching: Any) -> Iterator[Any]:
    yield batching.default_queue_policy
    for level in sorted(batching.priority_queue_policy):
        yield batching.priority_queue_policy[level]


def _check_queue_policy(batching: Any, policy: Any) -> None:
    if policy.timeout_action != messages.enum("ModelQueuePolicy.TimeoutAction")["DELAY"]:
        return
    if batching.preserve_ordering and policy.default_timeout_microseconds:
        raise ConfigError("preserve_ordering cannot hold with timeout_action DELAY and a timeout")
    raise ConfigError(
        "timeout_action DELAY is not supported, only REJECT: what is late is answered, not delayed"
    )


def ignored(message: Any) -> list[str]:
    """The keys in ``message`` that have no effect here, and change no answer."""
    found = [key for key in ("metric_tags", "model_metrics") if _is_set(message, key)]
    found += [
        f"optimization.{key}"
        for key in (
            "priority",
            "cuda",
            "input_pinned_memory",
            "output_pinned_memory",
            "gather_kernel_buffer_threshold",
            "eager_batching",
        )
        if _is_set(message.optimization, key)
    ]
    groups = ("rate_limiter", "passive", "profile", "secondary_devices", "host_policy")
    found += [
        f"instance_group.{key}"
        for key in groups
        if any(_is_set(group, key) for group in message.instance_group)
    ]
    if any(tensor.format for tensor in message.input):
        found.append("input.format")
    if message.dynamic_batching.preserve_ordering:
        found.append("dynamic_batching.preserve_ordering")
    if any(policy.allow_timeout_override for policy in _queue_policies(message.dynamic_batching)):
        found.append("dynamic_batching.default_queue_policy.allow_timeout_override")
    return found


def _is_set(message: Any, key: str) -> bool:
    field = message.DESCRIPTOR.fields_by_name[key]
    return bool(message.HasField(key)) if field.has_presence else bool(getattr(message, key))
