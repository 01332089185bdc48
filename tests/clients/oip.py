"""Building and reading Open Inference Protocol messages without a client library's help."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2 as pb

# BF16 travels as the uint16 of its bits.
DTYPES: dict[str, Any] = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "BF16": np.uint16,
    "FP32": np.float32,
    "FP64": np.float64,
    "BYTES": np.object_,
}
NAMES = {np.dtype(value): key for key, value in DTYPES.items() if key != "BF16"}

CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}

SAMPLES: dict[str, np.ndarray] = {
    "BOOL": np.array([[True, False, True]]),
    "UINT8": np.array([[0, 1, 255]], np.uint8),
    "UINT16": np.array([[0, 1, 65535]], np.uint16),
    "UINT32": np.array([[0, 1, 2**32 - 1]], np.uint32),
    "UINT64": np.array([[0, 1, 2**64 - 1]], np.uint64),
    "INT8": np.array([[-128, 0, 127]], np.int8),
    "INT16": np.array([[-(2**15), 0, 2**15 - 1]], np.int16),
    "INT32": np.array([[-(2**31), 0, 2**31 - 1]], np.int32),
    "INT64": np.array([[-(2**63), 0, 2**63 - 1]], np.int64),
    "FP16": np.array([[-65504, 0.1, np.inf]], np.float16),
    "BF16": np.array([[0x3F80, 0xFF80, 0x0001]], np.uint16),
    "FP32": np.array([[-3.4028235e38, 0.1, 1e-45]], np.float32),
    "FP64": np.array([[-1.7976931348623157e308, 0.1, 5e-324]], np.float64),
    "BYTES": np.array([["", "plain", "nul\0 é 漢字 🎈"]], np.object_),
}


def datatype_of(array: np.ndarray) -> str:
    return "BYTES" if array.dtype.kind in "OSU" else NAMES[array.dtype]


def _bytes_of(element: object) -> bytes:
    return element if isinstance(element, bytes) else str(element).encode()


def encode(array: np.ndarray, datatype: str) -> bytes:
    if datatype != "BYTES":
        return np.ascontiguousarray(array).tobytes()
    elements = (_bytes_of(element) for element in array.reshape(-1))
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def decode(data: bytes, datatype: str, shape: Iterable[int]) -> np.ndarray:
    shape = tuple(shape)
    if datatype != "BYTES":
        return np.frombuffer(data, DTYPES[datatype]).reshape(shape)
    elements, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        elements.append(data[at + 4 : at + 4 + length].decode())
        at += 4 + length
    array = np.empty(len(elements), np.object_)
    array[:] = elements
    return array.reshape(shape)


def set_parameters(target: Any, parameters: Mapping[str, object]) -> None:
    for key, value in parameters.items():
        kinds = {bool: "bool_param", int: "int64_param", str: "string_param", float: "double_param"}
        setattr(target[key], kinds[type(value)], value)


def grpc_request(
    model: str,
    inputs: Mapping[str, np.ndarray],
    *,
    datatypes: Mapping[str, str] | None = None,
    typed: bool = False,
    outputs: Iterable[str] = (),
    version: str = "",
    request_id: str = "",
    parameters: Mapping[str, object] | None = None,
) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name=model, model_version=version, id=request_id)
    set_parameters(request.parameters, parameters or {})
    for name, array in inputs.items():
        datatype = (datatypes or {}).get(name) or datatype_of(array)
        tensor = request.inputs.add(name=name, datatype=datatype, shape=array.shape)
        if typed:
            values = array.reshape(-1).tolist()
            if datatype == "BYTES":
                values = [_bytes_of(value) for value in values]
            getattr(tensor.contents, CONTENTS[datatype]).extend(values)
        else:
            request.raw_input_contents.append(encode(array, datatype))
    for name in outputs:
        request.outputs.add(name=name)
    return request


def grpc_arrays(response: pb.ModelInferResponse) -> dict[str, np.ndarray]:
    assert len(response.outputs) == len(response.raw_output_contents)
    return {
        output.name: decode(raw, output.datatype, output.shape)
        for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }


def json_input(name: str, array: np.ndarray, datatype: str | None = None) -> dict[str, Any]:
    """One JSON input, its data flat."""
    return {
        "name": name,
        "shape": list(array.shape),
        "datatype": datatype or datatype_of(array),
        "data": array.reshape(-1).tolist(),
    }


def json_arrays(body: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {
        one["name"]: np.array(one["data"], DTYPES[one["datatype"]]).reshape(one["shape"])
        for one in body["outputs"]
    }


def binary_body(
    inputs: Mapping[str, np.ndarray],
    datatypes: Mapping[str, str] | None = None,
    **extra: object,
) -> tuple[bytes, dict[str, str]]:
    """The body and headers of the binary tensor extension, outputs binary too."""
    described, tail = [], b""
    for name, array in inputs.items():
        datatype = (datatypes or {}).get(name) or datatype_of(array)
        data = encode(array, datatype)
        described.append(
            {
                "name": name,
                "shape": list(array.shape),
                "datatype": datatype,
                "parameters": {"binary_data_size": len(data)},
            }
        )
        tail += data
    extra = {"parameters": {"binary_data_output": True}, **extra}
    head = json.dumps({"inputs": described, **extra}).encode()
    headers = {
        "Inference-Header-Content-Length": str(len(head)),
        "Content-Type": "application/octet-stream",
    }
    return head + tail, headers


def binary_arrays(body: bytes, headers: Mapping[str, str]) -> dict[str, np.ndarray]:
    length = int(headers.get("inference-header-content-length", len(body)))
    head, at, arrays = json.loads(body[:length]), length, {}
    for output in head["outputs"]:
        if "data" in output:
            arrays |= json_arrays({"outputs": [output]})
            continue
        size = output["parameters"]["binary_data_size"]
        arrays[output["name"]] = decode(body[at : at + size], output["datatype"], output["shape"])
        at += size
    assert at == len(body)
    return arrays
