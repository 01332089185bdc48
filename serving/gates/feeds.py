"""From columns of an evaluation set to a model's inputs, and to what is right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.datasets.pieces import Array, Piece, SetError, cut, joined, rows_of
from serving.loading.inputs import sample_files
from serving.loading.inputs.generated import Feeds
from serving.loading.inputs.sample_files import UnfitError
from serving.model_config.gates import EvaluationConfig
from serving.signature import Signature, Tensor

_MOST_NAMED = 4


@dataclass(frozen=True, slots=True)
class Examples:
    """Some examples of a set: inputs of one run, what is right (None: there is no label), and
    the values of the columns by which the set is cut."""

    count: int
    feeds: Feeds
    labels: Array | None
    slices: Mapping[str, Array]


def all_examples(
    found: Iterable[Piece],
    signature: Signature,
    evaluation: EvaluationConfig,
    rows: int,
    most_bytes: int,
) -> Iterator[Examples]:
    """As ``examples``, of a whole set. Where the model takes a fixed number of rows, what is left
    of a piece goes before the next."""
    rest: Piece = {}
    for more in found:
        piece = joined(rest, more) if rest else more
        total = rows_of(piece)
        fixed = _fixed_rows(signature, _given(piece, signature, evaluation))
        end = total - total % fixed if fixed else total
        rest = cut(piece, end, total) if end < total else {}
        if end:
            yield from examples(cut(piece, 0, end), signature, evaluation, rows, most_bytes)
    if rest:
        yield from examples(rest, signature, evaluation, rows, most_bytes)


def examples(
    piece: Piece, signature: Signature, evaluation: EvaluationConfig, rows: int, most_bytes: int
) -> Iterator[Examples]:
    """``rows``: of one run; where the model takes a fixed number, that is it. Raises SetError."""
    wanted = [evaluation.label] if evaluation.label else []
    for name in (*wanted, *evaluation.slices):
        if name not in piece:
            raise SetError(f"it has no column '{name}'; there are {_few(list(piece))}")
    given = _given(piece, signature, evaluation)
    fixed, total = _fixed_rows(signature, given), rows_of(piece)
    step = fixed or rows
    if fixed and total % fixed:
        raise SetError(f"the model takes {fixed} rows at a time, and {total} are left over")
    for at in range(0, total, step):
        some = {name: values[at : at + step] for name, values in given.items()}
        count = min(step, total - at)
        yield Examples(
            count,
            _fitted(some, signature, count, most_bytes),
            piece[evaluation.label][at : at + step] if evaluation.label else None,
            {name: piece[name][at : at + step] for name in evaluation.slices},
        )


def _fixed_rows(signature: Signature, given: Mapping[str, Array]) -> int:
    """Rows that each run must have; 0: any number of them."""
    ranks = {tensor.name: len(tensor.shape) for tensor in signature.inputs}
    if any(array.ndim == ranks[name] + 1 for name, array in given.items()):
        return 1
    sizes = {tensor.shape[0] for tensor in signature.inputs if tensor.shape}
    fixed = {size for size in sizes if size >= 0}
    return min(fixed) if fixed else 0


def _given(piece: Piece, signature: Signature, evaluation: EvaluationConfig) -> dict[str, Array]:
    """Input -> values of all rows. What is named in the configuration; then what has an input's
    name; else one input takes all columns that are left, as a matrix."""
    found: dict[str, Array] = {}
    for tensor in signature.inputs:
        columns = evaluation.inputs.get(tensor.name)
        if columns is not None:
            missing = [name for name in columns if name not in piece]
            if missing:
                raise SetError(f"it has no column '{missing[0]}'; there are {_few(list(piece))}")
            found[tensor.name] = _joined(tensor, [piece[name] for name in columns], columns)
        elif tensor.name in piece:
            found[tensor.name] = _numbers(tensor, piece[tensor.name], tensor.name)
    unknown = evaluation.inputs.keys() - {tensor.name for tensor in signature.inputs}
    if unknown:
        raise SetError(f"the model has no input '{min(unknown)}'")
    missing = [t.name for t in signature.inputs if not t.optional and t.name not in found]
    required = [tensor for tensor in signature.inputs if not tensor.optional]
    if len(required) == 1 and missing:
        rest = [name for name in piece if name not in (evaluation.label, *evaluation.slices)]
        if rest:
            columns = tuple(rest)
            return {missing[0]: _joined(required[0], [piece[name] for name in rest], columns)}
    if missing:
        words = f"it has no column for the input '{missing[0]}'; there are {_few(list(piece))}"
        raise SetError(words)
    return found


def _few(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    told = ", ".join(f"'{name[:64]}'" for name in names[:_MOST_NAMED])
    return told + (f" and {more} more" if more > 0 else "")


def _joined(tensor: Tensor, columns: list[Array], names: tuple[str, ...]) -> Array:
    made = [_numbers(tensor, one, name) for one, name in zip(columns, names, strict=True)]
    if len(made) == 1:
        return made[0]
    if any(one.ndim != 1 for one in made):
        raise SetError(f"columns of lists cannot be joined to the input '{tensor.name}'")
    return np.stack(made, axis=1)


def _numbers(tensor: Tensor, values: Array, name: str) -> Array:
    """Texts of numbers as numbers, where the input takes these."""
    is_text = values.dtype.kind == "O" and len(values) > 0 and isinstance(values[0], str)
    if tensor.datatype == "BYTES" or not is_text:
        return values
    try:
        if tensor.datatype == "BOOL":
            return np.asarray([_truth(text) for text in values], bool)
        made = [float(text) for text in values]
    except ValueError:
        raise SetError(f"column '{name[:64]}' holds what is no {tensor.datatype}") from None
    found = np.asarray(made, np.float64)
    if tensor.datatype in sample_files.INTEGERS:
        try:
            return np.asarray([int(text) for text in values])
        except ValueError:
            raise SetError(f"column '{name[:64]}' holds what is no {tensor.datatype}") from None
    return found


def _truth(text: str) -> bool:
    known = {"true": True, "1": True, "false": False, "0": False}
    found = known.get(text.strip().lower())
    if found is None:
        raise ValueError(text)
    return found


def _fitted(given: Mapping[str, Any], signature: Signature, count: int, most: int) -> Feeds:
    """A model that takes one example without an axis for examples gets it so."""
    ranks = {tensor.name: len(tensor.shape) for tensor in signature.inputs}
    if count == 1:
        given = {
            name: array[0] if array.ndim == ranks[name] + 1 else array
            for name, array in given.items()
        }
    try:
        return sample_files.fit(given, signature, most)
    except UnfitError as error:
        raise SetError(str(error)) from None
