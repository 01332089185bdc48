"""What the analysis says of a serialized model."""

from __future__ import annotations

from serving.execution.onnx_nodes import read_nodes
from serving.loading.batching.analysis import Analysis, analyse_graph
from serving.signature import Signature


def analyse(model: bytes, signature: Signature, max_rows: int = 64) -> Analysis:
    return analyse_graph(read_nodes(model), signature, max_rows)
