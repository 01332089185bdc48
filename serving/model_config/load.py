"""Finding and reading a model's configuration file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from serving.errors import ConfigError
from serving.events import log
from serving.model_config.pbtxt import read_pbtxt
from serving.model_config.schema import ModelConfig
from serving.model_config.yaml_form import read_yaml
from serving.user_files import NotRegularError, TooLargeError, read_file

MAX_BYTES = 1024 * 1024

_READERS: Mapping[str, Callable[[str, str], ModelConfig]] = {
    "config.pbtxt": read_pbtxt,
    "model.yaml": read_yaml,
}
CONFIG_FILES = tuple(_READERS)


def load_model_config(model_dir: Path) -> ModelConfig:
    """The configuration in ``model_dir``, whose last part is the model's name.

    Without a file it is all default. Raises ConfigError, in words for the operator
    that name no path.
    """
    present = [name for name in CONFIG_FILES if os.path.lexists(model_dir / name)]
    if not present:
        return ModelConfig()
    if len(present) > 1:
        raise ConfigError(f"both {present[0]} and {present[1]} are present; keep one of them")
    config = _READERS[present[0]](_read_text(model_dir / present[0]), model_dir.name)
    if config.ignored:
        log.warning("model_config_keys_ignored", model=model_dir.name, keys=list(config.ignored))
    return config


def _read_text(path: Path) -> str:
    content = _read(path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path.name} line {line}: not valid UTF-8") from None


def _read(path: Path) -> bytes:
    try:
        return read_file(path, MAX_BYTES)
    except NotRegularError:
        raise ConfigError(f"{path.name} is not a regular file") from None
    except TooLargeError:
        raise ConfigError(f"{path.name} is larger than {MAX_BYTES} bytes") from None
    except OSError as error:
        raise ConfigError(f"{path.name} cannot be read: {error.strerror}") from None
