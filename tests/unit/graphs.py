"""ONNX models of one node or two, written into a version's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

node = helper.make_node
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
INT32, UINT8, BOOL = TensorProto.INT32, TensorProto.UINT8, TensorProto.BOOL
STRING, BF16, FP16 = TensorProto.STRING, TensorProto.BFLOAT16, TensorProto.FLOAT16

# A list of numbers and names is one of objects to mypy.
Value = tuple[str, int, Sequence[object] | None]


def model(
    nodes: Sequence[Any],
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    constants: Mapping[str, Any] | None = None,
    *,
    domains: Sequence[str] = (),
    opset: int = 17,
    ir: int = 8,
) -> ModelProto:
    """``constants``: name -> array, or a TensorProto as it is."""
    initializers = [
        value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value), key)
        for key, value in (constants or {}).items()
    ]
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        initializers,
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir)


def one(
    operator: str,
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    constants: Mapping[str, Any] | None = None,
    order: Sequence[str] = (),
    **attributes: Any,
) -> ModelProto:
    """A single node; ``order`` names its inputs where constants come between."""
    names = list(order) or [*(value[0] for value in inputs), *(constants or {})]
    made = node(operator, names, [value[0] for value in outputs], **attributes)
    return model([made], inputs, outputs, constants)


def softmax() -> ModelProto:
    """x [n, 4] -> p [n, 3]: rows independent."""
    weights = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    nodes = [node("MatMul", ["x", "w"], ["z"]), node("Softmax", ["z"], ["p"], axis=-1)]
    return model(nodes, [("x", FLOAT, ["n", 4])], [("p", FLOAT, ["n", 3])], {"w": weights})


def write(folder: Path, made: ModelProto, name: str = "m", version: int = 1) -> Path:
    """Into ``folder/name/version/model.onnx``; the version's folder."""
    place = folder / name / str(version)
    place.mkdir(parents=True, exist_ok=True)
    (place / "model.onnx").write_bytes(made.SerializeToString())
    return place


def external(location: str, folder: Path, data: bytes | None = None, **entries: str) -> Path:
    """y = a + w with w (three floats) kept at ``location``; the version's folder."""
    weights = TensorProto(name="w", data_type=FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        weights.external_data.add(key=key, value=value)
    made = one("Add", [("a", FLOAT, ["n", 3])], [("y", FLOAT, ["n", 3])], {"w": weights})
    place = write(folder, made)
    if data is not None:
        file = place / location
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return place


def unfollowed(source: str, target: str) -> list[Any]:
    """Nodes that hand a tensor on unchanged, in a way that the proof of batching can't follow."""
    return [
        node("SequenceConstruct", [source], [f"{target}_list"]),
        node("SequenceAt", [f"{target}_list", f"{target}_place"], [target]),
    ]
