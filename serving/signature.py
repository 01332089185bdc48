"""A model's inputs and outputs, as every room sees them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

# Open Inference Protocol name -> (numpy dtype, ONNX elem type, ModelConfig type).
# BF16 has no numpy dtype: its bits travel as uint16. BYTES are object arrays of str.
DATATYPES: dict[str, tuple[str, int, str]] = {
    "BOOL": ("bool", 9, "TYPE_BOOL"),
    "UINT8": ("uint8", 2, "TYPE_UINT8"),
    "UINT16": ("uint16", 4, "TYPE_UINT16"),
    "UINT32": ("uint32", 12, "TYPE_UINT32"),
    "UINT64": ("uint64", 13, "TYPE_UINT64"),
    "INT8": ("int8", 3, "TYPE_INT8"),
    "INT16": ("int16", 5, "TYPE_INT16"),
    "INT32": ("int32", 6, "TYPE_INT32"),
    "INT64": ("int64", 7, "TYPE_INT64"),
    "FP16": ("float16", 10, "TYPE_FP16"),
    "FP32": ("float32", 1, "TYPE_FP32"),
    "FP64": ("float64", 11, "TYPE_FP64"),
    "BYTES": ("object", 8, "TYPE_STRING"),
    "BF16": ("uint16", 16, "TYPE_BF16"),
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """Name, datatype (``FP32``, ...) and shape, -1 for a dimension that may vary."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False
    # The graph's own names for the dimensions ("" where it has none, digits where fixed).
    dim_names: tuple[str, ...] = ()
    # The shape in which a configuration describes it to clients, where that is another one; the
    # tensor is the same.
    described: tuple[int, ...] | None = field(default=None, compare=False)

    @property
    def client_shape(self) -> tuple[int, ...]:
        """The shape that clients are told of."""
        return self.shape if self.described is None else self.described

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return np.dtype(DATATYPES[self.datatype][0])


@dataclass(frozen=True, slots=True)
class Signature:
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    # Outputs that no tensor protocol can carry, and why: ("output_probability: seq(map(...))",).
    left_out: tuple[str, ...] = ()

    @property
    def may_batch(self) -> bool:
        """Whether every input and output has a dynamic axis 0 (necessary, not sufficient)."""
        tensors = self.inputs + self.outputs
        return bool(self.inputs) and all(t.shape and t.shape[0] == -1 for t in tensors)
