"""Which models can be made to divide the smallest integer by -1, by their graphs alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from serving.execution.isolation.integer_division import graph_divides_integers
from serving.execution.onnx_nodes import read_file_nodes, read_nodes
from tests import crash_models, real_models, small_models
from tests.unit import graphs
from tests.unit.graphs import BOOL, FLOAT, INT32, INT64, UINT8, node

ROOT = Path(__file__).resolve().parents[4]


def divides_integers(model: bytes) -> bool:
    return graph_divides_integers(read_nodes(model))


def file_divides_integers(version_dir: Path, filename: str) -> bool:
    found = read_file_nodes(version_dir, filename)
    return found is not None and graph_divides_integers(found)


def div(
    before: Sequence[onnx.NodeProto],
    operands: tuple[str, str],
    inputs: Sequence[graphs.Value],
    constants: dict[str, object] | None = None,
    out: int = INT64,
) -> bool:
    nodes = [*before, node("Div", list(operands), ["y"])]
    made = graphs.model(nodes, inputs, [("y", out, None)], constants)
    return divides_integers(made.SerializeToString())


A = ("a", INT64, ["n"])
B = ("b", INT64, ["n"])
X = ("x", FLOAT, ["n", 3])


@pytest.mark.parametrize(
    ("datatype", "unsafe"),
    [
        (INT64, True),
        (INT32, True),
        (FLOAT, False),
        (TensorProto.INT8, False),
        (TensorProto.INT16, False),
        (UINT8, False),
        (TensorProto.UINT64, False),
        (TensorProto.DOUBLE, False),
    ],
)
def test_only_wide_signed_integers_are_unsafe(datatype: int, unsafe: bool) -> None:
    assert div([], ("a", "b"), [("a", datatype, ["n"]), ("b", datatype, ["n"])], out=datatype) is (
        unsafe
    )


@pytest.mark.parametrize(
    ("divisor", "unsafe"), [([2], False), ([2, 3, 0], False), ([-1], True), ([2, -1], True)]
)
@pytest.mark.parametrize("packed", [True, False])
def test_a_constant_divisor_is_safe_unless_it_is_minus_one(
    divisor: list[int], unsafe: bool, packed: bool
) -> None:
    if packed:
        constant = helper.make_tensor("b", INT64, [len(divisor)], divisor)
    else:
        constant = onnx.numpy_helper.from_array(np.array(divisor), "b")
    assert div([], ("a", "b"), [A], {"b": constant}) is unsafe


def test_a_constant_that_clients_may_send_another_value_for_is_none() -> None:
    assert div([], ("a", "b"), [A, ("b", INT64, [1])], {"b": np.array([2])})


def test_a_constant_dividend_is_safe_unless_it_is_the_smallest() -> None:
    assert not div([], ("one", "b"), [B], {"one": np.array([1])})
    assert div([], ("least", "b"), [B], {"least": np.array([crash_models.POISON])})


@pytest.mark.parametrize(
    "made",
    [
        node("Constant", [], ["b"], value_int=-1),
        node("Constant", [], ["b"], value_ints=[3, -1]),
        node("Constant", [], ["b"], value=helper.make_tensor("v", INT64, [1], [-1])),
        node("Identity", ["minus"], ["b"]),
    ],
)
def test_minus_one_is_found_however_it_is_written(made: onnx.NodeProto) -> None:
    assert div([made], ("a", "b"), [A], {"minus": np.array([-1])})


@pytest.mark.parametrize(
    "before",
    [
        [node("Shape", ["x"], ["d"])],
        [node("Shape", ["x"], ["s"]), node("Gather", ["s", "zero"], ["d"])],
        [
            node("Shape", ["x"], ["s"]),
            node("Slice", ["s", "zero", "two"], ["t"]),
            node("ReduceProd", ["t"], ["d"]),
        ],
        [node("Shape", ["x"], ["s"]), node("Cast", ["s"], ["d"], to=INT32)],
        [node("ArgMax", ["x"], ["d"])],
        [node("Cast", ["flags"], ["d"], to=INT64)],
        [node("Size", ["x"], ["s"]), node("Mul", ["s", "two"], ["d"])],
    ],
)
def test_computing_with_shapes_is_safe_on_either_side(before: list[onnx.NodeProto]) -> None:
    inputs = [A, X, ("flags", BOOL, ["n"])]
    constants = {"zero": np.array([0]), "two": np.array([2])}
    assert not div(before, ("a", "d"), inputs, constants)
    assert not div(before, ("d", "a"), inputs, constants)


@pytest.mark.parametrize(
    "before",
    [
        [node("Cast", ["x"], ["d"], to=INT64)],
        [node("Shape", ["x"], ["s"]), node("Sub", ["s", "a"], ["d"])],
        [node("Neg", ["a"], ["d"])],
        [node("Where", ["flags", "a", "one"], ["d"])],
        [node("Gather", ["table", "a"], ["d"])],
        [node("Unheard", ["x"], ["d"], domain="com.example")],
    ],
)
def test_what_requests_bring_is_unsafe_by_whatever_way_it_comes(
    before: list[onnx.NodeProto],
) -> None:
    inputs = [A, X, ("flags", BOOL, ["n"])]
    constants = {"one": np.array([1]), "table": np.array([5, -1])}
    assert div(before, ("a", "d"), inputs, constants)


def in_branch(body_nodes: list[onnx.NodeProto]) -> bytes:
    """An If whose then-branch holds the nodes; it sees ``a`` and ``b`` outside."""
    y = helper.make_tensor_value_info("y", INT64, None)
    then = helper.make_graph([*body_nodes, node("Div", ["a", "d"], ["y"])], "then", [], [y])
    same = helper.make_graph([node("Identity", ["a"], ["y"])], "else", [], [y])
    choice = node("If", ["go"], ["z"], then_branch=then, else_branch=same)
    inputs = [A, B, ("go", BOOL, [])]
    return graphs.model(
        [choice], inputs, [("z", INT64, None)], {"two": np.array([2])}
    ).SerializeToString()


def test_branches_are_looked_into_with_what_is_around_them() -> None:
    assert divides_integers(in_branch([node("Identity", ["b"], ["d"])]))
    assert not divides_integers(in_branch([node("Identity", ["two"], ["d"])]))


@pytest.mark.parametrize(("divisor", "unsafe"), [("b", True), ("two", False)])
def test_functions_are_looked_into_at_each_call(divisor: str, unsafe: bool) -> None:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    body = helper.make_function(
        "local", "Halve", ["p", "q"], ["r"], [node("Div", ["p", "q"], ["r"])], opsets[:1]
    )
    made = graphs.model(
        [node("Halve", ["a", divisor], ["y"], domain="local")],
        [A, B],
        [("y", INT64, None)],
        {"two": np.array([2])},
        domains=["local"],
    )
    made.functions.append(body)
    assert divides_integers(made.SerializeToString()) is unsafe


def test_functions_that_call_themselves_are_given_up_as_unsafe() -> None:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    call = node("Again", ["p"], ["r"], domain="local")
    made = graphs.model(
        [node("Again", ["a"], ["y"], domain="local")], [A], [("y", INT64, None)], domains=["local"]
    )
    made.functions.append(helper.make_function("local", "Again", ["p"], ["r"], [call], opsets))
    assert divides_integers(made.SerializeToString())


def test_what_is_no_model_divides_nothing(tmp_path: Path) -> None:
    place = small_models.write(tmp_path, "m", crash_models.divide_by_input())
    file = place / "model.onnx"
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        file_divides_integers(place, "model.onnx")
    file.write_bytes(b"\x3a\xff")
    assert not file_divides_integers(place, "model.onnx")


def test_a_file_that_cannot_be_read_divides_nothing(tmp_path: Path) -> None:
    assert not file_divides_integers(tmp_path, "model.onnx")
    place = small_models.write(tmp_path, "m", crash_models.divide_by_input())
    assert file_divides_integers(place, "model.onnx")


@pytest.mark.parametrize("name", ["magika", "ocr_cls", "silero_vad", "silero_vad_16k_sequence"])
def test_real_models_run_in_the_servers_own_process(name: str) -> None:
    assert not divides_integers(real_models.path(name).read_bytes())


@pytest.mark.parametrize("version", [1, 2])
def test_the_example_model_runs_in_the_servers_own_process(version: int) -> None:
    assert not file_divides_integers(ROOT / "model_repo" / "digits" / str(version), "model.onnx")
