"""Whether a loop's body makes something longer with every turn."""

from __future__ import annotations

from collections.abc import Iterator

from serving.execution.isolation.growth_rules import LENGTHENING
from serving.execution.onnx_nodes import Graph, Node


def lengthens(body: Graph, carried: int) -> bool:
    """Whether a Loop's body appends to what it carries (so many values), or gives something out
    at each turn."""
    if len(body.outputs) > 1 + carried:
        return True
    reached = _reached(body, set(body.inputs[2 : 2 + carried]))
    back = _needed(body, set(body.outputs[1 : 1 + carried]))
    return any(
        place in reached and place in back and _may_lengthen(node)
        for place, node in enumerate(body.nodes)
    )


def passed_on(body: Graph, carried: int) -> list[bool]:
    """Of each carried value, whether it goes out as it came in."""
    same = {
        node.outputs[0]: node.inputs[0]
        for node in body.nodes
        if node.operator == "Identity" and node.inputs and node.outputs
    }
    ins, outs = body.inputs[2 : 2 + carried], body.outputs[1 : 1 + carried]
    kept = [same.get(out, out) == into for into, out in zip(ins, outs, strict=False)]
    return kept + [False] * (carried - len(kept))


def _reached(body: Graph, names: set[str]) -> set[int]:
    """Places of the nodes into which the values go."""
    found = set()
    for place, node in enumerate(body.nodes):
        if not names.isdisjoint(_uses(node)):
            found.add(place)
            names.update(node.outputs)
    return found


def _needed(body: Graph, names: set[str]) -> set[int]:
    """Places of the nodes out of which the values come."""
    found = set()
    for place in range(len(body.nodes) - 1, -1, -1):
        node = body.nodes[place]
        if not names.isdisjoint(node.outputs):
            found.add(place)
            names.update(_uses(node))
    return found


def _uses(node: Node) -> Iterator[str]:
    """Its inputs, and what graphs inside it take from around."""
    yield from node.inputs
    for graph in node.graphs.values():
        yield from graph.outputs
        for inner in graph.nodes:
            yield from _uses(inner)


def _may_lengthen(node: Node) -> bool:
    inside = (inner for graph in node.graphs.values() for inner in graph.nodes)
    return node.operator in LENGTHENING or any(_may_lengthen(inner) for inner in inside)
