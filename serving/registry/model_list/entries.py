"""A model config list, checked as a whole: what it says, and why it can't be followed. Pure.

The contract is TensorFlow Serving's ``ModelServerConfig`` (``protos/tensorflow/serving.proto``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from serving.errors import ConfigError
from serving.model_config.schema import VersionPolicy
from serving.registry.names import MAX_VERSION, why_no_model
from serving.registry.snapshot import Listed

# ONNX models, also where a list was written for SavedModels that were exported since.
PLATFORMS = ("onnx", "tensorflow")
MOST_MODELS = 10_000
# Of one model.
MOST_LABELS = 64
MOST_VERSIONS = 4096
_LONGEST_PATH = 4096


@dataclass(frozen=True, slots=True)
class Entry:
    """One model: where its versions lie, an absolute path, and what else is said of it."""

    name: str
    base_path: str
    listed: Listed


@dataclass(frozen=True, slots=True)
class ModelList:
    """The whole list, by name. ``notes``: what in it has no effect here, in words."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


NO_MODELS = ModelList()


def entries_of(message: Any, why_no_label: Callable[[str], str]) -> ModelList:
    """Of a ``ModelServerConfig``. ``why_no_label``: why a name can be no alias, "" where it can.

    Raises ConfigError that names the model and what is wrong, for the first thing that is.
    """
    if message.WhichOneof("config") != "model_config_list":
        raise ConfigError("Only ModelConfigList is currently supported")
    configs = message.model_config_list.config
    if len(configs) > MOST_MODELS:
        raise ConfigError(f"the list has more than {MOST_MODELS} models")
    entries: dict[str, Entry] = {}
    notes: list[str] = []
    for config in configs:
        entry = _entry(config, why_no_label)
        if entry.name in entries:
            raise ConfigError(f"model '{entry.name}' is in the list twice")
        entries[entry.name] = entry
        notes += _notes(config)
    return ModelList(entries, tuple(notes))


def _entry(config: Any, why_no_label: Callable[[str], str]) -> Entry:
    if not config.name:
        raise ConfigError(f"a model has no name (base_path '{_shown(config.base_path)}')")
    if why := why_no_model(config.name):
        raise ConfigError(f"'{_shown(config.name)}': {why}")
    try:
        listed = Listed(
            _platform(config), _policy(config), _labels(config, why_no_label), _rate(config)
        )
        return Entry(config.name, _base_path(config.base_path), listed)
    except ConfigError as error:
        raise ConfigError(f"model '{config.name}': {error}") from None


def _base_path(text: str) -> str:
    if not text:
        raise ConfigError("it has no base_path")
    path = PurePosixPath(text)
    if not path.is_absolute() or ".." in path.parts:
        raise ConfigError(f"its base_path '{_shown(text)}' is not absolute, without '..'")
    if len(text.encode()) > _LONGEST_PATH or "\0" in text:
        raise ConfigError("its base_path is no path")
    return str(path)


def _platform(config: Any) -> str:
    """``model_type`` is what older lists have; 1 is TENSORFLOW."""
    platform: str = config.model_platform
    if config.model_type and platform:
        raise ConfigError("it has both model_type and model_platform")
    if config.model_type == 1:
        return "tensorflow"
    if config.model_type or not platform:
        raise ConfigError("it has no model_platform: expected 'onnx' (or 'tensorflow')")
    if platform not in PLATFORMS:
        raise ConfigError(
            f"its model_platform '{_shown(platform)}' is not served here: expected 'onnx' (or"
            " 'tensorflow')"
        )
    return platform


def _policy(config: Any) -> VersionPolicy | None:
    """None: as the model's own configuration says, by default the latest one."""
    if not config.HasField("model_version_policy"):
        return None
    policy = config.model_version_policy
    match policy.WhichOneof("policy_choice"):
        case "all":
            return VersionPolicy("all")
        case "specific":
            versions = tuple(sorted(set(policy.specific.versions)))
            if not versions or len(versions) > MOST_VERSIONS or not _are_versions(versions):
                raise ConfigError("specific names no versions, too many, or one below 1")
            return VersionPolicy("specific", specific=versions)
        case "latest":
            # TensorFlow Serving, too, takes 0 for 1.
            return VersionPolicy("latest", latest=policy.latest.num_versions or 1)
    return None


def _are_versions(numbers: Sequence[int]) -> bool:
    return all(0 < number <= MAX_VERSION for number in numbers)


def _labels(config: Any, why_no_label: Callable[[str], str]) -> Mapping[str, int]:
    labels = dict(sorted(config.version_labels.items()))
    if len(labels) > MOST_LABELS:
        raise ConfigError(f"it has more than {MOST_LABELS} version_labels")
    for label, version in labels.items():
        if why := why_no_label(label):
            raise ConfigError(why)
        if not _are_versions([version]):
            raise ConfigError(f"its label '{label}' names the version {version}, which is below 1")
    return labels


def _rate(config: Any) -> float | None:
    if not config.logging_config.HasField("sampling_config"):
        return None
    rate: float = config.logging_config.sampling_config.sampling_rate
    if not (math.isfinite(rate) and 0 <= rate <= 1):
        raise ConfigError("its sampling_rate is not from 0 to 1")
    return rate


def _notes(config: Any) -> Iterator[str]:
    logging, sampling = config.logging_config, config.logging_config.sampling_config
    for name in ("log_collector_config", "custom_logging_config"):
        if logging.HasField(name):
            yield (
                f"model '{config.name}': logging_config.{name} has no effect: the settings"
                " request_log.* say where sampled requests go, and in which form"
            )
    for name in ("attributes", "per_task_sampling_configs"):
        if getattr(sampling, name):
            yield (
                f"model '{config.name}': sampling_config.{name} has no effect: sampling_rate counts"
                " for all requests of the model"
            )


def changed_platform(before: ModelList, after: ModelList) -> str:
    """Why ``after`` can't follow ``before``, "" where it can: a model keeps its platform."""
    for name, entry in after.entries.items():
        former = before.entries.get(name)
        if former is not None and former.listed.platform != entry.listed.platform:
            return (
                f"model '{name}': its model_platform can't change from"
                f" '{former.listed.platform}' to '{entry.listed.platform}' while it is served"
            )
    return ""


def missing_labels(
    entry: Entry, on_disk: Collection[int], ready: Collection[int]
) -> tuple[int, ...]:
    """The versions that labels name and that are nowhere."""
    return tuple(sorted(set(entry.listed.labels.values()) - set(on_disk) - set(ready)))


def _shown(text: str) -> str:
    few = text[:128]
    return few if few.isprintable() else few.encode("unicode_escape").decode("ascii")
