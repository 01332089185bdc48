"""The ONNX operator suite's cases, turned into models that share a batch.

One case gives several variants: each axis of each input, and of all inputs together, is taken
for the batch. The axis is brought to the front by a Transpose, what is no row becomes an
initializer, and every other stated shape is dropped, as the analysis must not believe any.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from serving.signature import Signature, Tensor
from tests.small_models import ELEMENT_TYPES

from . import harness
from .build import Feeds, rng

# BF16 has no numpy dtype to compare by.
DATATYPES = {number: name for name, number in ELEMENT_TYPES.items() if name != "BF16"}
SERVED = "rows out"
LEFT_OUT = ("training", "random", "bernoulli", "momentum", "adagrad", "adam", "dropout")
# Half floats carry three digits.
HALF = 2e-3
SCALES = (1.0, 100.0)


@dataclass(frozen=True)
class Case:
    name: str
    model: onnx.ModelProto
    feeds: Feeds
    ranks: dict[str, int]
    kinds: dict[str, str]


@dataclass(frozen=True)
class Variant:
    """One case with the batch on ``axis`` of the inputs ``rows`` and on ``out`` of an output."""

    case: Case
    rows: tuple[str, ...]
    axis: int
    output: str
    out: int

    @property
    def name(self) -> str:
        return f"{'+'.join(self.rows)}@{self.axis}->{self.output}@{self.out}"

    @property
    def likely(self) -> bool:
        """Whether the batch comes out where it went in: elsewhere it hardly ever does."""
        return self.out == min(self.axis, self.case.ranks[self.output] - 1)

    def model(self) -> bytes:
        """The case's nodes between others that bring the batch to the front."""
        case, old = self.case, self.case.model
        before = [_turn(f"rows of {one}", one, _back(self.axis, case, one)) for one in self.rows]
        after = _turn(self.output, SERVED, _front(self.out, case.ranks[self.output]))
        constants = [
            numpy_helper.from_array(array, name)
            for name, array in case.feeds.items()
            if name not in self.rows
        ]
        graph = helper.make_graph(
            [*before, *_needed(old.graph.node, self.output), after],
            "variant",
            [_info(tensor) for tensor in self.signature().inputs],
            [_info(tensor) for tensor in self.signature().outputs],
            [*old.graph.initializer, *constants],
            sparse_initializer=old.graph.sparse_initializer,
        )
        made = helper.make_model(
            graph,
            opset_imports=old.opset_import,
            ir_version=old.ir_version,
            functions=old.functions,
        )
        data: bytes = made.SerializeToString()
        return data

    def signature(self) -> Signature:
        """As the door holds requests to it; the output's first dimension is said to vary."""
        case = self.case
        inputs = []
        for name in self.rows:
            rest = [size for axis, size in enumerate(case.feeds[name].shape) if axis != self.axis]
            inputs.append(Tensor(f"rows of {name}", case.kinds[name], (-1, *rest)))
        rank = case.ranks[self.output]
        return Signature(tuple(inputs), (Tensor(SERVED, case.kinds[self.output], (-1,) * rank),))

    def callers(self) -> list[Feeds]:
        """Each row as one caller's request: the case's own, then in another order and scale."""
        own = {
            f"rows of {one}": np.moveaxis(self.case.feeds[one], self.axis, 0) for one in self.rows
        }
        total = len(next(iter(own.values())))
        order = [*range(total), *rng(total).permutation(total)]
        picked = [{name: one[i : i + 1] for name, one in own.items()} for i in order]
        far = [harness.scaled(one, SCALES[i % 2]) for i, one in enumerate(picked[total:])]
        return picked[:total] + far

    def tolerance(self) -> float:
        arrays = self.case.feeds.values()
        return HALF if any(one.dtype == np.float16 for one in arrays) else harness.TOLERANCE


def _needed(nodes: Sequence[onnx.NodeProto], output: str) -> list[onnx.NodeProto]:
    """The nodes that ``output`` depends on: onnxruntime would run, and refuse, the others too."""
    wanted, kept = {output}, []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted |= set(_read(node))
            kept.append(node)
    return kept[::-1]


def _read(node: onnx.NodeProto) -> Iterator[str]:
    yield from node.input
    for attribute in node.attribute:
        for graph in [attribute.g, *attribute.graphs]:
            for inner in graph.node:
                yield from _read(inner)
            yield from (one.name for one in graph.output)


def _turn(value: str, result: str, perm: list[int]) -> onnx.NodeProto:
    if perm == sorted(perm):
        return helper.make_node("Identity", [value], [result])
    return helper.make_node("Transpose", [value], [result], perm=perm)


def _front(axis: int, rank: int) -> list[int]:
    return [axis, *(one for one in range(rank) if one != axis)]


def _back(axis: int, case: Case, name: str) -> list[int]:
    rank = case.feeds[name].ndim
    return [*range(1, axis + 1), 0, *range(axis + 1, rank)]


def _info(tensor: Tensor) -> onnx.ValueInfoProto:
    dims = [None if size < 0 else size for size in tensor.shape]
    return helper.make_tensor_value_info(tensor.name, ELEMENT_TYPES[tensor.datatype], dims)


def _array(value: Any) -> np.ndarray:
    array = numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value
    array = np.asarray(array)
    return array.astype(object) if array.dtype.kind in "US" else array


def _case(case: Any) -> Case | None:
    """The case as arrays, or None where it is random or no matter of arrays."""
    if any(word in case.name for word in LEFT_OUT) or not case.data_sets:
        return None
    graph = case.model.graph
    given, expected = case.data_sets[0]
    if any(isinstance(one, list) for one in [*given, *expected]):
        return None
    pairs = zip(graph.input, given, strict=False)
    inputs = {one.name: _array(value) for one, value in pairs if value is not None}
    pairs = zip(graph.output, expected, strict=False)
    outputs = {one.name: _array(value) for one, value in pairs if value is not None}
    if any(one.dtype.kind not in "fiubO" for one in [*inputs.values(), *outputs.values()]):
        return None
    if any(not _plain(one) for one in [*graph.input, *graph.output]):
        return None
    kinds = {one.name: one.type.tensor_type.elem_type for one in [*graph.input, *graph.output]}
    datatypes = {name: DATATYPES[kind] for name, kind in kinds.items()}
    ranks = {name: one.ndim for name, one in outputs.items()}
    return Case(case.name, case.model, inputs, ranks, datatypes)


def _plain(value: onnx.ValueInfoProto) -> bool:
    """Whether numpy has its elements: no sequence, no small or brain float."""
    kind = value.type.tensor_type.elem_type
    return value.type.WhichOneof("value") == "tensor_type" and kind in DATATYPES


@cache
def cases() -> list[Case]:
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [one for case in load_model_tests(kind="node") if (one := _case(case))]


def variants(case: Case) -> Iterator[Variant]:
    deepest = max((one.ndim for one in case.feeds.values()), default=0)
    for axis in range(deepest):
        sizes = {
            name: one.shape[axis]
            for name, one in case.feeds.items()
            if one.ndim > axis and one.shape[axis]
        }
        groups: set[tuple[str, ...]] = {(name,) for name in sizes}
        groups |= {tuple(n for n in sizes if sizes[n] == size) for size in sizes.values()}
        for rows in sorted(groups):
            for output, rank in case.ranks.items():
                for out in range(rank):
                    yield Variant(case, rows, axis, output, out)


def moves(variant: Variant, model: bytes) -> str:
    """Why the rows' answers are others together; "" where they are not, or all are refused."""
    return harness.moved(model, variant.callers(), variant.tolerance())


def agrees(variant: Variant, model: bytes) -> bool:
    """Whether the rows are answered alone, and the same together."""
    if not harness.answers(model):
        return False
    first = harness.asked(model, variant.callers()[0])
    return not isinstance(first, str) and not moves(variant, model)
