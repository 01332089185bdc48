"""Folders as MLflow saves them, written without it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import yaml

Spec = Mapping[str, Any]


def columns(*specs: tuple[str | None, str], **more: Any) -> list[dict[str, Any]]:
    """Of a column signature: (name, type), all of them ``required``."""
    named = [{"type": kind} | ({} if name is None else {"name": name}) for name, kind in specs]
    return [{**one, "required": True, **more} for one in named]


def tensor(name: str | None, dtype: str, shape: Sequence[int]) -> dict[str, Any]:
    spec = {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": list(shape)}}
    return spec if name is None else {"name": name, **spec}


def mlmodel(
    inputs: Sequence[Spec] | None = None,
    params: Sequence[Spec] | None = None,
    flavors: Mapping[str, Any] | None = None,
    **onnx_flavor: Any,
) -> dict[str, Any]:
    """What stands in ``MLmodel``. ``onnx_flavor``: more keys of it; ``flavors`` instead of it."""
    onnx = {"onnx_version": "1.19.0", "data": "model.onnx", "code": None, **onnx_flavor}
    python = {"loader_module": "mlflow.onnx", "data": "model.onnx", "python_version": "3.11.7"}
    found: dict[str, Any] = {
        "flavors": flavors or {"onnx": onnx, "python_function": python},
        "mlflow_version": "3.17.2",
        "model_id": "m-0123456789abcdef0123456789abcdef",
    }
    if inputs is not None or params is not None:
        found["signature"] = {
            "inputs": None if inputs is None else json.dumps(inputs),
            "outputs": None,
            "params": None if params is None else json.dumps(params),
        }
    return found


def lay(folder: Path, model: onnx.ModelProto, said: Mapping[str, Any], **files: str) -> Path:
    """``model`` in ``folder`` with its ``MLmodel``, at once whole. ``files``: a JSON file's name
    without its ending -> its content."""
    parts = folder.with_name(f".{folder.name}-parts")
    parts.mkdir(parents=True)
    (parts / "model.onnx").write_bytes(model.SerializeToString())
    (parts / "MLmodel").write_text(yaml.safe_dump(dict(said)))
    for name, content in files.items():
        (parts / f"{name}.json").write_text(content)
    return parts.rename(folder)
