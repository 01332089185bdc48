"""Models that change with every request.

onnxruntime writes the running mean and variance of a BatchNormalization in training mode over
the constants that they began as: one NaN in a request spoils every later answer. Where a
request brings them along nothing is kept.
"""

from __future__ import annotations

from collections.abc import Collection

from serving.errors import LoadError
from serving.execution.onnx_nodes import Graph, Model, Node

# Places of running mean and variance.
_RUNNING = (3, 4)


def check_stateless(model: Model) -> None:
    """Raises LoadError for a model that keeps a state between requests."""
    opset = model.opsets.get("", 1)
    found = _stateful(model.graph, frozenset(), opset)
    for body in model.functions.values():
        own = body.opsets.get("", opset)
        found = found or _stateful(body, frozenset(), own)
    if found is not None:
        raise LoadError(
            f"node '{found.name or found.outputs[0]}' (BatchNormalization) is in training mode:"
            " it would change the model with every request; export the model for inference"
        )


def _stateful(graph: Graph, outer: Collection[str], opset: int) -> Node | None:
    """The first node that keeps a state; ``outer``: what requests decide in graphs around."""
    decided = {*outer, *(name for name in graph.inputs if name not in graph.constants)}
    for node in graph.nodes:
        if _trains(node, opset) and not all(
            place < len(node.inputs) and node.inputs[place] in decided for place in _RUNNING
        ):
            return node
        for body in node.graphs.values():
            found = _stateful(body, decided, opset)
            if found is not None:
                return found
        if node.graphs or any(name in decided for name in node.inputs):
            decided.update(node.outputs)
    return None


def _trains(node: Node, opset: int) -> bool:
    """By an attribute since opset 14, before by having more outputs than one."""
    if node.operator != "BatchNormalization" or node.domain:
        return False
    if opset >= 14:
        return bool(node.numbers.get("training_mode", 0))
    return sum(map(bool, node.outputs)) > 1
