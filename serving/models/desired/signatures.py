"""The signature that a model's callers know: of the version that last answered them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from serving.signature import DATATYPES, Signature, Tensor

# The form of the document.
_FORM = 1
# All of them together, well below what a document may have; the models that changed longest ago
# are forgotten first, and compared with nothing at their next start.
MAX_BYTES = 3 * 1024 * 1024


class Signatures:
    """By model. Used by the manager's loop only."""

    def __init__(self, document: object = None) -> None:
        """``document``: as ``document()`` gave it. Raises ValueError for any other."""
        self._known = _read(document) if document is not None else {}
        # As the document has them, and how many bytes that is.
        self._written: dict[str, tuple[dict[str, Any], int]] = {}

    def of(self, model: str) -> Signature | None:
        return self._known.get(model)

    def put(self, model: str, signature: Signature) -> bool:
        """Whether that is another than before."""
        signature = signature.seen_by_clients()
        if self._known.get(model) == signature:
            return False
        self.forget(model)
        self._known[model] = signature
        return True

    def forget(self, model: str) -> bool:
        """Whether there was one."""
        self._written.pop(model, None)
        return self._known.pop(model, None) is not None

    def join(self, others: Signatures) -> None:
        """Take those of models that have none here."""
        self._known = {**others._known, **self._known}

    def document(self) -> dict[str, Any]:
        """As JSON carries it."""
        kept: dict[str, Any] = {}
        left = MAX_BYTES
        for model in reversed(self._known):
            if model not in self._written:
                self._written[model] = _as_written(model, self._known[model])
            fields, size = self._written[model]
            left -= size
            if left < 0:
                break
            kept[model] = fields
        return {"form": _FORM, "models": dict(reversed(kept.items()))}


def _as_written(model: str, signature: Signature) -> tuple[dict[str, Any], int]:
    fields = {
        "inputs": [_fields(tensor) for tensor in signature.inputs],
        "outputs": [_fields(tensor) for tensor in signature.outputs],
    }
    return fields, len(json.dumps({model: fields}, ensure_ascii=False).encode())


def _fields(tensor: Tensor) -> dict[str, Any]:
    fields = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
    return {**fields, "optional": True} if tensor.optional else fields


def _read(document: object) -> dict[str, Signature]:
    if not isinstance(document, dict) or document.get("form") != _FORM:
        raise ValueError("it has another form than this version writes")
    models = document.get("models")
    if not isinstance(models, dict):
        raise ValueError("its models are not an object")
    return {model: _signature(model, fields) for model, fields in models.items()}


def _signature(model: str, fields: object) -> Signature:
    if not isinstance(fields, dict):
        raise ValueError(f"{model}: not an object")
    return Signature(
        tuple(_tensors(model, fields.get("inputs"))),
        tuple(_tensors(model, fields.get("outputs"))),
    )


def _tensors(model: str, found: object) -> Iterator[Tensor]:
    for fields in found if isinstance(found, list) else [None]:
        if not isinstance(fields, dict):
            raise ValueError(f"{model}: its tensors are not a list of objects")
        name, datatype, shape = (fields.get(key) for key in ("name", "datatype", "shape"))
        optional = fields.get("optional", False)
        known = isinstance(name, str) and datatype in DATATYPES and isinstance(optional, bool)
        if not known or not isinstance(shape, list) or not all(map(_is_size, shape)):
            raise ValueError(f"{model}: a tensor is not as this version writes it")
        yield Tensor(str(name), str(datatype), tuple(shape), optional)


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= -1
