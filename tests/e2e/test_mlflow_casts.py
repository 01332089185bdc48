"""Cells of MLflow's columns against numpy's own conversions, one cell and one pair of types at a
time: it becomes what numpy makes of it, or is refused where numpy would change it."""

from __future__ import annotations

import http.client
import json
import math
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests import small_models
from tests.clients.gateway import Gateway
from tests.mlflow_models import columns, lay, mlmodel

COLUMNS = {"boolean": "?", "integer": "i4", "long": "i8", "float": "f4", "double": "f8"}
INPUTS = {
    "BOOL": "?",
    "UINT8": "u1",
    "INT32": "i4",
    "INT64": "i8",
    "FP16": "f2",
    "FP32": "f4",
    "FP64": "f8",
}
# Floats reach floats alone, whatever they are.
PAIRS = {
    f"{kind}_{of}": (kind, of)
    for kind, dtype in COLUMNS.items()
    for of in INPUTS
    if "f" not in dtype or of.startswith("FP")
}
# Nobody reads a text with them as a number but Python.
_ODD = re.compile(r"[^\x20-\x7e]|_")


class RefusedError(Exception):
    """The cell may not pass."""


def _truth(cell: Any) -> bool:
    """numpy takes every text for true, and every number but 0."""
    words = {"true": True, "True": True, "TRUE": True, "false": False, "False": False}
    found = {**words, "FALSE": False}.get(cell.strip()) if isinstance(cell, str) else cell
    if found not in (0, 1):
        raise RefusedError
    return bool(found)


def _column(cell: Any, dtype: np.dtype[Any]) -> Any:
    """As a data frame's column, which numpy makes of an array of objects."""
    if dtype.kind == "b":
        return np.bool_(_truth(cell))
    if isinstance(cell, str) and _ODD.search(cell):
        raise RefusedError
    if dtype.kind in "iu" and isinstance(cell, float):
        cell = _whole(cell)
    try:
        with np.errstate(all="ignore"):
            (found,) = np.array([cell], object).astype(dtype)
    except (TypeError, ValueError, OverflowError):
        raise RefusedError from None
    if dtype.kind in "iu":
        if int(found) != int(cell):
            raise RefusedError
        return found
    is_integer = isinstance(cell, int) or (isinstance(cell, str) and _is_integer(cell))
    if is_integer and (np.isinf(found) or int(found) != int(cell)):
        raise RefusedError
    return _finite(found, cell)


def _whole(number: float) -> int:
    """By the digits that are sent, which may say more than the float."""
    digits = Decimal(repr(number))
    if not digits.is_finite() or digits != digits.to_integral_value():
        raise RefusedError
    return int(digits)


def _is_integer(text: str) -> bool:
    return re.fullmatch(r" *[+-]?[0-9]+ *", text) is not None


def _finite(found: Any, cell: Any) -> Any:
    """An infinity has to have been one, in letters where it came as a text."""
    is_word = isinstance(cell, str) and not any(c.isdigit() for c in cell)
    if np.isinf(found) and not (is_word or (not isinstance(cell, str) and math.isinf(cell))):
        raise RefusedError
    return found


def _input(value: Any, dtype: np.dtype[Any]) -> Any:
    """As what the model takes: floats are rounded, and no integer is changed."""
    if value.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return _finite(value.astype(dtype), float(value))
    with np.errstate(all="ignore"):
        found = value.astype(dtype)
    if not np.isfinite(found) or int(found) != int(value):
        raise RefusedError
    return found


@pytest.fixture(scope="module")
def casting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[http.client.HTTPConnection]:
    """A connection to a gateway with one model, which has an input for each pair of a column's
    type and an input's, and gives it back."""
    folder = tmp_path_factory.mktemp("casting")
    (folder / "repository").mkdir()
    model = small_models.identities({name: of for name, (_, of) in PAIRS.items()})
    said = columns(*((name, kind) for name, (kind, _) in PAIRS.items()))
    lay(folder / "repository" / "pairs", model, mlmodel(said))
    gateway = Gateway(folder / "repository", folder / "gateway")
    try:
        port = gateway.wait_ready().http_port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        yield connection
        connection.close()
    finally:
        gateway.finish()


def _ask(connection: http.client.HTTPConnection, row: dict[str, Any]) -> tuple[int, Any]:
    body = json.dumps({"dataframe_records": [row]})
    headers = {"Content-Type": "application/json"}
    connection.request("POST", "/models/pairs/invocations", body, headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


EDGES = [0, 1, 2**7, 2**8, 2**11, 65504, 65520, 2**24, 2**31, 2**32, 2**53, 2**63, 2**64, 2**128]
INTEGERS = st.one_of(
    st.integers(-300, 300),
    st.integers(-(2**70), 2**70),
    st.builds(
        lambda edge, by, sign: sign * (edge + by),
        st.sampled_from(EDGES),
        st.integers(-2, 2),
        st.sampled_from([1, -1]),
    ),
)
TEXTS = st.one_of(
    st.sampled_from(
        ["", " ", "abc", "nan", "-inf", "Infinity", "true", "False", "1_0", "\uff11", "1e3"]
    ),
    st.builds(
        "{}{}{}".format, st.sampled_from(["", " ", "+"]), INTEGERS, st.sampled_from(["", " "])
    ),
    st.builds(str, st.floats()),
)
CELLS = st.one_of(INTEGERS, st.floats(), st.floats(width=16), st.booleans(), st.none(), TEXTS)


@settings(max_examples=400, deadline=None)
@given(pair=st.sampled_from(sorted(PAIRS)), cell=CELLS)
@example(pair="double_FP16", cell=65519.0)
@example(pair="double_FP16", cell=65520.0)
@example(pair="long_FP16", cell=2049)
@example(pair="float_FP64", cell=16777217)
@example(pair="integer_INT64", cell="2147483648")
@example(pair="boolean_FP32", cell=True)
def test_a_cell_becomes_what_numpy_makes_of_it_or_is_refused(
    casting: http.client.HTTPConnection, pair: str, cell: Any
) -> None:
    kind, of = PAIRS[pair]
    status, answer = _ask(casting, {**dict.fromkeys(PAIRS, 0), pair: cell})
    try:
        column = _column(cell, np.dtype(COLUMNS[kind]))
        wanted = _input(column, np.dtype(INPUTS[of]))
    except RefusedError:
        assert status == 400, answer
        return
    assert status == 200, answer
    (found,) = answer["predictions"]
    got = np.array(found[f"{pair}_out"], wanted.dtype)
    # A text goes to FP32 at once here, and by way of FP64 there.
    tolerance = 1.2e-7 if COLUMNS[kind] == "f4" else 0
    np.testing.assert_allclose(got, wanted, rtol=tolerance)
