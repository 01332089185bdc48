"""``model.yaml``: our own form of a model's configuration."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from pydantic import ValidationError

from serving.errors import ConfigError
from serving.model_config import rules
from serving.model_config.canary_form import to_canary
from serving.model_config.gates_form import to_gates
from serving.model_config.route import RouteConfig, why_no_shadows, why_no_weights
from serving.model_config.schema import (
    LabelFile,
    LevelPolicy,
    ModelConfig,
    RequestLogConfig,
    SessionOptions,
    TensorConfig,
    Tolerance,
    VersionPolicy,
    WarmupInput,
    WarmupSample,
)
from serving.model_config.signatures import to_signatures
from serving.model_config.validation import ValidationConfig
from serving.model_config.words import plain_file_name, provider_name, refuse_outside_reach
from serving.model_config.yaml_keys import (
    ModelYaml,
    OutputYaml,
    ProvidersYaml,
    RouteYaml,
    Scalar,
    SessionYaml,
    TensorYaml,
    ValidationYaml,
    VersionPolicyYaml,
    WarmupInputYaml,
    WarmupYaml,
)
from serving.model_config.yaml_text import explain, parse

FILE = "model.yaml"


def read_yaml(text: str, name: str) -> ModelConfig:
    """The configuration of model ``name``. Raises ConfigError with the line."""
    document = parse(text, FILE)
    try:
        keys = ModelYaml.model_validate(document.value)
    except ValidationError as error:
        raise ConfigError(explain(error, document, FILE, ModelYaml)) from None
    try:
        return to_model_config(keys)
    except ConfigError as error:
        raise ConfigError(f"{FILE}: {error} (model {name!r})") from None


def to_model_config(keys: ModelYaml) -> ModelConfig:
    """Raises ConfigError for values that do not go together."""
    batching = keys.batching
    config = ModelConfig(
        source="model.yaml",
        max_batch_size=keys.max_batch_size,
        batching=batching.enabled,
        preferred_batch_sizes=tuple(batching.preferred_batch_sizes),
        delay_us=batching.delay_us,
        max_queue_requests=batching.max_queue_requests,
        max_queue_rows=batching.max_queue_rows,
        max_queue_bytes=batching.max_queue_bytes,
        priority_levels=batching.priority_levels,
        default_priority=batching.default_priority,
        default_timeout_us=batching.default_timeout_us,
        level_policies=tuple(
            LevelPolicy(one.level, one.default_timeout_us, one.max_queue_requests)
            for one in batching.levels
        ),
        instances=keys.instances,
        providers_prefer=_providers(keys.providers.prefer),
        providers_require=_providers(keys.providers.require) or (),
        provider_options=_provider_options(keys.providers),
        session=_session(keys.session),
        warmup=tuple(_warmup(number, sample) for number, sample in enumerate(keys.warmup)),
        version_policy=_version_policy(keys.version_policy),
        inputs=tuple(_tensor(tensor) for tensor in keys.inputs),
        outputs=tuple(_output(tensor) for tensor in keys.outputs),
        tolerance=Tolerance(rtol=keys.tolerance.rtol, atol=keys.tolerance.atol),
        model_filename=plain_file_name(keys.model_filename, "model_filename"),
        parameters=MappingProxyType({key: _text(v) for key, v in keys.parameters.items()}),
        isolation=keys.isolation,
        run_timeout_s=keys.run_timeout_s,
        memory_bytes=keys.memory_bytes,
        request_log=RequestLogConfig(keys.request_log.rate, tuple(keys.request_log.redact)),
        signatures=to_signatures(keys.signatures),
        gates=to_gates(keys.gates),
        canary=to_canary(keys.canary),
        route=_route(keys.route),
        validation=_validation(keys.validation),
    )
    rules.check(config)
    return config


def _validation(keys: ValidationYaml) -> ValidationConfig:
    return ValidationConfig(keys.mode, MappingProxyType(dict(keys.features)))


def _text(value: Scalar) -> str:
    """As onnxruntime reads options: 1 and 0 for booleans."""
    return str(int(value)) if isinstance(value, bool) else str(value)


def _providers(names: list[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(dict.fromkeys(provider_name(name) for name in names))


def _provider_options(keys: ProvidersYaml) -> MappingProxyType[str, MappingProxyType[str, str]]:
    options: dict[str, MappingProxyType[str, str]] = {}
    for name, given in keys.options.items():
        for option in given:
            refuse_outside_reach(option)
        texts = {option: _text(value) for option, value in given.items()}
        options[provider_name(name)] = MappingProxyType(texts)
    return MappingProxyType(options)


def _session(keys: SessionYaml) -> SessionOptions:
    for entry in keys.entries:
        refuse_outside_reach(entry)
    return SessionOptions(
        graph_optimization_level=keys.graph_optimization_level,
        intra_op_threads=keys.intra_op_threads,
        inter_op_threads=keys.inter_op_threads,
        execution_mode=keys.execution_mode,
        enable_mem_arena=keys.enable_mem_arena,
        enable_mem_pattern=keys.enable_mem_pattern,
        entries=MappingProxyType({key: _text(value) for key, value in keys.entries.items()}),
    )


def _version_policy(keys: VersionPolicyYaml) -> VersionPolicy:
    if keys.all:
        return VersionPolicy(kind="all")
    if keys.specific is not None:
        return VersionPolicy(kind="specific", specific=tuple(sorted(set(keys.specific))))
    return VersionPolicy(kind="latest", latest=1 if keys.latest is None else keys.latest)


def _route(keys: RouteYaml) -> RouteConfig:
    weights = None
    if keys.weights is not None:
        weights = {int(version): weight for version, weight in sorted(keys.weights.items())}
    if keys.sticky and not weights:
        raise ConfigError("route.sticky: there are no weights, so nobody needs a key")
    if why := why_no_weights(weights or {}, keys.sticky):
        raise ConfigError(f"route: {why}")
    shadows = None
    if keys.shadows is not None:
        shadows = {int(version): share for version, share in sorted(keys.shadows.items())}
    if why := why_no_shadows(shadows or {}, weights or {}):
        raise ConfigError(f"route: {why}")
    aliases = dict(sorted(keys.aliases.items()))
    return RouteConfig(weights, keys.sticky.lower(), aliases, keys.pin, shadows)


def _tensor(keys: TensorYaml) -> TensorConfig:
    shape = None if keys.shape is None else tuple(keys.shape)
    return TensorConfig(keys.name, keys.datatype, shape, keys.optional)


def _output(keys: OutputYaml) -> TensorConfig:
    read = _tensor(keys)
    if keys.label_filename is None:
        return read
    return replace(read, labels=LabelFile(plain_file_name(keys.label_filename, "label_filename")))


def _warmup(number: int, keys: WarmupYaml) -> WarmupSample:
    inputs = tuple(_warmup_input(name, tensor) for name, tensor in keys.inputs.items())
    return WarmupSample(keys.name or f"warmup_{number}", inputs, keys.count)


def _warmup_input(name: str, keys: WarmupInputYaml) -> WarmupInput:
    shape = None if keys.shape is None else tuple(keys.shape)
    if keys.file is None:
        return WarmupInput(name, keys.datatype, shape, fill=keys.fill or "zero")
    if keys.fill is not None:
        raise ConfigError(f"warm-up input {name!r}: give fill or file, not both")
    file = plain_file_name(keys.file, "a warm-up file")
    return WarmupInput(name, keys.datatype, shape, fill="file", file=file)
