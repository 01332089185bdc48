"""Finding and reading a model's configuration file."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from serving.errors import ConfigError
from serving.events import log
from serving.model_config.pbtxt import read_pbtxt
from serving.model_config.schema import ModelConfig
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
    config = _READERS[present[0]](_read_text(model_dir / present[0]), model_dir.name)
    if config.ignored:
        log.warning("model_config_keys_ignored", model=model_dir.name, keys=list(config.ignored))
    return config


def config_fingerprint(model_dir: Path) -> str:
    """Changes whenever a configuration file's bytes do; "" without one."""
    digest = hashlib.sha256()
    found = False
    for name in CONFIG_FILES:
        path = model_dir / name
        if not os.path.lexists(path):
            continue
        found = True
        try:
            content = _read(path)
        except ConfigError as error:
            content = str(error).encode()
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest() if found else ""


def _read_text(path: Path) -> str:
    content = _read(path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path.name} line {line}: not valid UTF-8") from None


def _without_waiting(path: str, flags: int) -> int:
    """A pipe with that name must not hold up the loader."""
    return os.open(path, flags | os.O_NONBLOCK)


def _read(path: Path) -> bytes:
    """At most MAX_BYTES of a regular file; anything else could block or never end."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConfigError(f"{path.name} is not a regular file")
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path.name} cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path.name} is larger than {MAX_BYTES} bytes")
    return content
