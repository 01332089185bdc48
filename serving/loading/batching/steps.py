"""Where a graph takes steps: where a difference in the last digit can become a whole one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
# Beyond as many first steps no rounding is looked for; sets that grow along a graph would take
# the square of its length.
_MOST_ENTERING = 64
_TOO_MANY: frozenset[str] = frozenset()
_INTEGERS = frozenset({2, 3, 4, 5, 6, 7, 9, 12, 13})


@dataclass(frozen=True, slots=True)
class Steps:
    """``before``: main-graph tensor that enters a step -> the step's node. ``behind``: tensor
    behind steps -> the tensors that enter the first of them, none where they are too many."""

    before: Mapping[str, str] = field(default_factory=dict)
    behind: Mapping[str, frozenset[str]] = field(default_factory=dict)


def steps_of(model: Model) -> Steps:
    """The steps of a model's main graph; a graph within a node counts with the node."""
    before: dict[str, str] = {}
    behind: dict[str, frozenset[str]] = {}
    constants = model.graph.constants
    stepping = {key for key, body in model.functions.items() if _has_step(body, frozenset())}
    for node in model.graph.nodes:
        found = _together([behind[name] for name in node.inputs if name in behind])
        if found is None and _is_step(node, stepping):
            entering = frozenset(name for name in node.inputs if name and name not in constants)
            before.update(dict.fromkeys(entering, node.name or node.operator))
            found = _bounded(entering) if entering else None
        if found is not None:
            behind.update(dict.fromkeys(filter(None, node.outputs), found))
    return Steps(before, behind)


def _together(parts: Sequence[frozenset[str]]) -> frozenset[str] | None:
    """What is before any of several tensors; None where there is no step."""
    if not parts or not all(parts):
        return _TOO_MANY if parts else None
    whole: frozenset[str] = parts[0]
    for part in parts:
        # One set for all that are equal: a long graph has few.
        whole = whole if part <= whole else _bounded(whole | part)
        if not whole:
            break
    return whole


def _bounded(entering: frozenset[str]) -> frozenset[str]:
    return entering if len(entering) <= _MOST_ENTERING else _TOO_MANY


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
