"""Where a graph takes steps: where a difference in the last digit can become a whole one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from serving.execution.onnx_nodes import Graph, Model, Node

_STEPS = frozenset(
    [
        *("ArgMax", "ArgMin", "Ceil", "Equal", "Floor", "Greater", "GreaterOrEqual", "Hardmax"),
        *("IsInf", "IsNaN", "Less", "LessOrEqual", "Mod", "NonZero", "Not", "QuantizeLinear"),
        *("Round", "Sign", "TopK", "ThresholdedRelu", "Shrink", "Binarizer", "LinearClassifier"),
        *("SVMClassifier", "TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor"),
        *("LabelEncoder", "Unique", "NonMaxSuppression", "OneHot"),
    ]
)
# Those that quantise what they make.
_QUANTISED = ("QLinear", "QGemm", "QAttention", "QOrdered", "DynamicQuantize")
_INTEGERS = frozenset({2, 3, 4, 5, 6, 7, 9, 12, 13})


@dataclass(frozen=True, slots=True)
class Steps:
    """``before``: main-graph tensor that enters a step -> the step's node. ``behind``: tensor
    behind steps -> the tensors that enter the first of them."""

    before: Mapping[str, str] = field(default_factory=dict)
    behind: Mapping[str, frozenset[str]] = field(default_factory=dict)


def steps_of(model: Model) -> Steps:
    """The steps of a model's main graph; a graph within a node counts with the node."""
    before: dict[str, str] = {}
    behind: dict[str, frozenset[str]] = {}
    constants = model.graph.constants
    stepping = {key for key, body in model.functions.items() if _has_step(body, frozenset())}
    for node in model.graph.nodes:
        found = frozenset().union(*(behind.get(name, frozenset()) for name in node.inputs))
        if not found and _is_step(node, stepping):
            entering = frozenset(name for name in node.inputs if name and name not in constants)
            before.update(dict.fromkeys(entering, node.name or node.operator))
            found = entering
        if found:
            behind.update(dict.fromkeys(filter(None, node.outputs), found))
    return Steps(before, behind)


def _is_step(node: Node, stepping: Iterable[tuple[str, str]]) -> bool:
    if node.operator in _STEPS or node.operator.startswith(_QUANTISED):
        return True
    if node.operator == "Cast":
        return node.numbers.get("to") in _INTEGERS
    if (node.domain, node.operator) in stepping:
        return True
    return any(_has_step(graph, stepping) for graph in node.graphs.values())


def _has_step(graph: Graph, stepping: Iterable[tuple[str, str]]) -> bool:
    return any(_is_step(node, stepping) for node in graph.nodes)
