"""onnxruntime's part of a ``ModelConfig`` message: where and how the session runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from serving.errors import ConfigError
from serving.model_config import canary_form, gates_form
from serving.model_config.canary import NO_CANARY, CanaryConfig
from serving.model_config.gates import NO_GATES, GatesConfig
from serving.model_config.schema import (
    IN_PLACE,
    ExecutionMode,
    GraphLevel,
    InstanceKind,
    Isolation,
    RequestLogConfig,
    SessionOptions,
    SignatureConfig,
)
from serving.model_config.signatures import read_json
from serving.model_config.validation import MODES, ValidationConfig, read_features
from serving.model_config.words import PROVIDERS, refuse_outside_reach, suggestion

CPU, CUDA, TENSORRT, OPENVINO = (PROVIDERS[key] for key in ("cpu", "cuda", "tensorrt", "openvino"))

_ALLOCATOR_ENTRY = "session.use_device_allocator_for_initializers"
# Old ways to give an option of the CUDA provider.
_CUDA_PARAMETERS = (
    "cudnn_conv_algo_search",
    "gpu_mem_limit",
    "arena_extend_strategy",
    "do_copy_in_default_stream",
)
_SESSION_PARAMETERS = (
    "intra_op_thread_count",
    "inter_op_thread_count",
    "execution_mode",
    "enable_mem_arena",
    "enable_mem_pattern",
    _ALLOCATOR_ENTRY,
)
# Our own, which Triton passes over.
_OWN_PARAMETERS = (
    "isolation",
    "run_timeout_s",
    "memory_bytes",
    "signatures",
    "validation_mode",
    "validation_features",
    *IN_PLACE,
)
_NAMED_VALUES = {
    "cudnn_conv_algo_search": {"0": "EXHAUSTIVE", "1": "HEURISTIC", "2": "DEFAULT"},
    "arena_extend_strategy": {"0": "kNextPowerOfTwo", "1": "kSameAsRequested"},
}
_TENSORRT_PRECISION: Mapping[str, dict[str, str]] = {
    "FP32": {},
    "FP16": {"trt_fp16_enable": "1"},
    "INT8": {"trt_int8_enable": "1"},
}


@dataclass(frozen=True, slots=True)
class Placement:
    """Providers in order of preference, those that must work, and their options."""

    prefer: tuple[str, ...] | None
    require: tuple[str, ...]
    options: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Limits:
    """Where the model runs, and what a run of it may take; ``None``: not said."""

    isolation: Isolation | None
    run_timeout_s: float | None
    memory_bytes: int | None


def limits(message: Any) -> Limits:
    """Our own keys among ``parameters``."""
    given = _given(message)
    return Limits(
        isolation=_isolation(given.get("isolation")),
        run_timeout_s=_seconds(given, "run_timeout_s"),
        memory_bytes=_bytes(given, "memory_bytes"),
    )


def _isolation(word: str | None) -> Isolation | None:
    match word:
        case None | "process" | "none":
            return word
        case _:
            raise ConfigError(f"parameter 'isolation' is 'process' or 'none', got {word!r}")


def request_log(message: Any) -> RequestLogConfig:
    """Our own keys of the request log among ``parameters``."""
    given = _given(message)
    text = given.get("request_log_rate")
    if text is not None and not (re.fullmatch(r"[01](\.[0-9]{1,12})?", text) and float(text) <= 1):
        raise ConfigError(f"parameter 'request_log_rate' is a number from 0 to 1, got {text!r}")
    words = given.get("request_log_redact", "").split(",")
    return RequestLogConfig(
        rate=None if text is None else float(text),
        redact=tuple(word.strip() for word in words if word.strip()),
    )


def signatures(message: Any) -> tuple[SignatureConfig, ...]:
    """Our own key among ``parameters``."""
    text = _given(message).get("signatures")
    return () if text is None else read_json(text)


def canary(message: Any) -> CanaryConfig:
    """Our own key among ``parameters``."""
    text = _given(message).get("canary")
    return NO_CANARY if text is None else canary_form.read_json(text)


def gates(message: Any) -> GatesConfig:
    """Our own key among ``parameters``."""
    text = _given(message).get("gates")
    return NO_GATES if text is None else gates_form.read_json(text)


def validation(message: Any) -> ValidationConfig:
    """Our own keys among ``parameters``."""
    given = _given(message)
    text = given.get("validation_mode")
    mode = next((one for one in MODES if one == text), None)
    if text is not None and mode is None:
        words = ", ".join(MODES)
        raise ConfigError(f"parameter 'validation_mode' is one of {words}, got {text!r}")
    return ValidationConfig(mode, read_features(given.get("validation_features", "{}")))


def _given(message: Any) -> dict[str, str]:
    return {key: message.parameters[key].string_value for key in message.parameters}


def session(message: Any, level: GraphLevel | None) -> SessionOptions:
    """Session options from ``parameters``."""
    given = _given(message)
    allocator = _switch(given, _ALLOCATOR_ENTRY, default=False)
    mode: ExecutionMode | None = None
    if "execution_mode" in given:
        parallel = _switch(given, "execution_mode", default=False)
        mode = "parallel" if parallel else "sequential"
    return SessionOptions(
        graph_optimization_level=level,
        intra_op_threads=_count(given, "intra_op_thread_count"),
        inter_op_threads=_count(given, "inter_op_thread_count"),
        execution_mode=mode,
        enable_mem_arena=_switch(given, "enable_mem_arena", default=True),
        enable_mem_pattern=_switch(given, "enable_mem_pattern", default=True),
        entries=MappingProxyType({_ALLOCATOR_ENTRY: "1"} if allocator else {}),
    )


def ignored_parameters(message: Any) -> list[str]:
    known = _SESSION_PARAMETERS + _CUDA_PARAMETERS + _OWN_PARAMETERS
    return [
        f"parameters[{key!r}]{suggestion(key, known)}"
        for key in sorted(message.parameters)
        if key not in known
    ]


def placement(message: Any, kind: InstanceKind) -> Placement:
    """What was named must work; with KIND_AUTO the CPU may stand in for a GPU.

    CUDA beside TensorRT only takes what that leaves over, which may be nothing.
    """
    accelerators = message.optimization.execution_accelerators
    gpu = [_gpu(a) for a in accelerators.gpu_execution_accelerator] if kind != "cpu" else []
    cpu = [_openvino(a) for a in accelerators.cpu_execution_accelerator] if kind != "gpu" else []
    options: dict[str, dict[str, str]] = {}
    for provider, given in [*gpu, *cpu]:
        options.setdefault(provider, {}).update(given)
    _add_old_cuda_options(message, options)
    _add_device(message, options)

    named = dict.fromkeys(provider for provider, _ in [*gpu, *cpu])
    names = list(dict.fromkeys(provider for provider, _ in gpu))
    if (gpu or kind == "gpu") and CUDA not in names:
        names.append(CUDA)
    names += [provider for provider, _ in cpu if provider not in names]
    if kind != "gpu" and names:
        names.append(CPU)
    if kind == "cpu" and not names:
        names = [CPU]
    frozen = MappingProxyType({p: MappingProxyType(dict(o)) for p, o in options.items() if o})
    required = tuple(named) or ((CUDA,) if kind == "gpu" else ())
    return Placement(tuple(names) or None, () if kind == "auto" and gpu else required, frozen)


def _gpu(accelerator: Any) -> tuple[str, dict[str, str]]:
    given = dict(accelerator.parameters)
    if accelerator.name == "cuda":
        return CUDA, _checked(given)
    if accelerator.name == "tensorrt":
        return TENSORRT, dict(_tensorrt(given))
    near = suggestion(accelerator.name, ("tensorrt", "cuda"))
    raise ConfigError(f"unknown GPU execution accelerator {accelerator.name!r}{near}")


def _openvino(accelerator: Any) -> tuple[str, dict[str, str]]:
    if accelerator.name != "openvino":
        near = suggestion(accelerator.name, ("openvino",))
        raise ConfigError(f"unknown CPU execution accelerator {accelerator.name!r}{near}")
    return OPENVINO, _checked(dict(accelerator.parameters))


def _tensorrt(given: dict[str, str]) -> Iterator[tuple[str, str]]:
    for key, value in _checked(given).items():
        if key == "precision_mode":
            if value not in _TENSORRT_PRECISION:
                known = ", ".join(_TENSORRT_PRECISION)
                raise ConfigError(f"tensorrt precision_mode is one of {known}, got {value!r}")
            yield from _TENSORRT_PRECISION[value].items()
        elif key == "max_workspace_size_bytes":
            yield "trt_max_workspace_size", value
        elif key.startswith("trt_"):
            yield key, value
        else:
            near = suggestion(key, ("precision_mode", "max_workspace_size_bytes"))
            raise ConfigError(f"unknown parameter {key!r} of accelerator 'tensorrt'{near}")


def _checked(given: dict[str, str]) -> dict[str, str]:
    for key in given:
        refuse_outside_reach(key)
    return given


def _add_old_cuda_options(message: Any, options: dict[str, dict[str, str]]) -> None:
    for key in _CUDA_PARAMETERS:
        if key in message.parameters:
            value = message.parameters[key].string_value
            named = _NAMED_VALUES.get(key, {}).get(value, value)
            options.setdefault(CUDA, {}).setdefault(key, named)


def _add_device(message: Any, options: dict[str, dict[str, str]]) -> None:
    devices = {gpu for group in message.instance_group for gpu in group.gpus}
    if len(devices) > 1:
        raise ConfigError("instances on more than one GPU are not supported yet")
    for device in devices:
        for provider in {CUDA, *options} - {OPENVINO, CPU}:
            options.setdefault(provider, {}).setdefault("device_id", str(device))


def _count(given: Mapping[str, str], key: str) -> int | None:
    """0 is "the default", as if it were absent."""
    text = given.get(key, "0")
    if not (text.isascii() and text.isdigit() and int(text) <= 1024):
        raise ConfigError(f"parameter {key!r} is a number from 0 to 1024, got {text!r}")
    return int(text) or None


def _seconds(given: Mapping[str, str], key: str) -> float | None:
    text = given.get(key)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        raise ConfigError(f"parameter {key!r} is a number of seconds, got {text!r}")
    return float(text)


def _bytes(given: Mapping[str, str], key: str) -> int | None:
    text = given.get(key)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,16}", text) or not 1 <= int(text) <= 2**53:
        raise ConfigError(f"parameter {key!r} is a number of bytes, got {text!r}")
    return int(text)


def _switch(given: Mapping[str, str], key: str, *, default: bool) -> bool:
    text = given.get(key, "1" if default else "0")
    if text not in ("0", "1"):
        raise ConfigError(f"parameter {key!r} is '0' or '1', got {text!r}")
    return text == "1"
