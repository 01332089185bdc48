"""What a model's outputs call their elements: files of labels beside its configuration."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from serving.errors import ConfigError
from serving.model_config.schema import ModelConfig, TensorConfig
from serving.model_config.text_file import read_text

MAX_BYTES = 16 * 1024 * 1024


def with_digests(config: ModelConfig, folder: Path) -> ModelConfig:
    """The configuration of the model in ``folder`` with what its label files hold now, so that
    it is another when one of them changes.

    Raises ConfigError for a file that can't be labels.
    """
    if not any(output.labels for output in config.outputs):
        return config
    return replace(config, outputs=tuple(_with_digest(one, folder) for one in config.outputs))


def _with_digest(output: TensorConfig, folder: Path) -> TensorConfig:
    if output.labels is None:
        return output
    text = read_labels(folder, output.labels.file)
    digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    return replace(output, labels=replace(output.labels, digest=digest))


def labels_of(config: ModelConfig, folder: Path) -> Mapping[str, str]:
    """Output -> its labels, one a line, for the outputs that have any. Raises ConfigError."""
    named = {output.name: output.labels for output in config.outputs}
    return {name: read_labels(folder, one.file) for name, one in named.items() if one is not None}


def read_labels(folder: Path, file: str) -> str:
    """The labels in ``file``, a plain name, in a model's ``folder``. Raises ConfigError."""
    path = folder / file
    # They are told to clients: what a link leads to elsewhere is none of their business.
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(f"{file} is a link that leaves the model's folder")
    return read_text(path, MAX_BYTES)
