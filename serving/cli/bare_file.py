"""What ``serving check FILE.onnx`` finds out: as if the file were a model's only version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from serving.control.views import load_report
from serving.errors import LoadError
from serving.loading.loader import Loader
from serving.model_config.schema import ModelConfig
from serving.settings import Settings

# For its threads to end; it answered nobody.
_CLOSE_S = 10.0


def examine_file(settings: Settings, file: Path, *, load: bool) -> dict[str, Any]:
    """A model of the report, of the form that ``examine`` gives those in a directory. Nothing is
    copied, and its external data is looked for beside it."""
    found = _loaded(settings, file) if load else {"state": "found", "reason": ""}
    return {
        "name": file.stem,
        "path": str(file),
        "layout": "a bare file: serving publish makes a version of it",
        "configuration": "none",
        "ignored_keys": [],
        "error": "",
        "pinned": None,
        "reason": "",
        "only": [],
        "default": None,
        "versions": [{"version": 1, "manifest": None, "checksums": "", **found}],
    }


def _loaded(settings: Settings, file: Path) -> dict[str, Any]:
    loader = Loader(settings)
    # Its link's target has the external data beside it.
    whole = file.resolve()
    try:
        slot = loader(
            name=file.stem,
            version=1,
            path=whole.parent,
            config=ModelConfig(model_filename=whole.name),
            settings=settings,
            folder=whole.parent,
        )
    except LoadError as error:
        return {"state": "failed", "reason": error.reason, "notes": []}
    finally:
        loader.close()
    try:
        return {"state": "ready", "reason": "", **load_report(slot.facts)}
    finally:
        slot.close(_CLOSE_S)
