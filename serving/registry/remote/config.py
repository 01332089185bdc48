"""Configurations of models that come from elsewhere: in a folder of the operator's, if anywhere."""

from __future__ import annotations

from pathlib import Path

from serving.model_config import CONFIG_FILES, ModelConfig
from serving.model_config.validation import SCHEMA
from serving.registry import tree
from serving.registry.configs import fingerprint
from serving.registry.snapshot import KnownConfig
from serving.registry.tree import Rows


def folder_of(
    configs: Path | None, model: str, nowhere: Path
) -> tuple[Path, str, KnownConfig | None]:
    """The model's folder, what its configuration's files look like, and the configuration where it
    needs no reading. ``nowhere``: a folder of ours, in which no model has one."""
    if configs is None:
        return nowhere / "nowhere", "", DEFAULT
    folder = configs / model
    return folder, tree.digest(tuple(_rows(folder))), None


def _rows(folder: Path) -> Rows:
    rows = []
    for name in (*CONFIG_FILES, SCHEMA):
        try:
            rows.append(tree.row(name, (folder / name).stat()))
        except OSError:
            continue
    return tuple(rows)


_CONFIG = ModelConfig()
DEFAULT = KnownConfig("", fingerprint(_CONFIG), _CONFIG.version_policy, _CONFIG)
