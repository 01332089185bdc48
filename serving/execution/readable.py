"""Whether this onnxruntime reads a model's IR version and opsets at all.

Asked with an empty graph of the same versions, so that the model itself is not touched: that
is for a trial, in a process of its own.
"""

from __future__ import annotations

from serving.errors import ConfigError
from serving.execution.faults import load_reason
from serving.execution.onnx_file import read
from serving.execution.protobuf_write import field_of, varint_of
from serving.execution.runtime import SEVERITY_FATAL, ort

_IR_VERSION, _GRAPH, _OPSET = 1, 7, 8
# No model has more; what has is refused elsewhere.
_MOST_BYTES = 65536


def why_unreadable(model: bytes) -> str:
    """In words; "" where it may be read, and where no onnxruntime is installed to ask.

    ``model``: a serialized ``ModelProto`` that is whole.
    """
    versions = _versions(model)
    try:
        module = ort()
    except ConfigError:
        return ""
    if len(versions) > _MOST_BYTES:
        return ""
    options = module.SessionOptions()
    options.log_severity_level = SEVERITY_FATAL
    try:
        module.InferenceSession(
            versions + field_of(_GRAPH, _empty_graph()), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # noqa: BLE001 - onnxruntime's classes have no common base
        reason = load_reason(error)
        # Anything else it says is about the empty graph.
        return reason if reason.startswith("the model has ") else ""
    return ""


def _versions(model: bytes) -> bytes:
    """The fields with the versions, as a model of their own."""
    found = read(model)
    opsets = [field_of(_OPSET, opset) for opset in found.opsets]
    if found.ir_version is not None:
        opsets.insert(0, _number(_IR_VERSION, found.ir_version))
    return b"".join(opsets)


def _number(number: int, value: int) -> bytes:
    """A field that is a number: of wire type 0."""
    return varint_of(number << 3) + varint_of(value)


def _empty_graph() -> bytes:
    """One that hands its input on: FP32 of shape [1]."""
    size = field_of(1, _number(1, 1))
    tensor = _number(1, 1) + field_of(2, size)
    value = field_of(1, b"x") + field_of(2, field_of(1, tensor))
    return field_of(2, b"g") + field_of(11, value) + field_of(12, value)
