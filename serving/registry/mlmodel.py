"""What MLflow notes beside a model that it saved: which run and which logged model it was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from serving.registry.copying import PublishError
from serving.user_files import NotRegularError, TooLargeError, read_file

FILE = "MLmodel"
_MAX_BYTES = 1024 * 1024
_MAX_ID = 256


@dataclass(frozen=True, slots=True)
class Origin:
    """Empty where the file doesn't say."""

    run_id: str = ""
    model_id: str = ""


def read_origin(folder: Path) -> Origin:
    """Of an MLflow model's folder; all empty where it is none.

    Raises PublishError for a file that isn't one of MLflow's, OSError.
    """
    path = folder / FILE
    try:
        content = read_file(path, _MAX_BYTES)
    except (FileNotFoundError, NotRegularError):
        return Origin()
    except TooLargeError:
        raise PublishError(f"{FILE} has more than {_MAX_BYTES} bytes") from None
    try:
        found = yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise PublishError(f"{FILE} is not YAML") from None
    if not isinstance(found, dict):
        raise PublishError(f"{FILE} is not a table of keys")
    return Origin(_identifier(found.get("run_id")), _identifier(found.get("model_id")))


def _identifier(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > _MAX_ID or not value.isprintable():
        raise PublishError(f"{FILE} holds an id that is no short text")
    return value
