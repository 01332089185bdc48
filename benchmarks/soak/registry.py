"""The soak's models and what is done to them: published, broken, rolled back, deleted."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.models import IR_VERSION, OPSET
from serving import publish
from serving.registry.manifest import MANIFEST_NAME

SETTLED_WITHIN_S = 60.0


def scaled(factor: float, weights: int) -> bytes:
    """y = x * factor; z looks the largest of x's row up in a table of ``weights`` bytes."""
    table = np.full((weights // 16, 4), factor, np.float32)
    nodes = [
        helper.make_node("Mul", ["x", "factor"], ["y"]),
        helper.make_node("ReduceMax", ["x"], ["most"], axes=[1], keepdims=0),
        helper.make_node("Cast", ["most"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["z"]),
    ]
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "scaled",
        [tensor("x", TensorProto.FLOAT, ["N", 4])],
        [tensor("y", TensorProto.FLOAT, ["N", 4]), tensor("z", TensorProto.FLOAT, ["N", 4])],
        [
            numpy_helper.from_array(np.float32(factor).reshape(1), "factor"),
            numpy_helper.from_array(table, "table"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


class Model:
    """One model of the registry, and what its versions must answer."""

    def __init__(self, root: Path, name: str, admin_port: int, weights: int) -> None:
        self.name = name
        self._root, self._weights = root, weights
        self._admin = f"http://127.0.0.1:{admin_port}/api/v1/models/{name}"
        self._next = 1
        # version -> factor; asked by the witnesses' thread, so entries only ever come.
        self.factors: dict[int, float] = {}

    def factor(self, version: int) -> float | None:
        return self.factors.get(version)

    # What is done

    def publish(self) -> int:
        """A new version, with a manifest."""
        version, self._next = self._next, self._next + 1
        self.factors[version] = float(version % 50 + 1)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.onnx"
            file.write_bytes(scaled(self.factors[version], self._weights))
            publish(file, self._root, self.name, version=version)
        return version

    def publish_broken(self) -> int:
        """A new version whose file was cut short on the way."""
        version, self._next = self._next, self._next + 1
        unfinished = self._root / self.name / f".copying-{version}"
        unfinished.mkdir()
        content = scaled(1.0, self._weights)
        (unfinished / "model.onnx").write_bytes(content[: len(content) // 2])
        unfinished.rename(unfinished.with_name(str(version)))
        return version

    def overwrite(self, version: int) -> None:
        """The same answers from other files, written in place over what is loaded."""
        folder = self._root / self.name / str(version)
        (folder / MANIFEST_NAME).unlink(missing_ok=True)
        (folder / "model.onnx").write_bytes(scaled(self.factors[version], self._weights))
        (folder / "note.txt").write_text(str(time.time_ns()))

    def delete(self, version: int) -> None:
        shutil.rmtree(self._root / self.name / str(version), ignore_errors=True)

    def delete_all_but(self, kept: set[int]) -> None:
        for folder in (self._root / self.name).iterdir():
            if folder.name.isdigit() and int(folder.name) not in kept:
                shutil.rmtree(folder)

    def tell(self, what: str, body: Mapping[str, object] | None = None) -> None:
        """A command on the admin port, until it is done. Raises RuntimeError with its words."""
        request = urllib.request.Request(
            f"{self._admin}/{what}?wait=true&timeout={SETTLED_WITHIN_S:g}",
            data=json.dumps(body or {}).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=2 * SETTLED_WITHIN_S) as answer:
                if answer.status != 200:
                    raise RuntimeError(f"{self.name} {what}: {answer.read().decode()}")
        except urllib.error.HTTPError as error:
            with error:
                raise RuntimeError(f"{self.name} {what}: {error.read().decode()}") from None

    # What is seen

    def status(self) -> dict[str, Any]:
        with urllib.request.urlopen(self._admin, timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def state(self, version: int) -> str:
        versions = self.status()["versions"]
        return next((v["state"] for v in versions if v["version"] == version), "GONE")

    def wait_default(self, version: int) -> None:
        self.wait(lambda: self.status()["default"] == version, f"version {version} answers")

    def wait_state(self, version: int, state: str) -> None:
        self.wait(lambda: self.state(version) == state, f"version {version} is {state}")

    def wait(self, true: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + SETTLED_WITHIN_S
        while not true():
            if time.monotonic() > end:
                raise RuntimeError(f"{self.name}: not within {SETTLED_WITHIN_S:g} s: {what}")
            time.sleep(0.03)
