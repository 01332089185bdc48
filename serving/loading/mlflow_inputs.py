"""Which columns of MLflow's signature can reach the inputs of an ONNX model. Pure.

ONNX has no type for times, and MLflow hands a model's inputs texts of them; its tensors hold
neither objects nor maps, nor whatever comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from serving.registry.mlmodel import Declared, Field
from serving.signature import Signature, Tensor

# Of columns: to texts alone.
_TEXTS = frozenset({"datetime", "binary"})


def fitted(declared: Declared, signature: Signature) -> Declared:
    """As it is held against requests: ``unusable`` says why none can be, where none can."""
    if declared.form != "columns" or declared.unusable:
        return declared
    pairs = [(field, _input(field, at, signature)) for at, field in enumerate(declared.fields)]
    asked = [(field, tensor) for field, tensor in pairs if tensor is not None]
    unusable = next((why for one in asked if (why := _why_not(*one))), "") or _side_by_side(asked)
    # What no input asks for is passed over, whatever it is.
    fields = (replace(one, datatype=one.datatype or "BYTES") for one in declared.fields)
    return replace(declared, fields=tuple(fields), unusable=unusable)


def _input(field: Field, at: int, signature: Signature) -> Tensor | None:
    """The one that the column goes to: all go to the only one, else each to that of its name."""
    required = [tensor for tensor in signature.inputs if not tensor.optional]
    if len(required) == 1:
        return required[0]
    if field.name is None:
        return signature.inputs[at] if at < len(signature.inputs) else None
    return next((tensor for tensor in signature.inputs if tensor.name == field.name), None)


def _why_not(field: Field, tensor: Tensor) -> str:
    """'' where the column can reach the input."""
    column = f"column '{(field.name or '')[:64]}' is of type {field.kind}"
    if not field.datatype:
        return f"{column}, which no input of an ONNX model is"
    if field.values in _TEXTS and tensor.datatype != "BYTES":
        name = tensor.name[:64]
        return f"{column}, which reaches inputs of texts alone, and '{name}' is {tensor.datatype}"
    return ""


def _side_by_side(asked: Sequence[tuple[Field, Tensor]]) -> str:
    """Columns of one input are the columns of a matrix, where lists have no place."""
    for field, tensor in asked:
        shared = sum(other is tensor for _, other in asked) > 1
        if field.lists and shared:
            name = (field.name or "")[:64]
            return f"column '{name}' is of type {field.kind}, and stands beside others of one input"
    return ""
