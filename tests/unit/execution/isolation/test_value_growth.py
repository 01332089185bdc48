"""Which models make as much as a request's values say, by their graphs alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from serving.execution.isolation import value_growth
from serving.execution.isolation.value_growth import growth
from serving.execution.onnx_nodes import read_nodes
from tests import real_models
from tests.unit import graphs
from tests.unit.graphs import BOOL, FLOAT, INT64, STRING, node

X = ("x", FLOAT, ["n", 4])
N = ("n", INT64, [1])
TEXTS = ("t", STRING, ["n"])
FLAGS = ("flags", BOOL, ["n"])
CONSTANTS = {
    "zero": np.array(0),
    "one": np.array(1),
    "ones": np.array([1]),
    "most": np.array([512]),
    "half": np.array([0.5], np.float32),
    "size": np.array([3, 4]),
    "table": np.array([7, 8, 9]),
}
SHAPE = [node("Shape", ["x"], ["s"]), node("Gather", ["s", "zero"], ["k"])]


def found(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[graphs.Value] = (X, N, TEXTS, FLAGS),
    constants: dict[str, Any] | None = None,
    **more: Any,
) -> str:
    made = graphs.model(nodes, inputs, [("y", FLOAT, None)], CONSTANTS | (constants or {}), **more)
    return growth(read_nodes(made.SerializeToString()))


def fill(before: Sequence[onnx.NodeProto], size: str = "d", **more: Any) -> str:
    return found([*before, node("ConstantOfShape", [size], ["y"], name="fill")], **more)


@pytest.mark.parametrize(
    ("operator", "inputs"),
    [
        ("ConstantOfShape", ["n"]),
        ("Expand", ["x", "n"]),
        ("Tile", ["x", "n"]),
        ("Range", ["zero", "n", "one"]),
        ("Range", ["n", "zero", "one"]),
        ("Range", ["zero", "one", "n"]),
        ("Pad", ["x", "n"]),
        ("Resize", ["x", "", "n"]),
        ("Resize", ["x", "", "", "n"]),
        ("Upsample", ["x", "n"]),
        ("OneHot", ["table", "n", "half"]),
        ("Col2Im", ["x", "n", "size"]),
        ("AffineGrid", ["x", "n"]),
        ("HannWindow", ["n"]),
        ("MelWeightMatrix", ["n", "one", "one", "one", "one"]),
        ("DFT", ["x", "n"]),
        ("STFT", ["x", "n"]),
        ("CenterCropPad", ["x", "n"]),
        ("MaxUnpool", ["x", "x", "n"]),
        ("StringSplit", ["t"]),
        ("ImageDecoder", ["x"]),
    ],
)
def test_a_size_out_of_a_requests_values_is_growth(operator: str, inputs: list[str]) -> None:
    words = found([node(operator, inputs, ["y"], name="grows")])
    assert words == f"node 'grows' ({operator})"
    free = {"n", "t", "x"} if operator in ("StringSplit", "ImageDecoder") else {"n"}
    fixed = ["size" if name in free else name for name in inputs]
    assert not found([node(operator, fixed, ["y"])])


def test_a_node_without_a_name_goes_by_what_it_makes() -> None:
    assert found([node("ConstantOfShape", ["n"], ["y"])]) == "node 'y' (ConstantOfShape)"


@pytest.mark.parametrize(
    "before",
    [
        [node("Shape", ["x"], ["d"])],
        [*SHAPE, node("Mul", ["k", "k"], ["m"]), node("Unsqueeze", ["m", "zero"], ["d"])],
        [*SHAPE, node("Cast", ["k"], ["f"], to=FLOAT), node("Exp", ["f"], ["d"])],
        [node("NonZero", ["n"], ["i"]), node("Shape", ["i"], ["d"])],
        [node("ArgMax", ["x"], ["d"])],
        [node("NonZero", ["x"], ["i"]), node("ReduceMax", ["i"], ["d"])],
        [node("TopK", ["x", "ones"], ["v", "d"])],
        [node("Cast", ["flags"], ["i"], to=INT64), node("ReduceSum", ["i"], ["d"])],
        [node("Greater", ["n", "one"], ["b"]), node("Cast", ["b"], ["d"], to=INT64)],
        [node("Min", ["n", "most"], ["d"])],
        [*SHAPE, node("Min", ["n", "s"], ["m"]), node("Cast", ["m"], ["d"], to=INT64)],
        [node("Clip", ["n", "zero", "most"], ["c"]), node("Add", ["c", "one"], ["d"])],
        [
            node("Max", ["n", "zero"], ["m"]),
            node("Min", ["m", "most"], ["c"]),
            node("Mul", ["c", "c"], ["d"]),
        ],
        [node("Gather", ["table", "n"], ["d"])],
        [node("Identity", ["size"], ["d"])],
    ],
)
def test_sizes_out_of_shapes_counts_and_bounds_are_none(before: list[onnx.NodeProto]) -> None:
    assert not fill(before)


@pytest.mark.parametrize(
    "before",
    [
        [node("Cast", ["x"], ["d"], to=INT64)],
        [node("Max", ["n", "most"], ["d"])],
        [node("Add", ["n", "one"], ["d"])],
        [node("Min", ["n", "most"], ["m"]), node("Sub", ["zero", "m"], ["d"])],
        [node("Clip", ["n", "zero"], ["d"])],
        [node("Sigmoid", ["x"], ["p"]), node("Div", ["half", "p"], ["d"])],
        [node("Sigmoid", ["x"], ["p"]), node("Reciprocal", ["p"], ["d"])],
        [node("ArgMax", ["x"], ["i"]), node("Pow", ["size", "i"], ["d"])],
        [*SHAPE, node("Mul", ["k", "n"], ["d"])],
        [node("Strange", ["most", "n"], ["d"], domain="my.own")],
    ],
)
def test_what_a_request_may_choose_freely_is_no_bound(before: list[onnx.NodeProto]) -> None:
    assert fill(before, domains=["my.own"]) == "node 'fill' (ConstantOfShape)"


@pytest.mark.parametrize(
    ("inputs", "grows"),
    [
        (["zero", "m", "one"], False),
        (["m", "zero", "minus"], False),
        (["m", "zero", "one"], True),
        (["zero", "b", "step"], False),
        (["zero", "m", "step"], True),
        (["zero", "one", "b"], True),
    ],
)
def test_a_range_is_bounded_by_what_it_runs_towards(inputs: list[str], grows: bool) -> None:
    before = [
        *SHAPE,
        node("Min", ["n", "most"], ["m"]),
        node("ArgMin", ["x"], ["b"]),
        node("Cast", ["k"], ["step"], to=INT64),
    ]
    words = found([*before, node("Range", inputs, ["y"])], constants={"minus": np.array([-1])})
    assert bool(words) is grows


def loop(
    body: Sequence[onnx.NodeProto], condition_out: str, scans: int = 0, **ends: str
) -> onnx.NodeProto:
    """Carries ``c`` (out as ``c_out``); ``turns`` and ``going`` are what its ends say."""
    outs = [(condition_out, BOOL, None), ("c_out", FLOAT, None)]
    graph = helper.make_graph(
        list(body),
        "body",
        [helper.make_tensor_value_info(*v) for v in (("i", INT64, []), ("go", BOOL, []))]
        + [helper.make_tensor_value_info("c", FLOAT, None)],
        [helper.make_tensor_value_info(*v) for v in outs + [("scan", FLOAT, None)] * scans],
    )
    inputs = [ends.get("turns", ""), ends.get("going", ""), "x"]
    return node("Loop", inputs, ["y", "z"][: 1 + scans], name="loop", body=graph)


SAME = [node("Identity", ["go"], ["go_out"])]
KEEPS = [*SAME, node("Add", ["c", "c"], ["c_out"])]
APPENDS = [*SAME, node("Concat", ["c", "half"], ["c_out"], axis=0)]
GIVES = [*KEEPS, node("Identity", ["c"], ["scan"])]
# Ends when what it carries says so.
ASKS = [node("Add", ["c", "c"], ["c_out"]), node("Greater", ["c", "half"], ["go_out"])]


@pytest.mark.parametrize(
    ("body", "scans", "ends", "grows"),
    [
        (APPENDS, 0, {"turns": "n"}, True),
        (GIVES, 1, {"turns": "n"}, True),
        (KEEPS, 0, {"turns": "n"}, False),
        (APPENDS, 0, {"turns": "k"}, False),
        (GIVES, 1, {"turns": "one"}, False),
        (APPENDS, 0, {"going": "flag"}, True),
        (APPENDS, 0, {"turns": "for_ever", "going": "flag"}, True),
        (KEEPS, 0, {"turns": "for_ever", "going": "flag"}, False),
        (APPENDS, 0, {"turns": "k", "going": "flag"}, False),
        ([*ASKS, node("Identity", ["c"], ["scan"])], 1, {"turns": "for_ever"}, True),
        ([*ASKS, node("Identity", ["c"], ["scan"])], 1, {"turns": "one"}, False),
    ],
)
def test_a_loop_grows_that_values_keep_going(
    body: list[onnx.NodeProto], scans: int, ends: dict[str, str], grows: bool
) -> None:
    before = [*SHAPE, node("ReduceMax", ["flags"], ["flag"])]
    for_ever = {"for_ever": np.array(2**63 - 1)}
    words = found([*before, loop(body, "go_out", scans, **ends)], constants=for_ever)
    assert words == ("node 'loop' (Loop)" if grows else "")


def test_a_number_counted_up_by_a_loop_is_as_free_as_its_turns() -> None:
    for turns, grows in (("k", False), ("n", True)):
        inside = [*SAME, node("Add", ["c", "half"], ["c_out"])]
        nodes = [*SHAPE, loop(inside, "go_out", turns=turns)]
        nodes[-1].input[2] = "half"
        nodes[-1].output[0] = "d"
        assert bool(fill(nodes)) is grows


def test_graphs_inside_nodes_are_looked_into() -> None:
    inner = helper.make_graph(
        [node("ConstantOfShape", ["n"], ["made"], name="inner")],
        "inner",
        [],
        [helper.make_tensor_value_info("made", FLOAT, None)],
    )
    branch = node("If", ["flag"], ["y"], then_branch=inner, else_branch=inner)
    assert found([node("ReduceMax", ["flags"], ["flag"]), branch]).startswith("node 'inner'")


def test_functions_are_looked_into_with_what_each_call_brings() -> None:
    function = helper.make_function(
        "mine", "fill", ["f_in"], ["f_out"],
        [node("ConstantOfShape", ["f_in"], ["f_out"], name="inside")],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    for name, grows in (("size", False), ("n", True)):
        nodes = [node("fill", ["size"], ["z"], domain="mine")]
        nodes += [node("fill", [name], ["y"], domain="mine")]
        made = graphs.model(nodes, [X, N], [("y", FLOAT, None)], CONSTANTS, domains=["mine"])
        made.functions.append(function)
        words = growth(read_nodes(made.SerializeToString()))
        assert words == ("node 'inside' (ConstantOfShape)" if grows else "")


@pytest.mark.parametrize(("ir", "grows"), [(3, False), (8, True)])
def test_a_constant_is_free_where_requests_may_send_another(ir: int, grows: bool) -> None:
    assert bool(fill([], "table", inputs=[X, ("table", INT64, [3])], ir=ir)) is grows


def test_a_graph_that_is_too_large_to_look_through_counts_as_growth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(value_growth, "_MAX_NODES", 1)
    assert "too large" in found([node("Add", ["x", "x"], ["a"]), node("Neg", ["a"], ["y"])])


def test_each_node_is_looked_at_once() -> None:
    nodes = [node("Add", ["x" if i == 0 else f"v{i - 1}", "x"], [f"v{i}"]) for i in range(3_000)]
    made = graphs.model(nodes, [X], [("v2999", FLOAT, None)])
    search = value_growth._Search(read_nodes(made.SerializeToString()))
    search.model()
    assert value_growth._MAX_NODES - search._left == 3_000


def test_no_real_model_grows_with_its_values() -> None:
    for name in ("magika", "ocr_cls", "ocr_det", "ocr_rec", "silero_vad"):
        assert not growth(read_nodes(real_models.path(name).read_bytes())), name


def test_what_an_exporter_computes_from_shapes_is_no_growth() -> None:
    """Masks and positions of a transformer, the scale of a detector's image."""
    masks = [
        *SHAPE,
        node("Range", ["zero", "k", "one"], ["places"]),
        node("Concat", ["s", "s"], ["square"], axis=0),
        node("ConstantOfShape", ["square"], ["wide"]),
        node("Equal", ["square", "most"], ["any"]),
        node("Where", ["any", "square", "most"], ["target"]),
        node("Expand", ["x", "target"], ["y"]),
    ]
    scale = [
        *SHAPE,
        node("Cast", ["s"], ["f"], to=TensorProto.FLOAT),
        node("ReduceMin", ["f"], ["least"]),
        node("Div", ["half", "least"], ["scale"]),
        node("Resize", ["x", "", "scale"], ["y"]),
    ]
    assert not found(masks)
    assert not found(scale)


def test_what_is_not_whole_gets_a_verdict_all_the_same() -> None:
    """Of nodes with inputs or outputs cut off, whatever they are taken for."""
    whole = loop([*ASKS, node("Identity", ["c"], ["scan"])], "go_out", 1, turns="n", going="flag")
    for operator in ("Loop", "Scan", "If", "SequenceMap", "Range", "Clip", "Cast", "Div", "Min"):
        for count in range(len(whole.input) + 1):
            cut = onnx.NodeProto()
            cut.CopyFrom(whole)
            cut.op_type = operator
            del cut.input[count:]
            del cut.attribute[0].g.output[count:]
            del cut.attribute[0].g.input[:1]
            found([cut])


def test_an_attribute_of_the_wrong_wire_type_is_none() -> None:
    """A float written as a whole number: the reader of graphs went down with it."""
    attribute = b"\x0a\x01a\x10\x05"
    in_node = bytes([0x2A, len(attribute)]) + attribute
    in_graph = bytes([0x0A, len(in_node)]) + in_node
    model = read_nodes(bytes([0x3A, len(in_graph)]) + in_graph)
    assert model.graph.nodes[0].floats == {}
