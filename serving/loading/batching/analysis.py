"""The proof of batching: what the graph says of rows that share a run.

An abstract interpretation, from inputs to outputs, with a value for each tensor (``values``)
and a rule for each operator (``rules``). It reads no weights and runs nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from serving.execution.onnx_nodes import Model
from serving.loading.batching.call import FILLED, Scope, constant_of
from serving.loading.batching.interpreter import OLDEST_OPSET, Interpreter
from serving.loading.batching.symbols import Dim
from serving.loading.batching.values import Kind, Value, rows
from serving.signature import Signature, Tensor

Verdict = Literal["proven", "coupled", "not batchable", "open"]

# Optional inputs may each be there or not; more of them are not tried in every way.
_MOST_OPTIONAL = 4


@dataclass(frozen=True, slots=True)
class Analysis:
    """``kind``: the verdict. ``output``: the one that decided, ``node``, ``operator`` and
    ``why``: where and why; all '' for what is proven. ``lost``: tensors behind which the rules
    lost the rows, for a test of what is open."""

    kind: Verdict
    output: str = ""
    node: str = ""
    operator: str = ""
    why: str = ""
    lost: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The verdict in one line."""
        if self.kind == "proven":
            return "proven from the graph"
        place = f"node {self.node} ({self.operator}): " if self.operator else ""
        output = f"output '{self.output}': " if self.output else ""
        return f"{output}{place}{self.why}"


# The worse of two decides; what may never be batched is worst.
VERDICTS: tuple[Verdict, ...] = ("not batchable", "coupled", "open", "proven")


def analyse_graph(parsed: Model, signature: Signature, max_rows: int) -> Analysis:
    """What sharing runs does to the answers of a model.

    ``signature``: inputs and outputs with the shapes that requests are held to. ``max_rows``:
    the most that a run ever has.
    """
    if not signature.may_batch:
        return Analysis("not batchable", why=why_never(signature))
    opset = parsed.opsets.get("", OLDEST_OPSET)
    if opset < OLDEST_OPSET:
        return Analysis("open", why=f"there are no rules for opset {opset}")
    optional = [tensor for tensor in signature.inputs if tensor.optional]
    if len(optional) > _MOST_OPTIONAL:
        return Analysis("open", why=f"it has {len(optional)} optional inputs")
    found = [
        _analyse(parsed, signature, max_rows, left_out)
        for count in range(len(optional) + 1)
        for left_out in itertools.combinations(optional, count)
    ]
    return min(found, key=lambda one: VERDICTS.index(one.kind))


def why_never(signature: Signature) -> str:
    """Why the shapes alone forbid batching; '' where they do not (fault 91)."""
    if signature.may_batch:
        return ""
    if not signature.inputs:
        return "the model has no inputs"
    for kind, tensors in (("input", signature.inputs), ("output", signature.outputs)):
        for tensor in tensors:
            if not tensor.shape:
                return f"{kind} '{tensor.name}' has no dimensions"
            if tensor.shape[0] != -1:
                return (
                    f"{kind} '{tensor.name}' has no variable first dimension"
                    f" (shape {list(tensor.shape)})"
                )
    return "its shapes do not allow it"


def _analyse(
    parsed: Model, signature: Signature, max_rows: int, left_out: Sequence[Tensor]
) -> Analysis:
    interpreter = Interpreter(parsed, max_rows)
    scope = Scope()
    missing = {tensor.name for tensor in left_out}
    for tensor in signature.inputs:
        if tensor.name not in missing:
            scope.values[tensor.name] = _input(interpreter, tensor)
        elif tensor.name in parsed.graph.constants:
            scope.values[tensor.name] = constant_of(parsed.graph.constants[tensor.name])
    interpreter.run(parsed.graph, scope)
    lost = tuple(interpreter.lost)
    verdicts = [
        _verdict(tensor.name, scope.find(tensor.name), lost) for tensor in signature.outputs
    ]
    return min(verdicts, key=lambda one: VERDICTS.index(one.kind))


def _input(interpreter: Interpreter, tensor: Tensor) -> Value:
    sizes: list[Dim] = [
        size if size >= 0 else interpreter.symbols.of(("input", tensor.name, axis), positive=True)
        for axis, size in enumerate(tensor.shape)
    ]
    return rows(sizes, 0)


_OF_KIND: dict[Kind, Verdict] = {
    Kind.MIXED: "coupled",
    Kind.LOST: "open",
    Kind.NEVER: "not batchable",
}


def _verdict(name: str, value: Value | None, lost: tuple[str, ...]) -> Analysis:
    if value is None:
        return Analysis("open", name, why="nothing makes it", lost=lost)
    if value.blame is not None:
        blame = value.blame
        kind = _OF_KIND[value.kind]
        return Analysis(kind, name, blame.node, blame.operator, blame.why, lost)
    if value.kind in (Kind.COUNT, Kind.PLACE, Kind.PLACE_FIRST):
        return Analysis("coupled", name, why="it says how many rows run, or in which place")
    if value.kind is Kind.PADDED:
        return Analysis("coupled", name, why=FILLED)
    if value.kind is Kind.SAME:
        return Analysis("not batchable", name, why="it does not depend on the rows")
    if value.axis != 0 or value.block != 1:
        return Analysis("not batchable", name, why=_elsewhere(value))
    return Analysis("proven")


def _elsewhere(value: Value) -> str:
    if value.axis != 0:
        return f"its rows lie along axis {value.axis}"
    return f"it has {value.block!r} rows for each row that comes in"
