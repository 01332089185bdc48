"""An ONNX file's inputs and outputs as it states them, read without onnxruntime.

For comparing one file with another. What it doesn't state (a shape that onnxruntime would infer,
a type that no protocol can carry) isn't known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from serving import _core
from serving.execution.onnx_file import MOST_BYTES, NotOnnxError
from serving.signature import DATATYPES, Signature, Tensor, difference
from serving.user_files import read_file

if TYPE_CHECKING:
    from serving._core import _Stated

_DATATYPES = {element: datatype for datatype, (_, element, _) in DATATYPES.items()}


def differences(old: bytes, new: bytes) -> tuple[str, ...]:
    """In which ways callers of one serialized model would be wrong with another, as far as both
    state it. Raises NotOnnxError."""
    before, after = stated_signature(old), stated_signature(new)
    return difference(_known_to(before, after), _known_to(after, before))


def differences_of_files(old: Path, new: Path) -> tuple[str, ...]:
    """``differences`` of two files; none where one of them can't be read."""
    try:
        return differences(read_file(old, MOST_BYTES), read_file(new, MOST_BYTES))
    except (OSError, NotOnnxError):
        return ()


def stated_signature(model: bytes) -> Signature:
    """Of one serialized model. Raises NotOnnxError."""
    try:
        inputs, outputs = _core.onnx_interface(model)
    except ValueError as error:
        raise NotOnnxError(str(error)) from None
    return Signature(tuple(_tensors(inputs)), tuple(_tensors(outputs)))


def _tensors(stated: Iterable[_Stated]) -> Iterator[Tensor]:
    """Those of types that can be carried; without a shape their ``dim_names`` are ("?",)."""
    for name, is_given, _, element, sizes in stated:
        datatype = _DATATYPES.get(element or 0)
        if datatype is None:
            continue
        if name is None:
            raise NotOnnxError("is not a whole ONNX protobuf")
        unknown = ("?",) if sizes is None else ()
        yield Tensor(name, datatype, sizes or (), is_given, unknown)


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
