"""What a version answered to all examples of a set, kept until it is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving.datasets.pieces import Array, SetError
from serving.signature import Signature

# Of the answers of one version, and of labels as numbers or texts.
MOST_BYTES = 256 * 1024 * 1024
_FLOATS = frozenset({"FP16", "BF16", "FP32", "FP64"})


def judged_output(signature: Signature, named: str | None) -> str:
    """``named``, else the first that looks like scores (floats, more than one an example), else the
    first. Raises SetError."""
    names = [tensor.name for tensor in signature.outputs]
    if named is not None:
        if named not in names:
            raise SetError(f"the model has no output '{named}'")
        return named
    if not names:
        raise SetError("the model has no output that can be judged")
    scores = (
        tensor.name
        for tensor in signature.outputs
        if tensor.datatype in _FLOATS and len(tensor.shape) >= 2 and tensor.shape[-1] != 1
    )
    return next(scores, names[0])


class Predictions:
    """Answers, row by row."""

    def __init__(self) -> None:
        self._parts: list[Array] = []
        self._bytes = 0

    def add(self, answer: Array, count: int) -> None:
        """``answer``: the output of one run of ``count`` examples. Raises SetError."""
        rows = answer.reshape(1, -1) if count == 1 else answer
        if rows.ndim == 0 or len(rows) != count:
            words = f"{count} examples were answered with the shape {list(answer.shape)}"
            raise SetError(f"{words}: it cannot be told which answer is whose")
        # Copied: it may be a view of what the session uses again.
        part = np.array(rows.reshape(count, -1))
        self._bytes += part.nbytes
        if self._bytes > MOST_BYTES:
            raise SetError(f"the answers have more than {MOST_BYTES} bytes")
        self._parts.append(part)

    def all(self) -> Array:
        """[examples, values of each]. Raises SetError where they differ in how many these are."""
        if not self._parts:
            return np.zeros((0, 1))
        try:
            return np.concatenate(self._parts)
        except ValueError:
            raise SetError("the answers do not all have as many values") from None


class Column:
    """Labels, or the values of a column by which the set is cut."""

    def __init__(self) -> None:
        self._parts: list[Array] = []

    def add(self, values: Array) -> None:
        self._parts.append(np.array(values))

    def all(self) -> Array:
        """Numbers where all of them are; else texts. Raises SetError."""
        flat = [part.reshape(len(part), -1) if part.ndim > 1 else part for part in self._parts]
        try:
            found: Array = np.concatenate(flat) if flat else np.zeros(0)
        except ValueError:
            raise SetError("the lists of a column do not have the same length") from None
        if found.ndim == 2 and found.shape[1] == 1:
            found = found[:, 0]
        if found.dtype.kind in "biuf":
            return found
        if found.ndim > 1:
            raise SetError("a column holds lists of what is no number")
        return _settled(found)


def _settled(values: Array) -> Array:
    """Texts of whole numbers, or of numbers, as these: a CSV file has nothing else."""
    texts = values.tolist()
    for kind in (int, float):
        try:
            return np.asarray([kind(text) for text in texts])
        except (ValueError, TypeError, OverflowError):
            continue
    return np.asarray([str(text) for text in texts], object)


def classes_of(answers: Array) -> Array:
    """The class of each: the highest score's place, or what was answered itself; one float an
    example is taken for the probability of class 1."""
    if answers.shape[1] > 1:
        return np.asarray(np.argmax(answers, axis=1))
    flat = answers[:, 0]
    if flat.dtype.kind == "f":
        return np.asarray(flat >= 0.5, np.int64)
    return flat


def by_names(labels: Array, names: Sequence[str]) -> Array:
    """Labels that are texts, as places among the classes' ``names``. Raises SetError."""
    if labels.dtype.kind != "O":
        return labels
    places: Mapping[Any, int] = {name: place for place, name in enumerate(names)}
    unknown = next((label for label in labels.tolist() if label not in places), None)
    if unknown is not None:
        hint = "" if names else "; name them in 'classes', in the order of the scores"
        raise SetError(f"label '{str(unknown)[:64]}' is no class of the model{hint}")
    return np.asarray([places[label] for label in labels.tolist()], np.int64)
