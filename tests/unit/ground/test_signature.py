"""What changes of a signature break those who call it."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from serving.execution.onnx_file import NotOnnxError
from serving.execution.onnx_signature import differences
from serving.models.desired import signatures
from serving.models.desired.signatures import Signatures
from serving.signature import Signature, Tensor, difference

X, Y = Tensor("x", "FP32", (-1, 4)), Tensor("y", "FP32", (-1, 3))
BASE = Signature((X,), (Y,))
OPTIONAL = Tensor("k", "INT64", (), optional=True)


def sizes(*shape: int, name: str = "x") -> Tensor:
    return Tensor(name, "FP32", shape)


PASS: dict[str, tuple[Signature, Signature]] = {
    "the same": (BASE, BASE),
    "other names of dimensions": (
        BASE,
        Signature((Tensor("x", "FP32", (-1, 4), dim_names=("n", "4")),), (Y,)),
    ),
    "another order": (
        Signature((X, sizes(1, name="b")), (Y, sizes(2, name="z"))),
        Signature((sizes(1, name="b"), X), (sizes(2, name="z"), Y)),
    ),
    "a new optional input": (BASE, Signature((X, OPTIONAL), (Y,))),
    "an input that may be left out now": (
        BASE,
        Signature((Tensor("x", "FP32", (-1, 4), optional=True),), (Y,)),
    ),
    "more outputs": (BASE, Signature((X,), (Y, Tensor("z", "BYTES", (-1,))))),
    "an input's dimension may vary now": (BASE, Signature((sizes(-1, -1),), (Y,))),
    "an output's dimension may vary now": (BASE, Signature((X,), (sizes(-1, -1, name="y"),))),
    "an output's dimension varies no more": (BASE, Signature((X,), (sizes(8, 3, name="y"),))),
    "other shapes of its own that a reshape hides": (
        Signature((sizes(4),), (Y,)),
        Signature((Tensor("x", "FP32", (2, 2), described=(4,)),), (Y,)),
    ),
    "an output that nothing can carry": (
        BASE,
        Signature((X,), (Y,), left_out=("p: seq(map)",)),
    ),
}

BREAK: dict[str, tuple[Signature, Signature, tuple[str, ...]]] = {
    "an input is missing": (
        Signature((X, sizes(1, name="b")), (Y,)),
        BASE,
        ("input 'b' is missing",),
    ),
    "an optional input is missing": (
        Signature((X, OPTIONAL), (Y,)),
        BASE,
        ("input 'k' is missing",),
    ),
    "a new required input": (
        BASE,
        Signature((X, Tensor("k", "INT64", ())), (Y,)),
        ("input 'k' is new and required",),
    ),
    "an input that may not be left out any more": (
        Signature((X, OPTIONAL), (Y,)),
        Signature((X, Tensor("k", "INT64", ())), (Y,)),
        ("input 'k' is required now",),
    ),
    "an input's datatype": (
        BASE,
        Signature((Tensor("x", "FP64", (-1, 4)),), (Y,)),
        ("input 'x' is FP64, was FP32",),
    ),
    "an input's rank": (
        BASE,
        Signature((sizes(-1, 4, 1),), (Y,)),
        ("input 'x' has shape [-1,4,1], had [-1,4]",),
    ),
    "an input's fixed dimension": (
        BASE,
        Signature((sizes(-1, 5),), (Y,)),
        ("input 'x' has shape [-1,5], had [-1,4]",),
    ),
    "an input's dimension varies no more": (
        BASE,
        Signature((sizes(1, 4),), (Y,)),
        ("input 'x' has shape [1,4], had [-1,4]",),
    ),
    "an output is missing": (BASE, Signature((X,), ()), ("output 'y' is missing",)),
    "an output's datatype": (
        BASE,
        Signature((X,), (Tensor("y", "INT64", (-1, 3)),)),
        ("output 'y' is INT64, was FP32",),
    ),
    "an output's rank": (
        BASE,
        Signature((X,), (sizes(-1, name="y"),)),
        ("output 'y' has shape [-1], had [-1,3]",),
    ),
    "an output's fixed dimension": (
        BASE,
        Signature((X,), (sizes(-1, 2, name="y"),)),
        ("output 'y' has shape [-1,2], had [-1,3]",),
    ),
    "an input that a reshape shows otherwise": (
        Signature((sizes(2, 2),), (Y,)),
        Signature((Tensor("x", "FP32", (2, 2), described=(4,)),), (Y,)),
        ("input 'x' has shape [4], had [2,2]",),
    ),
    "an input whose reshape is gone": (
        Signature((Tensor("x", "FP32", (2, 2), described=(4,)),), (Y,)),
        Signature((sizes(2, 2),), (Y,)),
        ("input 'x' has shape [2,2], had [4]",),
    ),
    "an output whose rank a reshape changes": (
        BASE,
        Signature((X,), (Tensor("y", "FP32", (-1, 3), described=(-1, 3, 1)),)),
        ("output 'y' has shape [-1,3,1], had [-1,3]",),
    ),
    "a renamed input and another datatype": (
        BASE,
        Signature((sizes(-1, 4, name="X"),), (Tensor("y", "BYTES", (-1, 3)),)),
        ("input 'x' is missing", "input 'X' is new and required", "output 'y' is BYTES, was FP32"),
    ),
}


@pytest.mark.parametrize("case", PASS)
def test_what_only_widens_breaks_nobody(case: str) -> None:
    assert difference(*PASS[case]) == ()


@pytest.mark.parametrize("case", BREAK)
def test_what_breaks_callers_is_said(case: str) -> None:
    old, new, words = BREAK[case]
    assert difference(old, new) == words


# What is kept of them.


def test_signatures_come_back_from_their_document_as_callers_know_them() -> None:
    named = Tensor("x", "BYTES", (-1, 4), dim_names=("n", "4"))
    kept = Signatures()
    assert kept.put("m", Signature((named, OPTIONAL), (Y,), left_out=("p: map",)))
    assert kept.put("ü", BASE)
    again = Signatures(json.loads(json.dumps(kept.document())))
    plain = Signature((Tensor("x", "BYTES", (-1, 4)), OPTIONAL), (Y,))
    assert (again.of("m"), again.of("ü"), again.of("other")) == (plain, BASE, None)
    assert not again.put("m", Signature((named, OPTIONAL), (Y,)))
    assert again.put("m", Signature((Tensor("x", "FP32", (2, 2), described=(4,)),), (Y,)))
    assert Signatures(again.document()).of("m") == Signature((sizes(4),), (Y,))


def test_those_that_changed_longest_ago_are_forgotten_where_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = Signatures()
    for model in ("a", "b", "c"):
        kept.put(model, BASE)
    one = len(json.dumps(kept.document()["models"]["a"]))
    kept.put("a", Signature((X,), (Y, sizes(1))))
    monkeypatch.setattr(signatures, "MAX_BYTES", 3 * one)
    assert list(kept.document()["models"]) == ["c", "a"]


TENSOR = {"name": "x", "datatype": "FP32", "shape": [-1]}


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"form": 2, "models": {}},
        {"form": 1},
        {"form": 1, "models": {"m": []}},
        {"form": 1, "models": {"m": {"inputs": [TENSOR]}}},
        {"form": 1, "models": {"m": {"inputs": [{**TENSOR, "shape": [True]}], "outputs": []}}},
        {"form": 1, "models": {"m": {"inputs": [{**TENSOR, "shape": [-2]}], "outputs": []}}},
        {"form": 1, "models": {"m": {"inputs": [{**TENSOR, "datatype": "F"}], "outputs": []}}},
        {"form": 1, "models": {"m": {"inputs": [{**TENSOR, "name": 1}], "outputs": []}}},
        {"form": 1, "models": {"m": {"inputs": [{**TENSOR, "optional": 1}], "outputs": []}}},
    ],
)
def test_a_document_that_is_not_ours_is_refused(document: Any) -> None:
    with pytest.raises(ValueError, match=r"form|models|m: "):
        Signatures(document)


# As files state it.


def value(name: str, datatype: int, dims: list[int | str] | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, datatype, dims)


def file(
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    given: tuple[str, ...] = (),
) -> bytes:
    initializers = [numpy_helper.from_array(np.zeros(4, np.float32), name) for name in given]
    graph = helper.make_graph([], "g", inputs, outputs, initializers)
    return helper.make_model(graph).SerializeToString()


FLOAT, INT64, SEQUENCE = (
    TensorProto.FLOAT,
    TensorProto.INT64,
    helper.make_value_info(
        "z", helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    ),
)
OLD = file([value("x", FLOAT, ["n", 4])], [value("y", FLOAT, ["n", 3])])


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (OLD, ()),
        (file([value("x", FLOAT, ["n", "m"])], [value("y", FLOAT, ["n", 3]), SEQUENCE]), ()),
        (
            file(
                [value("x", FLOAT, ["n", 4]), value("b", FLOAT, [4])],
                [value("y", FLOAT, None)],
                given=("b",),
            ),
            (),
        ),
        (
            file([value("x", INT64, ["n", 4]), value("b", FLOAT, [4])], [SEQUENCE]),
            (
                "input 'x' is INT64, was FP32",
                "input 'b' is new and required",
                "output 'y' is missing",
            ),
        ),
        (
            file([value("x", FLOAT, ["n", 5])], [value("y", FLOAT, [3])]),
            (
                "input 'x' has shape [-1,5], had [-1,4]",
                "output 'y' has shape [3], had [-1,3]",
            ),
        ),
    ],
)
def test_files_are_compared_as_far_as_both_state_it(new: bytes, words: tuple[str, ...]) -> None:
    assert differences(OLD, new) == words


def test_what_is_no_model_is_refused_and_nothing_worse() -> None:
    for end in range(len(OLD)):
        with contextlib.suppress(NotOnnxError):
            differences(OLD[:end], OLD)
    with pytest.raises(NotOnnxError):
        differences(b"not a model", OLD)
