"""Which columns of MLflow's signature reach the inputs of a model."""

from __future__ import annotations

import pytest

from serving.loading.mlflow_inputs import fitted
from serving.registry.mlmodel import Declared, Field
from serving.signature import Signature, Tensor


def _column(name: str | None, values: str, lists: int = 0, datatype: str = "BYTES") -> Field:
    kind = "Array(" * lists + values + ")" * lists
    return Field(name, datatype, (), True, kind, values, lists)


DOUBLE = _column("d", "double", datatype="FP64")
MAP = _column("m", "map", datatype="")


def _of(fields: list[Field], *inputs: Tensor) -> Declared:
    return fitted(Declared("columns", tuple(fields)), Signature(inputs, ()))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ([MAP], "column 'm' is of type map, which no input of an ONNX model is"),
        ([_column("v", "any", 1, "")], "'v' is of type Array(any), which no input"),
        (
            [_column("t", "datetime")],
            "'t' is of type datetime, which reaches inputs of texts alone, and 'x' is FP32",
        ),
        (
            [_column("b", "binary", 1)],
            "'b' is of type Array(binary), which reaches inputs of texts",
        ),
        (
            [DOUBLE, _column("v", "double", 1, "FP64")],
            "'v' is of type Array(double), and stands beside others of one input",
        ),
    ],
)
def test_columns_that_never_reach_the_only_input_are_told(fields: list[Field], words: str) -> None:
    assert words in _of(fields, Tensor("x", "FP32", (-1, -1))).unusable


def test_texts_and_lists_reach_inputs_of_their_own() -> None:
    text, matrix = Tensor("t", "BYTES", (-1,)), Tensor("v", "FP32", (-1, 3))
    fields = [_column("t", "datetime"), _column("v", "double", 1, "FP64")]
    assert _of(fields, text, matrix).unusable == ""
    nameless = [_column(None, "binary"), _column(None, "double", 1, "FP64")]
    assert _of(nameless, text, matrix).unusable == ""


def test_what_no_input_asks_for_may_be_of_any_type() -> None:
    found = _of([DOUBLE, MAP], Tensor("d", "FP32", (-1,)), Tensor("e", "FP32", (-1,)))
    assert found.unusable == ""
    assert [one.datatype for one in found.fields] == ["FP64", "BYTES"]


def test_signatures_of_tensors_and_those_that_are_unusable_stay_as_they_are() -> None:
    for declared in (Declared("tensors", (MAP,)), Declared("columns", (MAP,), unusable="why")):
        assert fitted(declared, Signature((Tensor("x", "FP32", (-1,)),), ())) is declared
