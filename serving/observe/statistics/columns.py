"""Which features the tensors of a version have, and their values in a handful of samples. Pure.

An input or output whose first axis may vary, or is 1, has a row for each place on it; of any other
each request is one row. Names of columns are those of MLflow's signature, where all of them go to
the only input.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np

from serving.observe.statistics.arrays import Array, SampledTensor, array_of
from serving.signature import Signature, Tensor
from serving.statistics.features import columns_of

if TYPE_CHECKING:
    from serving.loading.facts import VersionFacts

# What the class and the score of an output are called behind its own name.
CLASS, SCORE = ".class", ".score"
_FLOATS = frozenset({"FP16", "BF16", "FP32", "FP64"})
# Classes of an output; with more on the last axis it is something else, such as an image.
_MOST_CLASSES = 65_536


@dataclass(frozen=True, slots=True)
class TensorFeatures:
    """``shape``: as clients see it; ``names``: of its columns, where they have any; ``by_rows``:
    see above; ``scored``: whether its greatest value along the last axis is a class and a
    score."""

    name: str
    shape: tuple[int, ...]
    names: tuple[str, ...] = ()
    optional: bool = False
    by_rows: bool = True
    scored: bool = False

    def has(self, name: str) -> bool:
        """Whether it has a feature of this name."""
        if name in self.names or (self.scored and name in (self.name + CLASS, self.name + SCORE)):
            return True
        return name == self.name or (name.startswith(f"{self.name}[") and name.endswith("]"))


@dataclass(frozen=True, slots=True)
class Features:
    """Of one version, by the tensor's name. ``redacted``: of tensors of which nothing is kept; of
    what was kept before, and of a schema, nothing is told."""

    inputs: Mapping[str, TensorFeatures]
    outputs: Mapping[str, TensorFeatures]
    redacted: tuple[TensorFeatures, ...] = ()

    def hides(self, name: str) -> bool:
        """Whether a feature of this name is a redacted one, and no other's."""
        return any(one.has(name) for one in self.redacted) and not self.has(name)

    def has(self, name: str) -> bool:
        """Whether a feature of this name is one of its own."""
        # By what may be its tensor: with thousands of inputs each is asked of all features.
        stems = {name, name.removesuffix(CLASS), name.removesuffix(SCORE)}
        stems.update(name[:at] for at, letter in enumerate(name) if letter == "[")
        both = (self.inputs, self.outputs)
        tensors = (known[stem] for known in both for stem in stems if stem in known)
        return any(one.has(name) for one in tensors) or any(
            name in one.names for one in self.inputs.values() if one.names
        )

    @property
    def classes(self) -> frozenset[str]:
        """Features of the outputs that are whole numbers, and count nothing."""
        return frozenset(name + CLASS for name, one in self.outputs.items() if one.scored)


Columns = dict[str, Array]
# Columns, and how many rows there are.
Table = tuple[Columns, int]
NO_FEATURES = Features({}, {})


def features_of(facts: VersionFacts, redact: Sequence[str]) -> Features:
    """``redact``: patterns of tensors of which nothing may be kept."""
    signature = facts.signature
    if signature is None:
        return NO_FEATURES
    inputs = {one.name: _of_tensor(one, _names(facts, signature, one)) for one in signature.inputs}
    outputs = {one.name: _of_tensor(one, (), is_output=True) for one in signature.outputs}
    hidden = [
        tensors.pop(name)
        for tensors in (inputs, outputs)
        for name in list(tensors)
        if _is_redacted(name, redact)
    ]
    return Features(inputs, outputs, tuple(hidden))


def _is_redacted(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _of_tensor(
    tensor: Tensor, names: tuple[str, ...], *, is_output: bool = False
) -> TensorFeatures:
    shape = tensor.client_shape
    by_rows = bool(shape) and shape[0] in (-1, 1)
    classes = shape[-1] if len(shape) > 1 else 0
    scored = is_output and tensor.datatype in _FLOATS and 1 < classes <= _MOST_CLASSES
    return TensorFeatures(tensor.name, shape, names, tensor.optional, by_rows, scored)


def _names(facts: VersionFacts, signature: Signature, tensor: Tensor) -> tuple[str, ...]:
    """Those of a data frame that becomes the only input that must be there."""
    declared = facts.declared
    required = [one for one in signature.inputs if not one.optional]
    if declared.form != "columns" or declared.unusable or required != [tensor]:
        return ()
    names = tuple(field.name or "" for field in declared.fields)
    return names if all(names) else ()


def tables(
    known: Mapping[str, TensorFeatures], requests: Iterable[Sequence[SampledTensor]]
) -> Iterator[Table]:
    """The features' values in the requests, and how many rows those are: requests that look alike
    together, so that each table is made of whole arrays. A feature that a request left out stands
    in no column of its table."""
    groups: dict[object, list[dict[str, Array]]] = {}
    for tensors in requests:
        arrays = _rows_first(known, tensors)
        if arrays:
            # Shapes behind the rows, and types: what can be put together.
            like = tuple((name, one.dtype, one.shape[1:]) for name, one in arrays.items())
            groups.setdefault(like, []).append(arrays)
    for alike in groups.values():
        together = {name: np.concatenate([one[name] for one in alike]) for name in alike[0]}
        yield _columns(known, together), len(next(iter(together.values())))


def _rows_first(
    known: Mapping[str, TensorFeatures], tensors: Sequence[SampledTensor]
) -> dict[str, Array]:
    """Of one request; with a row for each place on the first axis where all tensors have as many
    of them. Of many texts only the first rows are read: then of the others, too."""
    mine = [one for one in tensors if one[0] in known]
    arrays = {one[0]: array_of(one) for one in mine}
    has_rows = all(known[name].by_rows and shape for name, _, shape, _ in mine)
    if has_rows and len({shape[0] for _, _, shape, _ in mine}) == 1:
        read = min(map(len, arrays.values()))
        return {name: array[:read] for name, array in arrays.items()}
    return {name: array[np.newaxis] for name, array in arrays.items()}


def _columns(known: Mapping[str, TensorFeatures], arrays: Mapping[str, Array]) -> Columns:
    found: Columns = {}
    for name, array in arrays.items():
        feature = known[name]
        # One column is no column of something: it goes by the tensor's own name.
        if array.ndim == 2 and array.shape[1] == 1 and not feature.names:
            found[name] = array[:, 0]
        else:
            found |= columns_of(name, array, feature.shape, feature.names)
        if feature.scored and array.ndim > 1 and array.shape[-1]:
            found |= _classes(name, array)
    return found


def _classes(name: str, array: Array) -> Columns:
    """The class with the greatest value, which has no meaning beside NaN alone, and that value."""
    rows = array.reshape(-1, array.shape[-1])
    if len(rows) != len(array):
        # Several classes a row, such as a token's each: by the row again.
        shape = (len(array), -1)
        return {
            name + CLASS: rows.argmax(axis=1).reshape(shape),
            name + SCORE: rows.max(axis=1).reshape(shape),
        }
    return {name + CLASS: rows.argmax(axis=1), name + SCORE: rows.max(axis=1)}
