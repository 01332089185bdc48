"""What MLflow notes beside a model that it saved (``MLmodel``): where it comes from, how it is to
be run, and which inputs it takes.

Read strictly where it is used: a file that cannot be read says so in words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeGuard

import yaml

from serving.registry.copying import PublishError
from serving.user_files import (
    LinkOutError,
    NotRegularError,
    TooLargeError,
    read_file,
    read_inside,
)

FILE = "MLmodel"
_MAX_BYTES = 1024 * 1024
_MAX_ID = 256
_MOST_FIELDS = 65_536
_LARGEST = 2**63 - 1

# MLflow's name of a column's type -> the datatype that its values have first.
_COLUMNS = {
    "boolean": "BOOL",
    "integer": "INT32",
    "long": "INT64",
    "float": "FP32",
    "double": "FP64",
    "string": "BYTES",
    # Texts to clients: a time, and base64.
    "datetime": "BYTES",
    "binary": "BYTES",
}
# Lists in lists that a column may be declared as: as many dimensions as numpy has.
_MOST_LISTS = 32
# numpy's name of a tensor's dtype -> the same.
_TENSORS = {
    **{
        f"{kind}{bits}": f"{kind.upper()}{bits}"
        for kind in ("int", "uint")
        for bits in (8, 16, 32, 64)
    },
    "bool": "BOOL",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "str": "BYTES",
    "object": "BYTES",
}


class MlmodelError(ValueError):
    """The file is not one of MLflow's; the words carry no path."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Empty where the file doesn't say."""

    run_id: str = ""
    model_id: str = ""


@dataclass(frozen=True, slots=True)
class Field:
    """One input: a tensor, or a column of a data frame, whose shape is empty.

    ``name``: None where it has none; ``datatype``: what its values are before they become the
    model's own, empty for what no tensor holds; ``kind``: in MLflow's words; ``values``: MLflow's
    name of what lies in the ``lists`` of a column that is an array, else of the column itself.
    """

    name: str | None
    datatype: str
    shape: tuple[int, ...]
    required: bool
    kind: str
    values: str = ""
    lists: int = 0


@dataclass(frozen=True, slots=True)
class Declared:
    """The signature. ``params``: (name, type, whether it is a list) of each parameter;
    ``unusable``: why no request can be held against it."""

    form: Literal["", "tensors", "columns"] = ""
    fields: tuple[Field, ...] = ()
    params: tuple[tuple[str, str, bool], ...] = ()
    unusable: str = ""


NOTHING_DECLARED = Declared()


@dataclass(frozen=True, slots=True)
class Mlmodel:
    """``onnx``: what the file says of a model in ONNX's format; None where it has none."""

    origin: Origin
    flavors: tuple[str, ...] = ()
    onnx: Mapping[str, Any] | None = None
    declared: Declared = NOTHING_DECLARED


def read_origin(folder: Path) -> Origin:
    """Of an MLflow model's folder; all empty where it is none.

    Raises PublishError for a file that isn't one of MLflow's, OSError.
    """
    try:
        # Named by who publishes it, and copied whatever links it is behind.
        found = _table(lambda: read_file(folder / FILE, _MAX_BYTES))
        return Origin() if found is None else _origin(found)
    except MlmodelError as error:
        raise PublishError(str(error)) from None


def read(folder: Path) -> Mlmodel | None:
    """The file in a version's folder; None where there is none.

    Raises MlmodelError, OSError.
    """
    found = _table(lambda: read_inside(folder, FILE, _MAX_BYTES))
    if found is None:
        return None
    flavors = _mapping(found.get("flavors"), "its flavors")
    onnx = flavors.get("onnx")
    return Mlmodel(
        origin=_origin(found),
        flavors=tuple(sorted(map(str, flavors)))[:16],
        onnx=None if onnx is None else MappingProxyType(dict(_mapping(onnx, "its onnx flavor"))),
        declared=_declared(found.get("signature")),
    )


def _table(read: Callable[[], bytes]) -> dict[Any, Any] | None:
    try:
        content = read()
    except (FileNotFoundError, NotRegularError):
        return None
    except LinkOutError:
        raise MlmodelError(f"{FILE} is a link that leaves its folder") from None
    except TooLargeError:
        raise MlmodelError(f"{FILE} has more than {_MAX_BYTES} bytes") from None
    try:
        found = yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise MlmodelError(f"{FILE} is not YAML") from None
    if not isinstance(found, dict):
        raise MlmodelError(f"{FILE} is not a table of keys")
    return found


def _origin(found: Mapping[Any, Any]) -> Origin:
    return Origin(_identifier(found.get("run_id")), _identifier(found.get("model_id")))


def _identifier(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > _MAX_ID or not value.isprintable():
        raise MlmodelError(f"{FILE} holds an id that is no short text")
    return value


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MlmodelError(f"{FILE}: {what} must be a table of keys")
    return value


def _declared(signature: object) -> Declared:
    said = _mapping(signature, "its signature")
    inputs = _specs(said.get("inputs"), "inputs")
    params = tuple(_param(one) for one in _specs(said.get("params"), "params"))
    if not inputs:
        return Declared(params=params)
    are_tensors = [one.get("type") == "tensor" for one in inputs]
    if any(are_tensors) and not all(are_tensors):
        raise MlmodelError(f"{FILE}: its inputs are tensors and columns at once")
    fields, unusable = [], ""
    for one in inputs:
        found: Field | str = _tensor(one) if are_tensors[0] else _column(one)
        if isinstance(found, str):
            unusable = unusable or found
        else:
            fields.append(found)
    named = {one.name is not None for one in fields}
    if len(named) > 1 or (are_tensors[0] and named == {False} and len(fields) > 1):
        raise MlmodelError(f"{FILE}: some of its inputs have names and some have none")
    names = [one.name for one in fields if one.name is not None]
    if len(set(names)) < len(names):
        raise MlmodelError(f"{FILE}: two of its inputs have the same name")
    return Declared("tensors" if are_tensors[0] else "columns", tuple(fields), params, unusable)


def _specs(text: object, what: str) -> list[dict[str, Any]]:
    """A list of tables as JSON, which the file holds as a text: as a value of YAML's own, aliases
    could make a small file huge texts and shapes."""
    if text is None:
        return []
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        raise MlmodelError(f"{FILE}: its {what} are not JSON") from None
    if not isinstance(found, list) or len(found) > _MOST_FIELDS:
        raise MlmodelError(f"{FILE}: its {what} must be a list, as a text in JSON")
    if not all(isinstance(one, dict) for one in found):
        raise MlmodelError(f"{FILE}: its {what} must be a list of tables")
    return found


def _name(one: Mapping[str, Any]) -> str | None:
    name = one.get("name")
    if name is not None and not _is_text(name):
        raise MlmodelError(f"{FILE}: the name of an input must be a text")
    return name


def _is_text(value: object) -> TypeGuard[str]:
    """JSON can escape half of a character, which is no text."""
    return isinstance(value, str) and not any("\ud800" <= one <= "\udfff" for one in value)


def _tensor(one: Mapping[str, Any]) -> Field | str:
    spec = _mapping(one.get("tensor-spec"), "a tensor-spec")
    dtype, shape = str(spec.get("dtype")), spec.get("shape")
    if not isinstance(shape, list) or any(
        type(d) is not int or not -1 <= d <= _LARGEST for d in shape
    ):
        raise MlmodelError(f"{FILE}: the shape of an input must be a list of sizes")
    # numpy writes the length of texts.
    datatype = "BYTES" if dtype.startswith("<U") else _TENSORS.get(dtype)
    if datatype is None:
        return f"input '{_name(one) or ''}' is a tensor of {dtype[:32]}"
    return Field(_name(one), datatype, tuple(shape), one.get("required", True) is not False, dtype)


def _column(one: Mapping[str, Any]) -> Field:
    kind, values, lists = _kind(one)
    required = one.get("required", True) is not False
    return Field(_name(one), _COLUMNS.get(values, ""), (), required, kind, values, lists)


def _kind(one: Mapping[str, Any]) -> tuple[str, str, int]:
    """A column's type as MLflow prints it, the type of its values, and in how many lists they
    lie."""
    lists, inner = 0, one
    while inner.get("type") == "array" and lists < _MOST_LISTS:
        inner = _mapping(inner.get("items"), "the items of an array")
        lists += 1
    values = str(inner.get("type"))[:32]
    return "Array(" * lists + values + ")" * lists, values, lists


def _param(one: Mapping[str, Any]) -> tuple[str, str, bool]:
    name = one.get("name")
    if not _is_text(name):
        raise MlmodelError(f"{FILE}: the name of a parameter must be a text")
    return name, str(one.get("type")), one.get("shape") is not None
