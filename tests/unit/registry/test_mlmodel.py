"""MLflow's ``MLmodel`` file: what it says of a model, and what is no such file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.registry.mlmodel import Field, Mlmodel, MlmodelError, read
from tests.mlflow_models import columns, mlmodel, tensor

ALIASES = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 6)
)


def _read(folder: Path, said: Any) -> Mlmodel:
    text = said if isinstance(said, str) else yaml.safe_dump(said)
    (folder / "MLmodel").write_text(text)
    found = read(folder)
    assert found is not None
    return found


def test_a_folder_without_the_file_is_none_of_mlflows(tmp_path: Path) -> None:
    assert read(tmp_path) is None


def test_columns_become_fields(tmp_path: Path) -> None:
    kinds = ["boolean", "integer", "long", "float", "double", "string"]
    inputs = columns(*((kind, kind) for kind in kinds))
    inputs[0]["required"] = False
    found = _read(tmp_path, mlmodel(inputs)).declared
    assert found.form == "columns"
    datatypes = ["BOOL", "INT32", "INT64", "FP32", "FP64", "BYTES"]
    assert [one.datatype for one in found.fields] == datatypes
    assert [one.required for one in found.fields] == [False, *[True] * 5]
    assert [one.name for one in found.fields] == [one.kind for one in found.fields] == kinds
    nameless = _read(tmp_path, mlmodel(columns((None, "double"), (None, "double")))).declared
    assert [one.name for one in nameless.fields] == [None, None]


def test_tensors_become_fields(tmp_path: Path) -> None:
    said = mlmodel([tensor("x", "float32", [-1, 3]), tensor("t", "<U5", [-1])])
    found = _read(tmp_path, said).declared
    assert found.form == "tensors"
    assert found.fields == (
        Field("x", "FP32", (-1, 3), True, "float32"),
        Field("t", "BYTES", (-1,), True, "<U5"),
    )


def test_params_are_told_with_their_types(tmp_path: Path) -> None:
    params = [
        {"name": "t", "type": "float", "default": 0.5, "shape": None},
        {"name": "l", "type": "string", "default": ["a"], "shape": [-1]},
    ]
    found = _read(tmp_path, mlmodel(params=params)).declared
    assert (found.form, found.params) == ("", (("t", "float", False), ("l", "string", True)))


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ({"type": "datetime"}, ("BYTES", "datetime", "datetime", 0)),
        ({"type": "binary"}, ("BYTES", "binary", "binary", 0)),
        ({"type": "array", "items": {"type": "double"}}, ("FP64", "Array(double)", "double", 1)),
        (
            {"type": "array", "items": {"type": "array", "items": {"type": "datetime"}}},
            ("BYTES", "Array(Array(datetime))", "datetime", 2),
        ),
        ({"type": "map", "values": {"type": "long"}}, ("", "map", "map", 0)),
        ({"type": "array", "items": {"type": "any"}}, ("", "Array(any)", "any", 1)),
    ],
)
def test_columns_of_other_types_are_kept_with_what_lies_in_them(
    tmp_path: Path, spec: dict[str, Any], found: tuple[str, str, str, int]
) -> None:
    (one,) = _read(tmp_path, mlmodel([{**spec, "name": "c"}])).declared.fields
    assert (one.datatype, one.kind, one.values, one.lists) == found


def test_tensors_of_types_that_no_onnx_input_has_are_told(tmp_path: Path) -> None:
    found = _read(tmp_path, mlmodel([tensor("x", "complex64", [-1])])).declared
    assert "input 'x' is a tensor of complex64" in found.unusable


def test_what_the_onnx_flavor_says_is_kept(tmp_path: Path) -> None:
    found = _read(tmp_path, mlmodel(providers=["CPUExecutionProvider"]))
    assert found.flavors == ("onnx", "python_function")
    assert found.onnx is not None
    assert found.onnx["providers"] == ["CPUExecutionProvider"]
    assert _read(tmp_path, mlmodel(flavors={"sklearn": {}})).onnx is None


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("- a list", "is not a table of keys"),
        ("{", "is not YAML"),
        ({"flavors": ["onnx"]}, "its flavors must be a table"),
        ({"flavors": {"onnx": 5}}, "its onnx flavor must be a table"),
        ({"run_id": 5}, "an id that is no short text"),
        ({"signature": {"inputs": "["}}, "its inputs are not JSON"),
        ({"signature": {"inputs": "{}"}}, "its inputs must be a list"),
        ({"signature": {"inputs": "[5]"}}, "must be a list of tables"),
        (mlmodel([*columns(("a", "double")), tensor("x", "float32", [1])]), "tensors and columns"),
        (mlmodel(columns(("a", "double"), (None, "double"))), "some have none"),
        (mlmodel([tensor(None, "float32", [1]), tensor(None, "float32", [1])]), "some have none"),
        (mlmodel(columns(("a", "double"), ("a", "double"))), "the same name"),
        (mlmodel([tensor("x", "float32", [-2])]), "a list of sizes"),
        (mlmodel([tensor("x", "float32", [2**63])]), "a list of sizes"),
        (mlmodel([{"type": "tensor", "tensor-spec": {"dtype": "float32"}}]), "a list of sizes"),
        (mlmodel(columns(("\ud800", "double"))), "the name of an input must be a text"),
        (mlmodel(params=[{"name": "\ud800", "type": "long"}]), "a parameter must be a text"),
        # A million elements; with four more lines as many as no machine holds.
        (f"{ALIASES}signature: {{inputs: [{{type: *a5}}]}}", "must be a list, as a text in JSON"),
        (mlmodel([{"type": "array", "items": 5, "name": "v"}]), "the items of an array must be"),
        (mlmodel([{"type": "double", "name": 5}]), "the name of an input must be a text"),
        (mlmodel(params=[{"type": "long"}]), "the name of a parameter must be a text"),
        ("a: " + "b" * 1024 * 1024, "more than 1048576 bytes"),
    ],
)
def test_what_is_no_such_file_says_why(tmp_path: Path, said: Any, words: str) -> None:
    with pytest.raises(MlmodelError, match=words) as caught:
        _read(tmp_path, said)
    assert str(tmp_path) not in str(caught.value)
