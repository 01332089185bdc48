"""Whether two answers are the same within a tolerance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving.observe.request_log.tensors import LoggedTensor, elements
from serving.signature import DATATYPES

Array = np.ndarray[Any, Any]


def differences(
    before: Sequence[LoggedTensor],
    after: Mapping[str, LoggedTensor],
    *,
    rtol: float,
    atol: float,
) -> list[str]:
    """One sentence for each output that differs; none where all agree.

    Numbers with a fraction may be ``atol + rtol * |before|`` apart, NaN equals NaN; all else
    is equal or it differs. Outputs logged without values are held to datatype and shape.
    """
    found = [words for tensor in before if (words := _difference(tensor, after, rtol, atol))]
    known = {tensor.name for tensor in before}
    return found + [f"output '{name}' was not there before" for name in after if name not in known]


def _difference(
    before: LoggedTensor, answers: Mapping[str, LoggedTensor], rtol: float, atol: float
) -> str:
    who = f"output '{before.name}'"
    after = answers.get(before.name)
    if after is None:
        return f"{who} is missing"
    if after.datatype != before.datatype:
        return f"{who} is {after.datatype}, was {before.datatype}"
    if after.shape != before.shape:
        return f"{who} has shape {list(after.shape)}, had {list(before.shape)}"
    if before.data is None or after.data is None or before.data == after.data:
        return ""
    if before.datatype == "BYTES":
        return _texts(who, elements(before.data), elements(after.data))
    return _numbers(who, before.datatype, before.data, after.data, rtol, atol)


def _texts(who: str, before: list[bytes], after: list[bytes]) -> str:
    wrong = sum(a != b for a, b in zip(before, after, strict=True))
    return f"{who}: {wrong} of {len(before)} texts differ" if wrong else ""


def _numbers(who: str, datatype: str, before: bytes, after: bytes, rtol: float, atol: float) -> str:
    a, b = _array(datatype, before), _array(datatype, after)
    if a.dtype.kind != "f":
        wrong = a != b
        return f"{who}: {int(wrong.sum())} of {a.size} values differ" if wrong.any() else ""
    wrong = ~np.isclose(b, a, rtol=rtol, atol=atol, equal_nan=True)
    if not wrong.any():
        return ""
    with np.errstate(invalid="ignore"):
        apart = np.abs(a[wrong] - b[wrong])
    largest = float(np.nanmax(apart)) if not np.isnan(apart).all() else float("nan")
    return f"{who}: {int(wrong.sum())} of {a.size} values differ, by up to {largest:.6g}"


def _array(datatype: str, data: bytes) -> Array:
    """Numbers with a fraction in double precision, so that comparing adds no rounding."""
    array = np.frombuffer(data, np.dtype(DATATYPES[datatype][0]).newbyteorder("<"))
    if datatype == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return array.astype(np.float64) if array.dtype.kind == "f" else array
