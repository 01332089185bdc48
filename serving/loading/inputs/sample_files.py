"""Sample inputs in files, read strictly and within bounds.

Forms: ``.npz`` (one array an input), ``.npy`` (a model with one input), and JSON: the Open
Inference Protocol's request, or what MLflow writes (a dict of lists, a data frame in the
split or records form, a plain list), bare or wrapped as a scoring request.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from serving.loading.inputs.generated import Array, Feeds
from serving.model_config.reshape import reshaped
from serving.signature import Signature, Tensor
from serving.user_files import TooLargeError, read_file

# What MLflow's scoring requests wrap their data in.
_WRAPPERS = ("inputs", "instances", "dataframe_split", "dataframe_records")
INTEGERS = frozenset({"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"})


class UnfitError(ValueError):
    """The file is not a sample of this model; the text says why, without a path."""


def read(folder: Path, name: str, signature: Signature, most_bytes: int) -> Feeds:
    """The inputs in file ``name`` below ``folder``.

    Raises UnfitError: no such file, too large, not of a known form, or other inputs,
    datatypes or shapes than the signature's.
    """
    path = _below(folder, name)
    suffix = PurePosixPath(name).suffix
    if suffix not in (".npz", ".npy", ".json"):
        raise UnfitError(f"a sample is a .npz, .npy or .json file, got '{suffix}'")
    try:
        content = read_file(path, most_bytes)
        given = _json(content) if suffix == ".json" else _arrays(content, suffix, most_bytes)
    except FileNotFoundError:
        raise UnfitError("there is no such file") from None
    except TooLargeError:
        raise UnfitError(f"it has more than {most_bytes} bytes") from None
    except OSError as error:
        raise UnfitError(f"it cannot be read: {(error.strerror or 'error').lower()}") from error
    return fit(given, signature, most_bytes)


def _below(folder: Path, name: str) -> Path:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts:
        raise UnfitError("it lies outside the version's folder")
    path = folder.joinpath(*parts)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise UnfitError("it is a link that leaves the version's folder")
    return path


def _arrays(content: bytes, suffix: str, most_bytes: int) -> Any:
    """npz: name -> array; npy: the array. What a zip would unpack to is bounded first."""
    try:
        if suffix == ".npy":
            return np.load(BytesIO(content), allow_pickle=False)  # file: read already
        with zipfile.ZipFile(BytesIO(content)) as archive:  # file: read already
            if sum(entry.file_size for entry in archive.infolist()) > most_bytes:
                raise UnfitError(f"it unpacks to more than {most_bytes} bytes")
        with np.load(BytesIO(content), allow_pickle=False) as arrays:  # file: read already
            return {key: arrays[key] for key in arrays.files}
    except UnfitError:
        raise
    except (ValueError, zipfile.BadZipFile, EOFError, KeyError, MemoryError) as error:
        raise UnfitError("it is not a numpy file of plain arrays") from error


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UnfitError("it is not JSON") from error


def fit(given: Any, signature: Signature, most_bytes: int) -> Feeds:
    """Arrays or JSON values of any known form as inputs of the signature."""
    named = _named(given, signature)
    known = {tensor.name: tensor for tensor in signature.inputs}
    extra = sorted(named.keys() - known.keys())
    if extra:
        raise UnfitError(f"the model has no input '{extra[0][:64]}'")
    missing = [t.name for t in signature.inputs if not t.optional and t.name not in named]
    if missing:
        raise UnfitError(f"it lacks the input '{missing[0]}'")
    feeds = {name: _value(known[name], value) for name, value in named.items()}
    if sum(array.nbytes for array in feeds.values()) > most_bytes:
        raise UnfitError(f"its inputs have more than {most_bytes} bytes")
    return feeds


def _named(given: Any, signature: Signature) -> Mapping[str, Any]:
    """Input name -> value, whatever form it came in."""
    if isinstance(given, dict):
        if isinstance(given.get("inputs"), list) and _is_request(given["inputs"]):
            return _of_request(given["inputs"])
        wrapped = [key for key in _WRAPPERS if key in given]
        names = {tensor.name for tensor in signature.inputs}
        if wrapped and wrapped[0] not in names:
            return _named(given[wrapped[0]], signature)
        if set(given) >= {"columns", "data"} and not names >= {"columns", "data"}:
            return _of_frame(given["columns"], given["data"], signature)
        return {str(key): value for key, value in given.items()}
    if isinstance(given, list) and given and all(isinstance(row, dict) for row in given):
        columns = list(given[0])
        try:
            return _of_frame(columns, [[row[c] for c in columns] for row in given], signature)
        except KeyError:
            raise UnfitError("its records have different columns") from None
    return {_only_input(signature): given}


def _is_request(inputs: Sequence[Any]) -> bool:
    return bool(inputs) and all(isinstance(one, dict) and "name" in one for one in inputs)


def _of_request(inputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for one in inputs:
        name = one["name"]
        if not isinstance(name, str) or name in named:
            raise UnfitError("an input has no name of its own")
        named[name] = _Declared(one)
    return named


class _Declared:
    """One input of a request: it states datatype and shape beside its data."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.datatype, self.shape, self.data = (
            given.get("datatype"),
            given.get("shape"),
            given.get("data"),
        )

    def array(self, tensor: Tensor) -> Array:
        who = f"input '{tensor.name}'"
        if self.datatype != tensor.datatype:
            raise UnfitError(f"{who}: it is {self.datatype}, the model takes {tensor.datatype}")
        shape = self.shape
        if not isinstance(shape, list) or any(type(dim) is not int or dim < 0 for dim in shape):
            raise UnfitError(f"{who}: its shape is not a list of sizes")
        flat = _cast(tensor, _as_array(who, self.data).reshape(-1))
        if flat.size != int(np.prod(shape, dtype=np.float64)):
            raise UnfitError(f"{who}: {flat.size} values do not have the shape {shape}")
        return flat.reshape(shape)


def _of_frame(columns: Any, data: Any, signature: Signature) -> Mapping[str, Any]:
    """A data frame: one input takes all columns as one matrix, several take one each."""
    if not isinstance(columns, list) or not isinstance(data, list) or not data:
        raise UnfitError("a data frame needs columns and rows")
    if any(not isinstance(row, list) or len(row) != len(columns) for row in data):
        raise UnfitError("its rows do not have as many values as there are columns")
    required = [tensor.name for tensor in signature.inputs if not tensor.optional]
    if len(required) == 1 and required[0] not in columns:
        return {required[0]: data}
    return {str(name): [row[at] for row in data] for at, name in enumerate(columns)}


def _only_input(signature: Signature) -> str:
    required = [tensor.name for tensor in signature.inputs if not tensor.optional]
    if len(required) != 1:
        raise UnfitError(f"it names no inputs, and the model needs {len(required)}")
    return required[0]


def _value(tensor: Tensor, value: Any) -> Array:
    who = f"input '{tensor.name}'"
    if isinstance(value, _Declared):
        array = value.array(tensor)
    else:
        array = _cast(tensor, _as_array(who, value))
        # A column of a data frame, for a model that takes a matrix of one column.
        if array.ndim == 1 and len(tensor.shape) == 2 and tensor.shape[1] in (1, -1):
            array = array.reshape(-1, 1)
    if tensor.described is not None:
        own = reshaped(array.shape, tensor.described, tensor.shape)
        array = array if own is None else array.reshape(own)
    agree = len(array.shape) == len(tensor.shape) and all(
        dim in (-1, size) for dim, size in zip(tensor.shape, array.shape, strict=True)
    )
    if not agree:
        raise UnfitError(
            f"{who} has shape {list(array.shape)}, the model takes {list(tensor.shape)}"
        )
    return array


def _as_array(who: str, value: Any) -> Array:
    try:
        array = np.asarray(value)
    except ValueError:
        raise UnfitError(f"{who}: its rows do not have the same length") from None
    except OverflowError:
        raise UnfitError(f"{who}: a number is too large") from None
    if array.dtype.kind not in "biufUO":
        raise UnfitError(f"{who}: its values are not numbers or texts")
    return array


def _cast(tensor: Tensor, array: Array) -> Array:
    """To the tensor's datatype, losing nothing but a float's last digits."""
    who, datatype, kind = f"input '{tensor.name}'", tensor.datatype, array.dtype.kind
    if datatype == "BYTES":
        if not all(isinstance(text, str) for text in array.reshape(-1).tolist()):
            raise UnfitError(f"{who}: it takes texts")
        return array.astype(object)
    if datatype == "BOOL":
        fits = kind == "b"
    elif datatype in INTEGERS:
        fits = kind in "iu" and _in_range(array, tensor)
    else:
        fits = kind in "iuf"
    if not fits:
        raise UnfitError(f"{who}: its values are not {datatype}")
    if datatype == "BF16":
        bits = array.astype(np.float32).view(np.uint32)
        return np.asarray(bits >> 16, np.uint16)
    with np.errstate(over="ignore"):
        return array.astype(tensor.dtype)


def _in_range(array: Array, tensor: Tensor) -> bool:
    if not array.size:
        return True
    limits = np.iinfo(str(tensor.dtype))
    return int(array.min()) >= limits.min and int(array.max()) <= limits.max
