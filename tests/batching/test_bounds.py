"""No small file keeps the analysis busy, or takes much memory: what it follows is bounded."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterable, Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from serving.execution.onnx_nodes import read_nodes
from serving.loading.batching import interpreter as interpreting
from serving.loading.batching import symbols
from serving.loading.batching.analysis import Analysis
from serving.loading.batching.steps import steps_of
from serving.signature import Signature, Tensor
from tests.batching.analysed import analyse

# Expressions made: each takes microseconds.
MOST_MADE = 300_000
MOST_BYTES = 32 << 20
SIGNATURE = Signature((Tensor("x", "FP32", (-1, 4)),), (Tensor("y", "FP32", (-1, 4)),))
OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
node = helper.make_node
# The number of rows, [n], and as often as is followed.
COUNT = [node("Shape", ["x"], ["shape"]), node("Gather", ["shape", "zero"], ["n"])]
MANY = [*COUNT, node("Expand", ["n", "most"], ["many"])]


def _model(
    nodes: Iterable[onnx.NodeProto],
    functions: Sequence[onnx.FunctionProto] = (),
    **constants: Sequence[int],
) -> bytes:
    """``y`` is Relu(x); the nodes come beside it."""
    given = {"zero": [0], "most": [4096], **constants}
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in ("x", "y")]
    graph = helper.make_graph(
        [*nodes, node("Relu", ["x"], ["y"])],
        "g",
        ends[:1],
        ends[1:],
        [numpy_helper.from_array(np.array(v, np.int64), name) for name, v in given.items()],
    )
    made = helper.make_model(graph, opset_imports=OPSETS, functions=functions)
    return bytes(made.SerializeToString())


def _doubled(times: int) -> list[onnx.NodeProto]:
    names = ["n", *(f"k{at}" for at in range(times))]
    pairs = itertools.pairwise(names)
    return [*COUNT, *(node("Concat", [a, a], [b], axis=0) for a, b in pairs)]


LARGE = {
    "expand": (
        [*COUNT, node("Expand", ["n", "huge"], ["v"])],
        {"huge": [400_000_000]},
    ),
    "where": (
        [
            *MANY,
            node("Reshape", ["many", "column"], ["b"]),
            node("Equal", ["many", "many"], ["q"]),
            node("Where", ["q", "b", "many"], ["w"]),
        ],
        {"column": [4096, 1]},
    ),
    "sum": (
        [*MANY, node("Reshape", ["many", "column"], ["b"]), node("Add", ["many", "b"], ["w"])],
        {"column": [4096, 1]},
    ),
    "concat": (_doubled(40), {}),
    "gather": (
        [
            *MANY,
            node("Reshape", ["many", "table"], ["t"]),
            node("Gather", ["t", "places"], ["g"], axis=1),
        ],
        {"table": [4096, 1], "places": [0] * 4096},
    ),
    "constants": ([node("Expand", ["zero", "huge"], ["v"])], {"huge": [400_000_000]}),
}


@pytest.mark.parametrize("case", LARGE)
def test_contents_that_would_be_too_many_are_never_made(case: str) -> None:
    nodes, constants = LARGE[case]
    model = _model(nodes, **constants)
    tracemalloc.start()
    try:
        verdict = analyse(model, SIGNATURE)
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()
    assert verdict.kind == "proven"


@pytest.mark.parametrize("case", LARGE)
def test_an_answer_made_of_too_many_numbers_is_not_proven(case: str) -> None:
    nodes, constants = LARGE[case]
    last = nodes[-1].output[0]
    cast = node("Cast", [last], ["f"], to=TensorProto.FLOAT)
    joined = [*nodes, cast, node("ReduceMax", ["f"], ["m"], keepdims=0)]
    assert _served(joined, "m", constants).kind == ("proven" if case == "constants" else "open")


def _served(nodes: list[onnx.NodeProto], name: str, constants: dict[str, list[int]]) -> Analysis:
    """``y`` is x plus what the nodes make."""
    model = onnx.load_from_string(_model(nodes, **constants))
    model.graph.node.remove(model.graph.node[-1])
    model.graph.node.append(node("Add", ["x", name], ["y"]))
    return analyse(model.SerializeToString(), SIGNATURE)


def _doubling_functions(depth: int) -> list[onnx.FunctionProto]:
    """Each calls the one below twice, with other arguments each time."""

    def made(at: int, nodes: list[onnx.NodeProto]) -> onnx.FunctionProto:
        return helper.make_function("local", f"f{at}", ["a", "b"], ["o"], nodes, OPSETS)

    functions = [made(0, [node("Add", ["a", "b"], ["o"])])]
    for at in range(1, depth + 1):
        inner = [
            node(f"f{at - 1}", ["a", "b"], ["t"], domain="local"),
            node(f"f{at - 1}", ["t", "b"], ["o"], domain="local"),
        ]
        functions.append(made(at, inner))
    return functions


def _chain(count: int) -> list[onnx.NodeProto]:
    names = ["many", *(f"k{at}" for at in range(count))]
    return [node("Add", [a, "n"], [b]) for a, b in itertools.pairwise(names)]


SLOW = {
    "functions": ([*MANY, node("f12", ["many", "n"], ["z"], domain="local")], 12),
    "chain": ([*MANY, *_chain(2000)], 0),
    "negated": ([*MANY, *(node("Neg", ["many"], [f"k{at}"]) for at in range(2000))], 0),
    "powers": (
        [*COUNT, *(node("Mul", ["n" if not at else f"p{at}", "n"], [f"p{at + 1}"])
         for at in range(2000))],
        0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SLOW)
def test_calculating_ends_though_a_small_file_asks_for_more(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes, depth = SLOW[case]
    model = _model(nodes, _doubling_functions(depth) if depth else ())
    made = _counted(monkeypatch)
    verdict = analyse(model, SIGNATURE)
    assert 0 < made[0] < MOST_MADE
    assert verdict.kind == "proven"


def _counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many expressions are made from now on. A count, since CI's clocks differ."""
    count, make = [0], symbols._made

    def counting(found: dict[symbols.Monomial, int], signed: frozenset[int]) -> symbols.Dim:
        count[0] += 1
        return make(found, signed)

    monkeypatch.setattr(symbols, "_made", counting)
    return count


def test_an_answer_behind_too_much_calculating_says_so() -> None:
    cast = node("Cast", ["k1999"], ["f"], to=TensorProto.FLOAT)
    first = node("ReduceMax", ["f"], ["m"], keepdims=0)
    found = _served([*MANY, *_chain(2000), cast, first], "m", {})
    assert (found.kind, found.why) == ("open", "it calculates with too many numbers")


def test_a_rule_that_runs_out_of_memory_loses_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(self: interpreting.Interpreter, elements: int) -> None:
        raise MemoryError

    monkeypatch.setattr(interpreting.Interpreter, "spend", short)
    assert analyse(_model([]), SIGNATURE).kind == "open"


def test_names_kept_of_steps_do_not_grow_with_the_graph() -> None:
    nodes = [node("Round", ["x"], ["a0"])]
    for at in range(1, 200):
        nodes += [
            node("Sin", ["x"], [f"s{at}"]),
            node("Round", [f"s{at}"], [f"r{at}"]),
            node("Add", [f"a{at - 1}", f"r{at}"], [f"a{at}"]),
        ]
    behind = steps_of(read_nodes(_model(nodes))).behind
    assert behind["a10"] == {"x", *(f"s{at}" for at in range(1, 11))}
    # None that are named: too many to be looked at.
    assert behind["a199"] == frozenset()
    assert max(map(len, behind.values())) == 64
