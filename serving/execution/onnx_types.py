"""Which outputs of an ONNX file no tensor protocol can carry, read off its bytes.

What a session says of a loaded model (``serving.execution.graph``), without onnxruntime.
"""

from __future__ import annotations

from serving import _core
from serving.execution.onnx_file import NotOnnxError
from serving.signature import DATATYPES, LeftOut

_CARRIED = frozenset(number for _, number, _ in DATATYPES.values())


def left_out(model: bytes) -> tuple[LeftOut, ...]:
    """The outputs that are stated to be no tensor of a datatype that is carried.

    Raises NotOnnxError for what is no whole ModelProto.
    """
    try:
        _, outputs = _core.onnx_interface(model)
    except ValueError as error:
        raise NotOnnxError(str(error)) from None
    return tuple(
        LeftOut(name or "", words)
        for name, _, words, element, _ in outputs
        if words and element not in _CARRIED
    )
