"""Finding and reading a model's configuration file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from serving.errors import ConfigError
from serving.events import log
from serving.model_config.labels import with_digests
from serving.model_config.pbtxt import read_pbtxt
from serving.model_config.schema import ModelConfig
from serving.model_config.text_file import read_text_inside
from serving.model_config.yaml_form import read_yaml

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
    text = read_text_inside(model_dir, present[0], MAX_BYTES)
    config = with_digests(_READERS[present[0]](text, model_dir.name), model_dir)
    for alias in config.route.aliases:
        _check_alias(alias, present[0])
    if config.ignored:
        log.warning("model_config_keys_ignored", model=model_dir.name, keys=list(config.ignored))
    return config


def _check_alias(alias: str, file: str) -> None:
    """Clients ask by it, so the core says whether it can be one. Raises ConfigError."""
    # Here: forms are read without the built core.
    from serving import _core

    try:
        _core.check_alias(alias)
    except ValueError as error:
        raise ConfigError(f"{file}: route.aliases: {error}") from None
