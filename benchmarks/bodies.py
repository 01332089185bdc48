"""Requests as files and scripts for h2load and wrk."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

from serving.wire import messages, tf_messages, tfs_messages

INFER = "/inference.GRPCInferenceService/ModelInfer"
PREDICT = "/tensorflow.serving.PredictionService/Predict"


def row(shape: tuple[int, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """One row of plausible values, always the same."""
    return np.random.default_rng(5).random((1, *shape), np.float32)


def message(model: str, shape: tuple[int, ...], more: float = 0.0) -> bytes:
    """A serialized ``ModelInferRequest`` of one row, raw contents; each value so much ``more``."""
    values = row(shape) + np.float32(more)
    request = messages.ModelInferRequest(model_name=model)
    request.inputs.add(name="x", datatype="FP32", shape=values.shape)
    request.raw_input_contents.append(values.astype("<f4").tobytes())
    content: bytes = request.SerializeToString()
    return content


def grpc_file(folder: Path, model: str, shape: tuple[int, ...]) -> Path:
    """The request with gRPC's five-byte prefix, as h2load sends it."""
    return _framed(folder / f"{model}.grpc", message(model, shape))


def region_file(folder: Path, model: str, shape: tuple[int, ...], region: str) -> Path:
    """The same request with its row at the beginning of a region of shared memory."""
    values = row(shape)
    request = messages.ModelInferRequest(model_name=model)
    tensor = request.inputs.add(name="x", datatype="FP32", shape=values.shape)
    tensor.parameters["shared_memory_region"].string_param = region
    tensor.parameters["shared_memory_byte_size"].int64_param = values.astype("<f4").nbytes
    return _framed(folder / f"{model}.region", request.SerializeToString())


def predict_file(folder: Path, model: str, shape: tuple[int, ...]) -> Path:
    """The same row as a ``PredictRequest``, as ``tf.make_tensor_proto`` writes it."""
    values = row(shape)
    tensor = tf_messages.TensorProto(dtype=tf_messages.enum("DataType")["DT_FLOAT"])
    for size in values.shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_content = values.astype("<f4").tobytes()
    request = tfs_messages.PredictRequest()
    request.model_spec.name = model
    request.inputs["x"].CopyFrom(tensor)
    return _framed(folder / f"{model}.predict", request.SerializeToString())


def _framed(path: Path, content: bytes) -> Path:
    path.write_bytes(struct.pack(">BI", 0, len(content)) + content)
    return path


def json_script(folder: Path, model: str, shape: tuple[int, ...]) -> Path:
    """A wrk script that posts the row as JSON."""
    values = row(shape)
    tensor = {"name": "x", "datatype": "FP32", "shape": values.shape, "data": values.tolist()}
    return _wrk_script(
        folder / f"{model}.json.lua",
        json.dumps({"inputs": [tensor]}).encode(),
        {"Content-Type": "application/json"},
    )


def rows_script(folder: Path, model: str, shape: tuple[int, ...]) -> Path:
    """A wrk script that posts the row as TensorFlow Serving's clients do."""
    body = json.dumps({"instances": row(shape).tolist()}).encode()
    headers = {"Content-Type": "application/json"}
    return _wrk_script(folder / f"{model}.rows.lua", body, headers)


def scoring_script(folder: Path, model: str, shape: tuple[int, ...]) -> Path:
    """A wrk script that posts the row as MLflow's clients do."""
    body = json.dumps({"inputs": {"x": row(shape).tolist()}}).encode()
    headers = {"Content-Type": "application/json"}
    return _wrk_script(folder / f"{model}.scoring.lua", body, headers)


def binary_script(folder: Path, model: str, shape: tuple[int, ...]) -> Path:
    """A wrk script that posts the row in binary form and asks for the answer so."""
    values = row(shape)
    raw = values.astype("<f4").tobytes()
    tensor = {
        "name": "x",
        "datatype": "FP32",
        "shape": values.shape,
        "parameters": {"binary_data_size": len(raw)},
    }
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(head)),
    }
    return _wrk_script(folder / f"{model}.binary.lua", head + raw, headers)


def _wrk_script(path: Path, body: bytes, headers: dict[str, str]) -> Path:
    content = path.with_suffix(".body")
    content.write_bytes(body)
    lines = [f'local file = io.open("{content}", "rb")', 'wrk.method = "POST"']
    lines += ['wrk.body = file:read("*a")', "file:close()"]
    lines += [f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items()]
    path.write_text("\n".join(lines) + "\n")
    return path
