"""A version that MLflow saved: what its ``MLmodel`` asks for, where the model's own configuration
says nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from serving.errors import ConfigError, LoadError, Retry
from serving.execution.runtime import ort
from serving.model_config.schema import ExecutionMode, GraphLevel, ModelConfig, SessionOptions
from serving.model_config.words import refuse_outside_reach
from serving.registry import mlmodel
from serving.registry.mlmodel import NOTHING_DECLARED, Declared, Mlmodel, MlmodelError
from serving.settings import Settings

# onnxruntime's numbers of the levels. MLflow itself takes 0 for nothing said.
_LEVELS: Mapping[int, GraphLevel] = {
    0: "disabled",
    1: "basic",
    2: "extended",
    3: "layout",
    99: "all",
}
_MODES: Mapping[str, ExecutionMode] = {"sequential": "sequential", "parallel": "parallel"}
# What MLflow writes where nobody chose.
_DEFAULT_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
# In one list: more than onnxruntime has.
_MOST_PROVIDERS, _LONGEST_NAME = 64, 256


@dataclass(frozen=True, slots=True)
class MlflowVersion:
    """``config``: with what the file asks for; ``notes``: what of it cannot be had."""

    config: ModelConfig
    declared: Declared = NOTHING_DECLARED
    notes: tuple[str, ...] = ()


def of_version(path: Path, config: ModelConfig, settings: Settings) -> MlflowVersion:
    """What holds for the version in ``path``.

    Raises LoadError for a file that cannot be read, options that no session has, and a model that
    is not in ONNX's format.
    """
    try:
        found = mlmodel.read(path)
        if found is None:
            return MlflowVersion(config)
        _check_flavor(found, path, config)
        return _with_options(found, config, settings)
    except MlmodelError as error:
        raise LoadError(str(error), retry=Retry.ON_CHANGE) from None
    except ConfigError as error:
        raise LoadError(f"{mlmodel.FILE}: {error}", retry=Retry.ON_CHANGE) from None
    except OSError as error:
        words = f"{mlmodel.FILE} cannot be read: {(error.strerror or 'error').lower()}"
        raise LoadError.after(error, words, str(error)) from error


def _check_flavor(found: Mlmodel, path: Path, config: ModelConfig) -> None:
    if found.onnx is None and not (path / config.model_filename).exists():
        flavors = ", ".join(found.flavors) or "none"
        raise LoadError(
            f"its {mlmodel.FILE} has no flavor 'onnx' (but {flavors}), and only ONNX models are"
            " served: convert it, and save it with mlflow.onnx.save_model"
        )


def _with_options(found: Mlmodel, config: ModelConfig, settings: Settings) -> MlflowVersion:
    flavor = found.onnx or {}
    notes: list[str] = []
    config = _with_providers(flavor.get("providers"), config, notes)
    session = _session(flavor.get("onnx_session_options"), config.session, settings, notes)
    return MlflowVersion(replace(config, session=session), found.declared, tuple(notes))


def _with_providers(said: object, config: ModelConfig, notes: list[str]) -> ModelConfig:
    """Those of the file that are here, unless the configuration names others."""
    names, options = _providers(said)
    nobody_chose = not names or (tuple(names) == _DEFAULT_PROVIDERS and not options)
    if config.providers_prefer is not None or nobody_chose:
        return config
    here = ort().get_available_providers()
    missing = [name for name in names if name not in here]
    if missing:
        notes.append(f"{mlmodel.FILE} asks for {', '.join(missing)}, which is not available here")
    return replace(
        config,
        providers_prefer=tuple(name for name in names if name in here),
        provider_options=MappingProxyType({**options, **config.provider_options}),
    )


def _providers(said: object) -> tuple[list[str], dict[str, Mapping[str, str]]]:
    """Names, or pairs of a name and its options; a single name may stand without a list."""
    names, options = list[str](), dict[str, Mapping[str, str]]()
    for one in [said] if isinstance(said, str) else _list(said, "providers"):
        name, given = (one, {}) if isinstance(one, str) else _pair(one)
        if len(name) > _LONGEST_NAME or len(names) >= _MOST_PROVIDERS:
            raise MlmodelError(f"{mlmodel.FILE}: its providers are too many, or have long names")
        names.append(name)
        if given:
            options[name] = _within_reach(given)
    return names, options


def _pair(one: object) -> tuple[str, Mapping[str, Any]]:
    if isinstance(one, list) and len(one) == 2 and isinstance(one[0], str):
        return one[0], _table(one[1], f"the options of {one[0][:64]}")
    raise MlmodelError(f"{mlmodel.FILE}: a provider is a name, or a name with options")


def _session(
    said: object, config: SessionOptions, settings: Settings, notes: list[str]
) -> SessionOptions:
    """The file's, where the configuration says nothing."""
    options = _table(said, "onnx_session_options")
    if not options:
        return config
    level = _one_of(options, "graph_optimization_level", _LEVELS)
    mode = _one_of(options, "execution_mode", _MODES)
    threads = {
        key: _count(options, key) for key in ("intra_op_num_threads", "inter_op_num_threads")
    }
    if any(threads.values()) and settings.threads.shared_pool:
        notes.append(
            f"the threads that {mlmodel.FILE} asks for are not had: all models share theirs"
        )
        threads = dict.fromkeys(threads)
    entries = _table(options.get("extra_session_config"), "extra_session_config")
    own = _within_reach(entries)
    return replace(
        config,
        graph_optimization_level=config.graph_optimization_level or level,
        execution_mode=config.execution_mode or mode,
        intra_op_threads=_first(config.intra_op_threads, threads["intra_op_num_threads"]),
        inter_op_threads=_first(config.inter_op_threads, threads["inter_op_num_threads"]),
        entries=MappingProxyType({**own, **config.entries}),
    )


def _first(said: int | None, file: int | None) -> int | None:
    """0 says something, too: it leaves the number to the settings."""
    return file if said is None else said


def _within_reach(options: Mapping[str, Any]) -> Mapping[str, str]:
    """Raises ConfigError for what would reach outside of the model's own files."""
    for key in options:
        refuse_outside_reach(str(key))
    return MappingProxyType({str(key): _text(value) for key, value in options.items()})


def _one_of(options: Mapping[str, Any], key: str, known: Mapping[Any, Any]) -> Any:
    value = options.get(key)
    if value is None:
        return None
    if isinstance(value, bool | list | dict) or value not in known:
        names = ", ".join(map(str, known))
        raise MlmodelError(f"{mlmodel.FILE}: {key} must be one of {names}")
    return known[value]


def _count(options: Mapping[str, Any], key: str) -> int | None:
    """0 leaves it to onnxruntime there, and to the settings here."""
    value = options.get(key)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= 1024:
        raise MlmodelError(f"{mlmodel.FILE}: {key} must be an integer of 0 to 1024")
    return value


def _list(value: object, what: str) -> Sequence[Any]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise MlmodelError(f"{mlmodel.FILE}: its {what} must be a list")
    return value


def _table(value: object, what: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MlmodelError(f"{mlmodel.FILE}: {what} must be a table of keys")
    return value


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise MlmodelError(f"{mlmodel.FILE}: an option must be a text or a number")
