"""Tensors of a model as JSON schemas, and a request that works. Pure.

What a schema can't say (that ``data`` has as many elements as ``shape`` says) is said in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from serving.loading.facts import VersionFacts
from serving.model_config.reshape import reshaped
from serving.signature import Signature, Tensor

Json = dict[str, Any]

# JSON has no form for them: they travel in the binary part.
BINARY_ONLY = frozenset({"FP16", "BF16"})
_INTEGERS = {
    name: (int(limits.min), int(limits.max))
    for name, limits in (
        (f"{s}INT{b}", np.iinfo(f"{s}int{b}".lower())) for s in ("", "U") for b in (8, 16, 32, 64)
    )
}
_TEXT = {"type": "string"}


def request_schema(signature: Signature) -> Json:
    """Of the JSON that asks a model."""
    required = sum(not tensor.optional for tensor in signature.inputs)
    names = [tensor.name for tensor in signature.outputs]
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {**_TEXT, "maxLength": 128, "description": "Comes back with the answer."},
            "parameters": {"type": "object"},
            "inputs": {
                "type": "array",
                "description": "Each once, in any order.",
                "minItems": required,
                "maxItems": len(signature.inputs),
                "items": _any_of([input_schema(tensor) for tensor in signature.inputs]),
            },
            "outputs": {
                "type": "array",
                "description": "Which are answered; all where this is left out.",
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"enum": names} if names else _TEXT,
                        "parameters": {"type": "object"},
                    },
                },
            },
        },
    }


def answer_schema(name: str, signature: Signature) -> Json:
    """Of the JSON that a model answers."""
    return {
        "type": "object",
        "required": ["model_name", "model_version", "outputs"],
        "properties": {
            "model_name": {"const": name},
            "model_version": _TEXT,
            "id": _TEXT,
            "parameters": {"type": "object"},
            "outputs": {
                "type": "array",
                "maxItems": len(signature.outputs),
                "items": _any_of([_output_schema(tensor) for tensor in signature.outputs]),
            },
        },
    }


def _any_of(schemas: Sequence[Json]) -> Json:
    if not schemas:
        return {"type": "object"}
    return schemas[0] if len(schemas) == 1 else {"anyOf": list(schemas)}


def input_schema(tensor: Tensor) -> Json:
    words = "May be left out." if tensor.optional else ""
    return _tensor(tensor, words, required=["name", "datatype", "shape"], strict=True)


def _output_schema(tensor: Tensor) -> Json:
    """An output may be asked for as classes, which are texts of another shape."""
    return _tensor(tensor, "", required=["name", "datatype", "shape"], strict=False)


def _tensor(tensor: Tensor, words: str, required: list[str], *, strict: bool) -> Json:
    shape = tensor.client_shape
    datatype: Json = {"const": tensor.datatype} if strict else _TEXT
    described: Json = {
        "type": "object",
        "title": tensor.name,
        "description": f"{words} {tensor.datatype} {list(shape)}, -1 for what may vary.".strip(),
        "required": required,
        "properties": {
            "name": {"const": tensor.name},
            "datatype": datatype,
            "shape": _shape(shape) if strict else {"type": "array", "items": {"type": "integer"}},
            "parameters": {"type": "object"},
            "data": _data(tensor.datatype if strict else ""),
        },
    }
    return described


def _shape(shape: Sequence[int]) -> Json:
    if not shape:
        return {"type": "array", "maxItems": 0}
    dims: list[Json] = [
        {"type": "integer", "minimum": 0} if dim < 0 else {"const": dim} for dim in shape
    ]
    size = len(shape)
    return {"type": "array", "prefixItems": dims, "minItems": size, "maxItems": size}


def _data(datatype: str) -> Json:
    """Flat, or nested as the shape is."""
    words = "In row-major order, flat or nested: as many as the shape says."
    return {
        "type": "array",
        "description": words,
        "items": {"anyOf": [element(datatype), _NESTED]},
    }


_NESTED: Json = {"type": "array"}


def element(datatype: str) -> Json:
    if datatype in _INTEGERS:
        low, high = _INTEGERS[datatype]
        return {"type": "integer", "minimum": low, "maximum": high}
    kinds = {"BOOL": "boolean", "BYTES": "string"}
    if not datatype:
        return {"type": ["number", "string", "boolean"]}
    return {"type": kinds.get(datatype, "number")}


def in_binary(signature: Signature) -> bool:
    """Whether JSON alone can't ask it."""
    return any(tensor.datatype in BINARY_ONLY for tensor in signature.inputs)


def example(facts: VersionFacts, most: int) -> Json | None:
    """A request in JSON that the version answers; None where there is none of ``most`` elements."""
    signature, found = facts.signature, facts.example
    if signature is None or found is None or in_binary(signature) or found.elements > most:
        return None
    feeds = found.make()
    inputs = [_input(t, feeds[t.name]) for t in signature.inputs if t.name in feeds]
    if any(one is None for one in inputs):
        return None
    request: Json = {"inputs": inputs}
    if any(tensor.datatype in BINARY_ONLY for tensor in signature.outputs):
        request["parameters"] = {"binary_data_output": True}
    return request


def _input(tensor: Tensor, array: np.ndarray[Any, Any]) -> Json | None:
    shape: tuple[int, ...] | None = array.shape
    if tensor.described is not None:
        shape = reshaped(array.shape, tensor.shape, tensor.described)
    values = _values(array)
    if shape is None or values is None:
        return None
    return {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": list(shape),
        "data": values,
    }


def _values(array: np.ndarray[Any, Any]) -> list[Any] | None:
    """Flat, a float as the shortest number that its width reads back; None where JSON has none."""
    flat = array.reshape(-1)
    if array.dtype.kind != "f":
        return flat.tolist()
    if not np.isfinite(flat).all():
        return None
    return [float(str(value)) for value in flat]


# Deeper than any tensor that people write; a schema is as deep as it.
_MOST_LISTS = 16


def lists(inner: Json, shape: Sequence[int]) -> Json:
    """Lists in lists of such lengths, -1 for what may vary."""
    if len(shape) > _MOST_LISTS:
        return {"type": "array"}
    for dim in reversed(shape):
        length: Json = {} if dim < 0 else {"minItems": dim, "maxItems": dim}
        inner = {"type": "array", "items": inner, **length}
    return inner


def listed(tensor: Tensor, array: np.ndarray[Any, Any]) -> Any:
    """The values as lists in lists; None where JSON, or a list, has no form for them."""
    shape: tuple[int, ...] | None = array.shape
    if tensor.described is not None:
        shape = reshaped(array.shape, tensor.shape, tensor.described)
    values = _values(array)
    if shape is None or values is None or (array.size == 0 and len(shape) != 1):
        return None
    found = np.empty(array.size, object)
    found[:] = values
    return found.reshape(shape).tolist()
