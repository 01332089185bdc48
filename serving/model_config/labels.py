"""What a model's outputs call their elements: files of labels beside its configuration."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from serving.errors import ConfigError
from serving.model_config.schema import ModelConfig, TensorConfig
from serving.model_config.text_file import read_text_inside

# Of all outputs together, each of which keeps its own: one file may be many outputs'.
MAX_BYTES = 16 * 1024 * 1024


def with_digests(config: ModelConfig, folder: Path) -> ModelConfig:
    """The configuration of the model in ``folder`` with what its label files hold now, so that
    it is another when one of them changes.

    Raises ConfigError for a file that can't be labels.
    """
    labels = labels_of(config, folder)
    if not labels:
        return config
    return replace(config, outputs=tuple(_with_digest(one, labels) for one in config.outputs))


def _with_digest(output: TensorConfig, labels: Mapping[str, str]) -> TensorConfig:
    if output.labels is None:
        return output
    digest = hashlib.blake2b(labels[output.name].encode(), digest_size=16).hexdigest()
    return replace(output, labels=replace(output.labels, digest=digest))


def labels_of(config: ModelConfig, folder: Path) -> Mapping[str, str]:
    """Output -> its labels, one a line, for the outputs that have any. Raises ConfigError."""
    found, texts, size = dict[str, str](), dict[str, str](), 0
    for output in config.outputs:
        if output.labels is None:
            continue
        file = output.labels.file
        if file not in texts:
            texts[file] = read_labels(folder, file)
        found[output.name] = texts[file]
        size += len(texts[file].encode())
        if size > MAX_BYTES:
            raise ConfigError(f"the labels of all outputs have more than {MAX_BYTES} bytes")
    return found


def read_labels(folder: Path, file: str) -> str:
    """The labels in ``file``, a plain name, in a model's ``folder``. Raises ConfigError."""
    return read_text_inside(folder, file, MAX_BYTES)
