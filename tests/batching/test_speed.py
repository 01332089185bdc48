"""The analysis is quick: it runs before every version is served."""

from __future__ import annotations

import time

import pytest
from onnx import TensorProto, helper

from serving.signature import Signature, Tensor
from tests.batching.analysed import analyse

pytestmark = pytest.mark.alone

NODES = 10_000
# Of processor time, on a busy machine; an idle core takes less than half a second.
MOST_SECONDS = 3.0


def _long_model() -> bytes:
    names = ["x", *(f"/layers.{at}/Relu_output_0" for at in range(NODES))]
    nodes = [
        helper.make_node("Relu", [names[at]], [names[at + 1]], name=f"/layers.{at}/Relu")
        for at in range(NODES)
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 8])
        for name in (names[0], names[-1])
    ]
    graph = helper.make_graph(nodes, "long", ends[:1], ends[1:])
    model: bytes = helper.make_model(graph).SerializeToString()
    return model


def test_ten_thousand_nodes_take_no_time_that_a_user_sees() -> None:
    model = _long_model()
    output = f"/layers.{NODES - 1}/Relu_output_0"
    signature = Signature((Tensor("x", "FP32", (-1, 8)),), (Tensor(output, "FP32", (-1, 8)),))
    start = time.process_time()
    verdict = analyse(model, signature)
    assert time.process_time() - start < MOST_SECONDS
    assert verdict.kind == "proven"
