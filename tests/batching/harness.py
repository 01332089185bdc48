"""Runs rows alone and together with onnxruntime, and says whether an answer moved."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

from serving.execution.graph import signature_of
from serving.model_config.schema import ModelConfig
from serving.signature import Signature

from .build import Feeds

if TYPE_CHECKING:
    from serving.loading.batching.analysis import Analysis

# Of the row's largest magnitude: kernels round differently by the number and place of rows.
TOLERANCE = 1e-5
OUTLIERS = (1e3, 1e6)
MAX_ROWS = 64


@lru_cache(maxsize=64)
def session_of(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def answers(model: bytes) -> bool:
    """Whether onnxruntime takes the model at all."""
    try:
        session_of(model)
    except Exception:  # noqa: BLE001 - onnxruntime raises many kinds; all mean that it does not
        return False
    return True


def signature(model: bytes) -> Signature:
    return signature_of(session_of(model), frozenset(), ModelConfig())


def verdict(model: bytes, of: Signature | None = None) -> Analysis:
    """What the analysis says of a model, as the gateway asks for it."""
    from tests.batching.analysed import analyse

    return analyse(model, of or signature(model), max_rows=MAX_ROWS)


def run(model: bytes, feeds: Feeds) -> dict[str, Any]:
    """The outputs by name, with the values that are no tensors left out."""
    session = session_of(model)
    names = [one.name for one in session.get_outputs() if one.type.startswith("tensor(")]
    return dict(zip(names, session.run(names, feeds), strict=True))


def asked(model: bytes, feeds: Feeds) -> dict[str, Any] | str:
    """The outputs, or onnxruntime's refusal in words."""
    session_of(model)  # A model that is none fails here, and is no refusal.
    try:
        return run(model, feeds)
    except Exception as error:  # noqa: BLE001 - onnxruntime raises many kinds; all mean refused
        return str(error).splitlines()[0]


def rows_of(feeds: Feeds) -> int:
    """The rows of a request: its first input's."""
    first = next(iter(feeds.values()))
    return len(first) if first.ndim else 1


def together(callers: Sequence[Feeds]) -> Feeds:
    return {name: np.concatenate([one[name] for one in callers]) for name in callers[0]}


def moved(model: bytes, callers: Sequence[Feeds], tolerance: float = TOLERANCE) -> str:
    """Why running the callers together is not each of them alone; "" where it is.

    Where one is refused alone, a refusal together says nothing, and an answer does.
    """
    alone = [asked(model, one) for one in callers]
    try:
        beside = asked(model, together(callers))
    except ValueError as error:
        beside = str(error)
    refusals = [one for one in alone if isinstance(one, str)]
    if isinstance(beside, str):
        return "" if refusals else f"refused together: {beside}"
    if refusals:
        return f"answered together, alone refused: {refusals[0]}"
    start = 0
    for number, (feeds, answer) in enumerate(zip(callers, alone, strict=True)):
        assert not isinstance(answer, str)
        rows = rows_of(feeds)
        for name, wanted in answer.items():
            if reason := _differs(beside[name], wanted, start, rows, callers, tolerance):
                return f"{name} of caller {number}: {reason}"
        start += rows
    return ""


def _differs(
    found: np.ndarray,
    wanted: np.ndarray,
    start: int,
    rows: int,
    callers: Sequence[Feeds],
    tolerance: float,
) -> str:
    total = sum(map(rows_of, callers))
    if wanted.ndim == 0 or len(wanted) != rows:
        return f"{rows} rows alone give {wanted.shape}"
    if found.ndim == 0 or len(found) != total or found.shape[1:] != wanted.shape[1:]:
        return f"{total} rows give {found.shape}, alone {wanted.shape}"
    return differs(found[start : start + rows], wanted, tolerance)


def differs(found: np.ndarray, wanted: np.ndarray, tolerance: float = TOLERANCE) -> str:
    """Rows that are not equal, within the tolerance of the row's largest magnitude."""
    if wanted.dtype.kind != "f":
        return "" if np.array_equal(found, wanted) else f"{_few(found)} for {_few(wanted)}"
    with np.errstate(all="ignore"):
        finite = np.where(np.isfinite(wanted), np.abs(wanted), 0).reshape(len(wanted), -1)
        largest = finite.max(axis=1, initial=0).astype(np.float64)
        bound = (tolerance * largest).reshape((-1,) + (1,) * (wanted.ndim - 1))
        gap = np.abs(found.astype(np.float64) - wanted.astype(np.float64))
        same = (found == wanted) | (gap <= bound) | (np.isnan(found) & np.isnan(wanted))
    return "" if same.all() else f"{_few(found[~same])} for {_few(wanted[~same])}"


def _few(array: np.ndarray) -> str:
    return str(array.ravel()[:4].tolist())


def moves_in_some_order(model: bytes, a: Feeds, b: Feeds) -> str:
    """Why a's answer is another beside b: before it, after it, or between two of it."""
    for callers in ([a, b], [b, a], [b, a, b], [b, a, b, b]):
        if reason := moved(model, callers):
            return reason
    return ""


def scaled(feeds: Feeds, factor: float) -> Feeds:
    """Floats times ``factor``; indices, labels, flags and words stay."""
    return {
        name: (one * factor).astype(one.dtype) if one.dtype.kind == "f" else one
        for name, one in feeds.items()
    }


def with_outliers(a: Feeds, b: Feeds) -> list[Feeds]:
    """Ordinary callers beside the same ones with outliers, in an order that mixes them."""
    far = [scaled(one, factor) for factor in OUTLIERS for one in (a, b)]
    return [a, far[0], b, far[3], a, far[2], far[1], b, scaled(a, 0.0)]
