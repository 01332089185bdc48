"""Tensors of the small client: nothing wraps, nothing is altered on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.cli.client import Value, decode, encode, plain, value_of
from serving.cli.output import UserError
from serving.cli.samples import concrete, generated
from serving.signature import DATATYPES, Tensor


@pytest.mark.parametrize("datatype", DATATYPES)
@given(data=st.data())
def test_what_is_encoded_decodes_to_the_same(datatype: str, data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    if datatype == "BYTES":
        items = data.draw(st.lists(st.binary(max_size=9), min_size=0, max_size=5))
        array: Any = np.array([*items, b""], dtype=object)[:-1]
    else:
        array = data.draw(hnp.arrays(DATATYPES[datatype][0], shape))
    value = Value(datatype, array)
    again = decode(encode(value), datatype, array.shape)
    assert encode(again) == encode(value)
    assert again.array.shape == array.shape


@pytest.mark.parametrize(
    ("data", "datatype"),
    [
        ([300], "UINT8"),
        ([-1], "UINT64"),
        ([2**63], "INT64"),
        ([1.5], "INT32"),
        ([2], "BOOL"),
        (["x"], "FP32"),
        ([None], "FP32"),
        ([1], "BYTES"),
        ([[1, 2], [3]], "FP32"),
        ([1], "FP8"),
    ],
)
def test_fault_58_what_does_not_fit_is_refused(data: object, datatype: str) -> None:
    with pytest.raises(UserError):
        value_of(data, datatype)


def test_bf16_rounds_to_nearest_even_and_keeps_nan() -> None:
    value = value_of([1.0, 1.00390625, 1.01171875, float("nan"), float("inf")], "BF16")
    assert value.array.dtype == np.uint16
    back = plain(value)
    assert back[:3].tolist() == [1.0, 1.0, 1.015625]
    assert np.isnan(back[3])
    assert np.isinf(back[4])


def test_text_becomes_utf_8_and_shows_as_text() -> None:
    value = value_of(["é", b"\xff"], "BYTES")
    assert value.array.tolist() == ["é".encode(), b"\xff"]
    assert plain(value).tolist() == ["é", "\\xff"]


def test_a_given_shape_is_kept() -> None:
    assert value_of([1, 2, 3, 4], "FP32", (2, 2)).array.shape == (2, 2)
    with pytest.raises(UserError):
        value_of([1, 2, 3], "FP32", (2, 2))


def test_rows_fill_axis_0_where_it_varies() -> None:
    assert concrete((-1, 3, -1), 5) == (5, 3, 1)
    assert concrete((2, -1), 5) == (2, 1)
    assert concrete((), 5) == ()


@pytest.mark.parametrize("datatype", DATATYPES)
def test_generated_inputs_fit_and_follow_the_seed(datatype: str) -> None:
    tensor = Tensor("x", datatype, (-1, 3))
    first, again = (generated(tensor, 2, np.random.default_rng(7)) for _ in range(2))
    assert first.shape == (2, 3)
    assert first.dtype == tensor.dtype
    assert np.array_equal(first, again)
