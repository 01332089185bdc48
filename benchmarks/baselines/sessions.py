"""onnxruntime sessions of one thread for the first version of each model in a registry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime


def session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def sessions(registry: Path) -> dict[str, Any]:
    return {folder.name: session(folder / "1" / "model.onnx") for folder in registry.iterdir()}
