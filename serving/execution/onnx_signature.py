"""An ONNX file's inputs and outputs as it states them, read without onnxruntime.

For comparing one file with another. What it doesn't state (a shape that onnxruntime would infer,
a type that no protocol can carry) isn't known here. Field numbers are those of ONNX's public
schema.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from serving.execution.onnx_file import MOST_BYTES
from serving.execution.protobuf_walk import NotOnnxError, fields, messages, text
from serving.signature import DATATYPES, Signature, Tensor, difference
from serving.user_files import read_file

_DATATYPES = {element: datatype for datatype, (_, element, _) in DATATYPES.items()}
_GRAPH, _INITIALIZER, _INPUT, _OUTPUT = 7, 5, 11, 12


def differences(old: bytes, new: bytes) -> tuple[str, ...]:
    """In which ways callers of one serialized model would be wrong with another, as far as both
    state it. Raises NotOnnxError."""
    try:
        before, after = _read(old), _read(new)
    except (IndexError, UnicodeDecodeError, KeyError):
        raise NotOnnxError("is not a whole ONNX protobuf") from None
    return difference(_known_to(before, after), _known_to(after, before))


def differences_of_files(old: Path, new: Path) -> tuple[str, ...]:
    """``differences`` of two files; none where one of them can't be read."""
    try:
        return differences(read_file(old, MOST_BYTES), read_file(new, MOST_BYTES))
    except (OSError, NotOnnxError):
        return ()


def _read(model: bytes) -> Signature:
    given: set[str] = set()
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []
    graphs = [value for number, value in messages(memoryview(model)) if number == _GRAPH]
    for number, value in (pair for graph in graphs for pair in messages(graph)):
        if number == _INITIALIZER:
            given.update(text(name) for field, name in messages(value) if field == 8)
        elif number in (_INPUT, _OUTPUT):
            (inputs if number == _INPUT else outputs).extend(_tensor(value))
    optional = [Tensor(t.name, t.datatype, t.shape, t.name in given, t.dim_names) for t in inputs]
    return Signature(tuple(optional), tuple(outputs))


def _tensor(value: memoryview) -> Iterator[Tensor]:
    """One, if the type can be carried; without a shape its ``dim_names`` are ("?",)."""
    parts = dict(messages(value))
    kind = dict(messages(parts[2])).get(1) if 2 in parts else None
    stated = {number: found for number, _, found in fields(kind)} if kind is not None else {}
    element, shape = stated.get(1), stated.get(2)
    if not isinstance(element, int) or element not in _DATATYPES:
        return
    sizes = tuple(_sizes(shape)) if isinstance(shape, memoryview) else None
    unknown = ("?",) if sizes is None else ()
    yield Tensor(text(parts[1]), _DATATYPES[element], sizes or (), dim_names=unknown)


def _sizes(shape: memoryview) -> Iterator[int]:
    for number, dimension in messages(shape):
        if number == 1:
            sizes = [value for field, _, value in fields(dimension) if field == 1]
            yield sizes[0] if sizes and isinstance(sizes[0], int) and sizes[0] > 0 else -1


def _known_to(mine: Signature, other: Signature) -> Signature:
    """With the shapes that only one of both states left out of both."""
    unstated = {
        t.name
        for signature in (mine, other)
        for t in (*signature.inputs, *signature.outputs)
        if t.dim_names
    }

    def known(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(
            Tensor(t.name, t.datatype, (), t.optional) if t.name in unstated else t for t in tensors
        )

    return Signature(known(mine.inputs), known(mine.outputs))
