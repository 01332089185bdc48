"""``serving check MODEL/1``: one version, as a gateway that serves the model would load it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from serving.model_config import ModelConfig, VersionPolicy, load_model_config
from serving.registry.directory import DirectorySource
from serving.registry.layout import BELOW, ITSELF
from serving.registry.names import version_number

# A model's folder -> those of its versions that were asked for.
Only = Mapping[Path, frozenset[int]]


def told_apart(roots: Sequence[Path], *, follow: bool) -> tuple[list[Path], Only]:
    """``roots`` with the model's folder in place of each version's."""
    found, only = list[Path](), dict[Path, frozenset[int]]()
    whole = {root.absolute() for root in roots}
    for root in roots:
        number = _number(root.absolute(), follow)
        folder = root if number is None else root.absolute().parent
        found.append(folder)
        if number is not None and folder not in whole:
            only[folder] = only.get(folder, frozenset()) | {number}
    return list(dict.fromkeys(found)), only


def _number(root: Path, follow: bool) -> int | None:
    """Which version of the model above it the folder is; None where it is none."""
    try:
        number = version_number(root.name, zeros=True)
    except ValueError:
        return None
    itself = DirectorySource([root], 0.0, follow_symlinks=follow).scan()
    if any(model.layout in (BELOW, ITSELF) for model in itself.models):
        return None
    above = DirectorySource([root.parent], 0.0, follow_symlinks=follow).scan().models
    models = [model for model in above if model.layout == ITSELF]
    return number if any(v.number == number for model in models for v in model.versions) else None


def reader(only: Only) -> Callable[[Path], ModelConfig]:
    """Reads a model's configuration, and has the versions loaded that were asked for."""

    def read(folder: Path) -> ModelConfig:
        config, asked = load_model_config(folder), only.get(folder)
        if asked is None:
            return config
        policy = VersionPolicy("specific", specific=tuple(sorted(asked)))
        return replace(config, version_policy=policy)

    return read
