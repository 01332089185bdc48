"""A run's outputs as arrays, and how far two answers are apart."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving.loading.inputs.generated import Array, Run
from serving.model_config.schema import Tolerance

# The rounding of narrow floats is coarser than the usual tolerance.
_LEAST_RTOL = {"FP16": 4e-3, "BF16": 3e-2}
# What rounding may do, as a share of a row's largest magnitude.
_CLOSE = {"FP16": 2e-2, "BF16": 1e-1}
_CLOSE_ELSE = 1e-5


class _Bf16(np.ndarray[Any, Any]):
    """float32 values that were BF16."""


def answers_of(run: Run, names: Sequence[str], feeds: Mapping[str, Array]) -> list[Array]:
    """The outputs of one run as arrays, BF16 as float32; BYTES as objects."""
    # The list keeps alive what BF16's addresses point into until they are copied.
    outputs = run(names, feeds)
    return [as_array(output) for output in outputs]


def as_array(output: Any) -> Array:
    """An output as an array of its own, or the one it is."""
    if not isinstance(output, tuple):
        return np.asarray(output)
    address, _, shape = output
    count = int(np.prod(shape, dtype=np.int64))
    bits = np.frombuffer(ctypes.string_at(address, 2 * count) if count else b"", np.uint16)
    return (bits.astype(np.uint32) << 16).view(np.float32).reshape(shape).view(_Bf16)


def distance(a: Array, b: Array, tolerance: Tolerance) -> str | None:
    """``None`` when two answers agree within the tolerance; else how far apart they are.

    NaN equals NaN. Integers, booleans and strings must be the same.
    """
    if a.shape != b.shape:
        return f"shapes {list(a.shape)} and {list(b.shape)}"
    if not np.issubdtype(a.dtype, np.inexact):
        return None if np.array_equal(a, b) else "other values"
    rtol = max(tolerance.rtol, _LEAST_RTOL.get(_narrow(a), 0.0))
    x, y = a.astype(np.float64), b.astype(np.float64)
    if np.allclose(x, y, rtol=rtol, atol=tolerance.atol, equal_nan=True):
        return None
    with np.errstate(invalid="ignore"):
        gap = np.abs(x - y)
    return f"by {np.nanmax(gap):.3g}" if np.isfinite(gap).any() else "by NaN or infinity"


def is_close(a: Array, b: Array) -> bool:
    """Whether a row's two answers differ by no more than rounding does: a share of the row's
    largest magnitude."""
    if a.shape != b.shape:
        return False
    if not np.issubdtype(a.dtype, np.inexact):
        return np.array_equal(a, b)
    if a.dtype == b.dtype and a.tobytes() == b.tobytes():
        return True  # as most are, at a tenth of what follows
    x, y = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(x) & np.isfinite(y)
    if not np.array_equal(x[~finite], y[~finite], equal_nan=True):
        return False
    largest = np.abs(x[finite]).max(initial=0.0)
    share = _CLOSE.get(_narrow(a), _CLOSE_ELSE)
    return bool(np.abs(x[finite] - y[finite]).max(initial=0.0) <= share * largest)


def _narrow(a: Array) -> str:
    return "BF16" if isinstance(a, _Bf16) else "FP16" if a.dtype == np.float16 else ""
