"""Outputs that no tensor protocol carries, read off the file as onnxruntime would say them."""

from __future__ import annotations

import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from serving.execution import onnx_types
from serving.execution.graph import signature_of
from serving.execution.onnx_file import NotOnnxError
from serving.model_config.schema import ModelConfig
from serving.signature import LeftOut, left_out_notes

FLOATS = helper.make_tensor_type_proto(TensorProto.FLOAT, [2])


def classifier() -> onnx.ModelProto:
    """What skl2onnx makes of a classifier: labels, and a map of probabilities for each row."""
    rows = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])
    maps = helper.make_sequence_type_proto(helper.make_map_type_proto(TensorProto.INT64, FLOATS))
    maps.sequence_type.elem_type.map_type.value_type.tensor_type.ClearField("shape")
    outputs = [
        helper.make_tensor_value_info("kept", TensorProto.FLOAT, ["n", 2]),
        helper.make_value_info("probabilities", maps),
    ]
    nodes = [
        helper.make_node("Identity", ["x"], ["kept"]),
        helper.make_node(
            "ZipMap", ["x"], ["probabilities"], domain="ai.onnx.ml", classlabels_int64s=[0, 1]
        ),
    ]
    return made(nodes, [rows], outputs)


def made(nodes, inputs, outputs) -> onnx.ModelProto:
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    return helper.make_model(graph, opset_imports=domains, ir_version=8)


def sequences() -> onnx.ModelProto:
    rows = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    outputs = [
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [2]),
        helper.make_value_info("several", helper.make_sequence_type_proto(FLOATS)),
        helper.make_value_info("perhaps", helper.make_optional_type_proto(FLOATS)),
        helper.make_tensor_value_info("small", TensorProto.FLOAT8E4M3FN, [2]),
    ]
    nodes = [
        helper.make_node("Identity", ["x"], ["y"]),
        helper.make_node("SequenceConstruct", ["x", "x"], ["several"]),
        helper.make_node("Optional", ["x"], ["perhaps"]),
        helper.make_node("Cast", ["x"], ["small"], to=TensorProto.FLOAT8E4M3FN),
    ]
    model = made(nodes, [rows], outputs)
    model.opset_import[0].version, model.ir_version = 19, 9
    return model


@pytest.mark.parametrize("model", [classifier(), sequences()], ids=["maps", "others"])
def test_the_file_says_what_the_session_will(model) -> None:
    data = model.SerializeToString()
    session = onnxruntime.InferenceSession(data)
    loaded = signature_of(session, (), ModelConfig()).left_out
    assert loaded
    assert onnx_types.left_out(data) == loaded


def test_a_note_says_what_is_left_out_and_the_cure() -> None:
    (note,) = left_out_notes(onnx_types.left_out(classifier().SerializeToString()))
    assert "output 'probabilities' is left out" in note
    assert "seq(map(int64,tensor(float)))" in note
    assert "options={'zipmap': False}" in note


def test_a_note_is_bounded() -> None:
    outputs = [LeftOut(f"y{i}", "seq(tensor(float))") for i in range(500)]
    (note,) = left_out_notes(outputs)
    assert len(note) < 1000
    assert "497 more outputs" in note
    assert left_out_notes([]) == ()


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_file_that_breaks_off_is_refused_and_never_crashes(cut) -> None:
    data = classifier().SerializeToString()
    with pytest.raises(NotOnnxError):
        onnx_types.left_out(data[:-cut])


def test_types_nested_deep_are_an_unknown_type() -> None:
    inner = b""
    for _ in range(300):
        inner = _field(4, _field(1, inner))
    info = _field(1, b"y") + _field(2, inner)
    (found,) = onnx_types.left_out(_field(7, _field(12, info)))
    assert found.name == "y"
    assert "an unknown type" in found.type


def _field(number: int, data: bytes) -> bytes:
    size, length = len(data), b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + data


def test_plain_tensors_leave_nothing_out() -> None:
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "xy"]
    model = made([helper.make_node("Identity", ["x"], ["y"])], value[:1], value[1:])
    assert onnx_types.left_out(model.SerializeToString()) == ()
