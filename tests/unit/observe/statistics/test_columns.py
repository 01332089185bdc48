"""Tensors of samples become features' columns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from serving.loading.facts import VersionFacts
from serving.observe.statistics import arrays as tensors
from serving.observe.statistics.arrays import array_of
from serving.observe.statistics.columns import Features, features_of, tables
from serving.registry.mlmodel import Declared, Field
from serving.signature import Signature
from tests.unit.observe.statistics.world import signature, tensor

MATRIX = signature({"x": ("FP32", (-1, 3))}, {"y": ("FP32", (-1, 2))})


def known(of: Signature, **more: object) -> Features:
    return features_of(VersionFacts(signature=of, **more), ())


@settings(deadline=None)
@given(arrays.arrays(np.float32, arrays.array_shapes(min_dims=0, max_dims=4)))
def test_a_tensor_comes_as_it_was_sent(array: np.ndarray) -> None:
    found = array_of(tensor("x", array))
    np.testing.assert_array_equal(found, array)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=9), max_size=20))
def test_texts_come_as_texts_and_others_as_bytes(values: list[bytes]) -> None:
    array = np.empty(len(values), object)
    array[:] = values
    found = array_of(tensor("x", array, "BYTES")).tolist()
    assert [one.encode() if isinstance(one, str) else one for one in found] == values
    assert all(isinstance(one, str) or "\ufffd" in one.decode(errors="replace") for one in found)


def test_small_floats_come_as_floats() -> None:
    values = np.array([0.5, -2.0], np.float32)
    bits = (values.view(np.uint32) >> 16).astype(np.uint16)
    assert array_of(tensor("x", bits, "BF16")).tolist() == [0.5, -2.0]
    assert array_of(tensor("x", values, "FP16")).dtype == np.float32


def test_of_too_many_texts_whole_rows_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "MOST_TEXTS", 5)
    many = np.array([["a", "b"], ["c", "d"], ["e", "f"]], object)
    assert array_of(tensor("x", many, "BYTES")).tolist() == [["a", "b"], ["c", "d"]]
    assert array_of(tensor("x", many.reshape(1, 6), "BYTES")).tolist() == [list("abcde")]


def test_requests_that_look_alike_become_one_table() -> None:
    rows = [np.arange(3 * n, dtype=np.float32).reshape(n, 3) for n in (1, 2, 4)]
    ((columns, count),) = tables(known(MATRIX).inputs, [[tensor("x", one)] for one in rows])
    assert count == 7
    np.testing.assert_array_equal(columns["x[1]"], np.concatenate(rows)[:, 1])


def test_each_ragged_shape_has_a_table() -> None:
    of = known(signature({"tokens": ("INT64", (-1, -1))}))
    requests = [[tensor("tokens", np.zeros((1, n)), "INT64")] for n in (2, 2, 5)]
    found = [(columns["tokens"].shape, rows) for columns, rows in tables(of.inputs, requests)]
    assert found == [((2, 2), 2), ((1, 5), 1)]


def test_an_input_left_out_stands_in_no_column() -> None:
    of = known(signature({"a": ("FP32", (-1,)), "b": ("FP32", (-1, 1))}, optional=["b"]))
    a, b = tensor("a", np.ones(2)), tensor("b", np.ones((2, 1)))
    found = [(sorted(columns), rows) for columns, rows in tables(of.inputs, [[a, b], [a], [a]])]
    assert found == [(["a", "b"], 2), (["a"], 4)]


def test_a_tensor_without_rows_is_one_row_a_request() -> None:
    of = known(signature({"image": ("UINT8", (4, 4)), "scale": ("FP32", ())}))
    request = [tensor("image", np.zeros((4, 4)), "UINT8"), tensor("scale", np.array(2.0))]
    ((columns, rows),) = tables(of.inputs, [request] * 3)
    assert (columns["image"].shape, columns["scale"].tolist(), rows) == ((3, 4, 4), [2.0] * 3, 3)


def test_inputs_of_different_lengths_are_one_row_a_request() -> None:
    of = known(signature({"a": ("FP32", (-1,)), "b": ("FP32", (-1,))}))
    request = [tensor("a", np.ones(2)), tensor("b", np.ones(5))]
    ((columns, rows),) = tables(of.inputs, [request])
    assert (columns["a"].shape, columns["b"].shape, rows) == ((1, 2), (1, 5), 1)


def test_columns_have_the_names_of_mlflows_signature() -> None:
    fields = tuple(Field(name, "FP64", (), True, "double") for name in ("age", "fare", "class"))
    of = known(MATRIX, declared=Declared("columns", fields))
    ((columns, _),) = tables(of.inputs, [[tensor("x", np.ones((1, 3)))]])
    assert list(columns) == ["age", "fare", "class"]
    assert of.has("age")
    assert of.has("x[1]")
    assert of.has("y.class")
    assert not of.has("label")


def test_outputs_have_classes_and_scores_beside() -> None:
    scores = np.array([[0.1, 0.9], [0.7, 0.3], [np.nan, np.nan]], np.float32)
    ((columns, _),) = tables(known(MATRIX).outputs, [[tensor("y", scores)]])
    assert columns["y.class"].tolist()[:2] == [1, 0]
    np.testing.assert_array_equal(columns["y.score"], scores.max(axis=1))
    assert known(MATRIX).classes == {"y.class"}


def test_one_class_is_none() -> None:
    of = known(signature({}, {"y": ("FP32", (-1, 1))}))
    ((columns, _),) = tables(of.outputs, [[tensor("y", np.ones((2, 1)))]])
    assert {name: one.shape for name, one in columns.items()} == {"y": (2,)}


def test_what_is_redacted_is_in_no_table() -> None:
    of = features_of(VersionFacts(signature=MATRIX), ("x*",))
    assert not list(tables(of.inputs, [[tensor("x", np.ones((1, 3)))]]))
    assert list(of.outputs) == ["y"]


def test_rows_beyond_the_texts_that_are_read_are_in_no_column(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tensors, "MOST_TEXTS", 5)
    of = known(signature({"a": ("BYTES", (-1, 2)), "b": ("FP32", (-1,))}))
    texts = tensor("a", np.full((9, 2), "x", object), "BYTES")
    ((columns, rows),) = tables(of.inputs, [[texts, tensor("b", np.arange(9.0))]])
    assert rows == 2
    assert {name: one.tolist() for name, one in columns.items()} == {
        "a[0]": ["x", "x"],
        "a[1]": ["x", "x"],
        "b": [0.0, 1.0],
    }
