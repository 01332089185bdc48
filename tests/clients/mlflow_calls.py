"""MLflow's own client against two servers, run by a Python that has MLflow.

``python mlflow_calls.py save FOLDER``: saves ``tensor.onnx``, ``halves.onnx`` and ``columns.onnx``
of FOLDER with MLflow, each with its signature. ``python mlflow_calls.py ask KIND=URL...``: prints a
list with one JSON object for each, key -> what the client made of the answer.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.onnx import save_model
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from mlflow.types import ColSpec, Schema, TensorSpec

ROWS = [[1.0, 2.5, -3.0], [0.0, 1e6, 0.125]]
FRAME = pd.DataFrame(ROWS, columns=["p", "q", "r"])
SIGNATURES = {
    "tensor": Schema([TensorSpec(np.dtype("float32"), (-1, 3), "X")]),
    "halves": Schema([TensorSpec(np.dtype("float16"), (-1, 3), "X")]),
    "columns": Schema([ColSpec("double", name) for name in "pqr"]),
}


def save(folder: Path) -> None:
    for file in folder.glob("*.onnx"):
        example = FRAME if file.stem == "columns" else None
        signature = ModelSignature(inputs=SIGNATURES[file.stem])
        save_model(onnx.load(file), folder / file.stem, signature=signature, input_example=example)


ASKED: dict[str, dict[str, Any]] = {
    "tensor": {
        "array": np.array(ROWS, np.float32),
        "integers": np.array([[1, 2, 3]]),
        "odd numbers": np.array([[np.nan, np.inf, -np.inf]]),
        "other shape": np.array([[1.0, 2.0]], np.float32),
        "other rank": np.array([1.0, 2.0, 3.0], np.float32),
        "none": np.zeros((0, 3), np.float32),
    },
    "halves": {
        "array": np.array([[0.1, 65504.0, -2.5], [1e-8, 3.14159, 2049.0]]),
        "odd numbers": np.array([[np.nan, np.inf, -np.inf]]),
        "other shape": np.array([[1.0, 2.0]]),
    },
    "columns": {
        "frame": FRAME,
        "other order": FRAME[["r", "q", "p"]],
        "more columns": FRAME.assign(s="x"),
        "missing": FRAME.assign(q=[None, 1.0]),
        "integers": FRAME.astype({"p": int}),
        "a column is missing": FRAME[["p", "q"]],
        "texts": FRAME.assign(q=["1", "2.5"]),
        "no numbers": FRAME.assign(q=["a", "b"]),
        "empty": FRAME.iloc[:0],
    },
}


def made_of(call: Callable[[], Any]) -> Any:
    """The predictions, or what the client raises with the server's text."""
    try:
        return call()["predictions"]
    except Exception as error:  # noqa: BLE001 - whatever the client makes of an answer
        return {"error": str(error)}


def ask(url: str, kind: str) -> dict[str, Any]:
    host, _, port = url.rpartition(":")
    client = ScoringServerClient(host.removeprefix("http://"), int(port))
    found = {
        name: made_of(lambda data=data: client.invoke(data)) for name, data in ASKED[kind].items()
    }
    # Each raises for another status than 200.
    client.ping()
    return {**found, "version": bool(client.get_version())}


if __name__ == "__main__":
    if sys.argv[1] == "save":
        save(Path(sys.argv[2]))
    else:
        urls = (one.split("=") for one in sys.argv[2:])
        sys.stdout.write(json.dumps([ask(url, kind) for kind, url in urls]) + "\n")
