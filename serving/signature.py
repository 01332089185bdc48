"""A model's inputs and outputs, as every room sees them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

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

# Outputs left out that a note names one by one.
_MOST_SAID = 3


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
class LeftOut:
    """An output that no tensor protocol can carry; ``type`` as onnxruntime writes it:
    ``seq(map(int64,tensor(float)))``."""

    name: str
    type: str

    def __str__(self) -> str:
        return f"{self.name}: {self.type}"

    @property
    def why(self) -> str:
        """What it is, and how the model would give a tensor instead."""
        return f"the model gives it as {self.type}, which no tensor protocol carries; {self._cure}"

    @property
    def _cure(self) -> str:
        if "map(" in self.type:
            return "convert the model with options={'zipmap': False} (skl2onnx)"
        if self.type.startswith("seq("):
            return "let the model join it to one tensor (ConcatFromSequence)"
        if self.type.startswith("tensor("):
            return "let the model cast it (Cast) to a datatype of the protocol, such as float"
        return "let the model give it as a tensor"


def left_out_notes(outputs: Sequence[LeftOut]) -> tuple[str, ...]:
    """One sentence on all that is left out; none where nothing is."""
    if not outputs:
        return ()
    said = [f"output '{one.name}' is left out: {one.why}" for one in outputs[:_MOST_SAID]]
    more = len(outputs) - len(said)
    return ("; ".join([*said, f"and {more} more outputs"] if more else said),)


@dataclass(frozen=True, slots=True)
class Signature:
    """``left_out``: outputs that the model has and requests cannot get."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def may_batch(self) -> bool:
        """Whether every input and output has a dynamic axis 0 (necessary, not sufficient)."""
        tensors = self.inputs + self.outputs
        return bool(self.inputs) and all(t.shape and t.shape[0] == -1 for t in tensors)

    @property
    def has_texts(self) -> bool:
        """Whether it takes or gives any."""
        return any(tensor.datatype == "BYTES" for tensor in self.inputs + self.outputs)

    def seen_by_clients(self) -> Signature:
        """What requests can tell of it: the shapes in which it is described to clients, and
        neither the graph's names for dimensions nor what is left out."""
        return Signature(_seen(self.inputs), _seen(self.outputs))


def _seen(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Most are seen as they are."""
    return tuple(
        replace(tensor, shape=tensor.client_shape, described=None, dim_names=())
        if tensor.described is not None or tensor.dim_names
        else tensor
        for tensor in tensors
    )


def difference(old: Signature, new: Signature) -> tuple[str, ...]:
    """In which ways a caller who knows ``old`` would be wrong with ``new``; empty: in none.
    Shapes are those that clients see, which a configuration's ``reshape`` changes.

    What only widens passes: more optional inputs, an input that may be left out now, more
    outputs, a fixed dimension that may vary now. An output's dimension that no longer varies
    passes too: its callers have to take any size.
    """
    if old is new:
        return ()
    old, new = old.seen_by_clients(), new.seen_by_clients()
    if old == new:
        return ()
    return (*_inputs_differ(old, new), *_outputs_differ(old, new))


def _inputs_differ(old: Signature, new: Signature) -> Iterator[str]:
    before = {tensor.name: tensor for tensor in old.inputs}
    after = {tensor.name: tensor for tensor in new.inputs}
    for name, tensor in before.items():
        if name not in after:
            yield f"input '{name}' is missing"
        else:
            yield from _tensor_differs("input", tensor, after[name])
    for name, tensor in after.items():
        was_required = name in before and not before[name].optional
        if not (tensor.optional or was_required):
            new_one = "is required now" if name in before else "is new and required"
            yield f"input '{name}' {new_one}"


def _outputs_differ(old: Signature, new: Signature) -> Iterator[str]:
    after = {tensor.name: tensor for tensor in new.outputs}
    for tensor in old.outputs:
        if tensor.name not in after:
            yield f"output '{tensor.name}' is missing"
        else:
            yield from _tensor_differs("output", tensor, after[tensor.name])


def _tensor_differs(what: str, old: Tensor, new: Tensor) -> Iterator[str]:
    if old.datatype != new.datatype:
        yield f"{what} '{old.name}' is {new.datatype}, was {old.datatype}"
    may_vary = what == "output"
    if len(old.shape) != len(new.shape) or any(
        after not in (-1, before) and not (may_vary and before == -1)
        for before, after in zip(old.shape, new.shape, strict=False)
    ):
        yield f"{what} '{old.name}' has shape {_dims(new)}, had {_dims(old)}"


def _dims(tensor: Tensor) -> str:
    return f"[{','.join(str(size) for size in tensor.shape)}]"
