"""Rules that hold for a configuration in either form."""

from __future__ import annotations

from serving.errors import ConfigError
from serving.model_config import signatures
from serving.model_config.schema import ModelConfig, VersionPolicy, WarmupSample

MAX_PRIORITY_LEVELS = 1024
MAX_INSTANCES = 1024
MAX_WARMUP_RUNS = 10_000


def check(config: ModelConfig) -> None:
    """Raise ConfigError for the first rule that ``config`` breaks."""
    _check_batching(config)
    _check_priorities(config)
    _check_versions(config.version_policy)
    if not 1 <= config.instances <= MAX_INSTANCES:
        raise ConfigError(f"instances must be from 1 to {MAX_INSTANCES}, got {config.instances}")
    _check_names("input", [t.name for t in config.inputs])
    _check_names("output", [t.name for t in config.outputs])
    for tensor in config.inputs + config.outputs:
        _check_shape(f"shape of {tensor.name!r}", tensor.shape)
    for sample in config.warmup:
        _check_warmup(sample)
    signatures.check(config.signatures)


def _check_batching(config: ModelConfig) -> None:
    largest = config.max_batch_size
    if largest is not None and largest < 0:
        raise ConfigError(f"max_batch_size must not be negative, got {largest}")
    if config.batching and largest == 0:
        raise ConfigError("batching is asked for while max_batch_size 0 says unbatched")
    for size in config.preferred_batch_sizes:
        if size < 1:
            raise ConfigError(f"a preferred batch size must be positive, got {size}")
        if largest is not None and size > largest:
            raise ConfigError(f"preferred batch size {size} is more than max_batch_size {largest}")


def _check_priorities(config: ModelConfig) -> None:
    levels, default = config.priority_levels, config.default_priority
    if not 0 <= levels <= MAX_PRIORITY_LEVELS:
        raise ConfigError(f"priority levels must be from 0 to {MAX_PRIORITY_LEVELS}, got {levels}")
    if levels and not 1 <= default <= levels:
        raise ConfigError(
            f"the default priority level must be from 1 to {levels} (1 is the highest), "
            f"got {default}"
        )
    if default and not levels:
        raise ConfigError("a default priority level needs priority levels")
    seen: set[int] = set()
    for policy in config.level_policies:
        if not 1 <= policy.level <= levels:
            raise ConfigError(f"a policy names priority level {policy.level} of {levels}")
        if policy.level in seen:
            raise ConfigError(f"priority level {policy.level} has two policies")
        seen.add(policy.level)


def _check_versions(policy: VersionPolicy) -> None:
    if policy.kind == "latest" and policy.latest < 1:
        raise ConfigError(f"version policy: latest must be at least 1, got {policy.latest}")
    if policy.kind != "specific":
        return
    if not policy.specific:
        raise ConfigError("version policy: specific needs at least one version")
    for number in policy.specific:
        if number < 1:
            raise ConfigError(f"version policy: a version is a positive integer, got {number}")


def _check_names(what: str, names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if not name:
            raise ConfigError(f"an {what} has no name")
        if name in seen:
            raise ConfigError(f"{what} {name!r} is listed twice")
        seen.add(name)


def _check_shape(what: str, shape: tuple[int, ...] | None) -> None:
    for size in shape or ():
        if size == 0 or size < -1:
            raise ConfigError(f"{what}: a dimension is positive, or -1 for any size, got {size}")


def _check_warmup(sample: WarmupSample) -> None:
    if not 1 <= sample.count <= MAX_WARMUP_RUNS:
        raise ConfigError(
            f"warm-up {sample.name!r}: count must be from 1 to {MAX_WARMUP_RUNS}, "
            f"got {sample.count}"
        )
    for tensor in sample.inputs:
        for size in tensor.shape or ():
            if size < 0:
                raise ConfigError(
                    f"warm-up {sample.name!r} expects all variable-size dimensions to be "
                    f"specified for input {tensor.name!r}"
                )
