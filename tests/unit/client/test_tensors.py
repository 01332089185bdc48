"""Arrays of the client: nothing wraps, nothing is altered on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving_client import tensors
from serving_client.tensors import (
    BF16,
    DTYPES,
    SMALL_BYTES,
    datatype_of,
    decode_output,
    decode_values,
    encode_input,
)


def there_and_back(value: Any, datatype: str | None = None) -> np.ndarray:
    sent = encode_input("x", value, datatype)
    return decode_output(bytes(sent.data), sent.datatype, sent.shape)


@pytest.mark.parametrize("datatype", DTYPES)
@settings(max_examples=15)
@given(data=st.data())
def test_what_is_sent_comes_back_the_same(datatype: str, data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    array = data.draw(hnp.arrays(DTYPES[datatype], shape))
    reverse = array.T.copy().T
    for order in (array, reverse, array.astype(array.dtype.newbyteorder())):
        again = there_and_back(order, datatype)
        assert again.dtype == DTYPES[datatype]
        assert again.tobytes() == array.tobytes()
        assert again.shape == array.shape


@given(st.lists(st.text(max_size=5), max_size=6))
def test_texts_come_back_as_they_were(texts: list[str]) -> None:
    assert there_and_back(texts, "BYTES").tolist() == texts


def test_bytes_that_are_no_text_survive_as_surrogates() -> None:
    back = there_and_back([b"\xff", b"a\0\0", "é"], "BYTES")
    assert back[0].encode("utf-8", "surrogateescape") == b"\xff"
    assert back[1:].tolist() == ["a\0\0", "é"]
    assert there_and_back(back, "BYTES").tolist() == back.tolist()


@pytest.mark.parametrize("dtype", ["U", "S", "O"])
def test_arrays_of_text_of_any_kind_are_taken(dtype: str) -> None:
    assert there_and_back(np.array([["a", "bc"]], dtype), None).tolist() == [["a", "bc"]]


@pytest.mark.parametrize(
    ("value", "datatype", "becomes"),
    [
        ([1, 2], "FP32", [1.0, 2.0]),
        (np.array([0.1]), "FP32", [np.float32(0.1)]),
        (np.array([1], np.int64), "INT8", [1]),
        (np.array([255], np.uint8), "INT64", [255]),
        (np.array([True]), "UINT8", [1]),
        ([True], "BOOL", [True]),
        (3, "INT32", 3),
        ([], "INT32", []),
        ([2**64 - 1], "UINT64", [2**64 - 1]),
        ([float("inf")], "FP16", [np.inf]),
    ],
)
def test_other_types_become_the_models_where_that_loses_no_meaning(
    value: Any, datatype: str, becomes: Any
) -> None:
    back = there_and_back(value, datatype)
    assert back.dtype == DTYPES[datatype]
    assert back.tolist() == becomes


@pytest.mark.parametrize(
    ("value", "datatype"),
    [
        ([300], "UINT8"),
        ([-1], "UINT64"),
        ([2**63], "INT64"),
        ([2**70], "INT64"),
        ([1.0], "INT32"),
        ([1], "BOOL"),
        ([1e39], "FP32"),
        ([70000.0], "FP16"),
        ([100_000], "FP16"),
        (np.array([1e38]).astype(BF16), "FP16"),
        ([3.4028235e38], "BF16"),
        ([1e39], "BF16"),
        (["x"], "FP32"),
        ([None], "FP32"),
        ([1], "BYTES"),
        ([[1, 2], [3]], "FP32"),
        ([1j], "FP32"),
        ([1.0], "FP8"),
    ],
)
def test_what_does_not_fit_is_refused(value: Any, datatype: str) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        encode_input("x", value, datatype)


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "BF16"])
def test_infinities_stay(datatype: str) -> None:
    for kind in (np.float64, np.float32, np.float16, BF16):
        array = np.array([np.inf, -np.inf, 1.0]).astype(kind)
        assert there_and_back(array, datatype).tolist() == [np.inf, -np.inf, 1.0]


def test_large_ones_are_sent_from_where_they_lie() -> None:
    array = np.zeros(SMALL_BYTES, np.float32)
    assert np.shares_memory(np.asarray(encode_input("x", array, "FP32").data), array)


def test_what_comes_may_be_changed() -> None:
    back = there_and_back(np.zeros((2, 2), np.float32), "FP32")
    back[0, 0] = 1.0
    assert back.tolist() == [[1.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("with_ml_dtypes", [True, False])
def test_bf16_rounds_to_nearest_even_and_keeps_nan(
    with_ml_dtypes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not with_ml_dtypes:
        monkeypatch.setattr(tensors, "_bfloat16", None)
        monkeypatch.setattr(tensors, "BF16", np.dtype(np.float32))
    values = [1.0, 1.00390625, 1.01171875, float("nan"), float("inf"), 3]
    back = there_and_back(np.array(values), "BF16")
    assert back.dtype == (BF16 if with_ml_dtypes else np.float32)
    floats = back.astype(np.float32)
    assert floats[:3].tolist() == [1.0, 1.0, 1.015625]
    assert np.isnan(floats[3])
    assert floats[4:].tolist() == [np.inf, 3.0]


def test_bf16_arrays_are_sent_bit_by_bit() -> None:
    array = np.arange(65536, dtype=np.uint16).view(BF16).reshape(256, 256)
    assert datatype_of(array) == "BF16"
    assert there_and_back(array).tobytes() == array.tobytes()
    assert there_and_back(array[:, ::2]).tobytes() == array[:, ::2].tobytes()


@pytest.mark.parametrize(
    ("data", "datatype", "shape"),
    [
        (b"\0" * 7, "FP32", (2,)),
        (b"\0" * 12, "FP32", (2,)),
        (b"\0\0\0\0", "BYTES", (2,)),
        (b"\5\0\0\0abc", "BYTES", (1,)),
        (b"\1\0\0\0ab", "BYTES", (1,)),
        (b"", "BYTES", (2**40,)),
        (b"\0", "FP8", (1,)),
    ],
)
def test_damaged_data_is_an_error_before_memory_is_taken(
    data: bytes, datatype: str, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_output(data, datatype, shape)


def test_values_of_json_become_arrays() -> None:
    assert decode_values([1, 2], "INT8", (2, 1)).tolist() == [[1], [2]]
    assert decode_values(["a", "b"], "BYTES", (2,)).tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="does not travel as JSON"):
        decode_values([1.0], "BF16", (1,))
