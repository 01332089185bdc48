"""What must be known of an ONNX file before onnxruntime may see it.

The core walks the file's bytes, and copies no weights: external data references, operator
domains, and which inputs state no shape. It needs neither the ``onnx`` package nor generated
classes, and its depth and cost are bounded.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from serving import _core

# The limit of the protobuf format itself.
MOST_BYTES = 2**31 - 1


class NotOnnxError(ValueError):
    """The bytes are not a whole ONNX protobuf; what they are, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class ExternalData:
    """A tensor kept outside the file: ``entries`` are its keys and values as written.
    ``is_initializer``: it is one of the main graph's."""

    tensor: str
    entries: tuple[tuple[str, str], ...]
    is_initializer: bool = False


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """What the walk found."""

    external: list[ExternalData] = field(default_factory=list)
    # Domains of the operators that nodes use, and of the functions that the file defines.
    domains: set[str] = field(default_factory=set)
    function_domains: set[str] = field(default_factory=set)
    # Names of graph inputs that state no shape, not even a rank.
    unshaped_inputs: set[str] = field(default_factory=set)
    has_graph: bool = False
    sparse_tensors: int = 0
    ir_version: int | None = None
    # Serialized ``OperatorSetIdProto``s.
    opsets: list[bytes] = field(default_factory=list)


def read(model: bytes) -> OnnxFile:
    """Walk a serialized ``ModelProto``.

    Raises NotOnnxError for bytes that are not one: truncated, nested too deep, not protobuf.
    """
    try:
        found = _core.onnx_file(model)
    except ValueError as error:
        raise NotOnnxError(str(error)) from None
    return OnnxFile([ExternalData(*one) for one in found[0]], *found[1:])
