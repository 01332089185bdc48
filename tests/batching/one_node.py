"""A graph of one operator, what the proof says of it, and what onnxruntime does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import ModelProto, TensorProto, helper, numpy_helper

from serving.execution.onnx_nodes import read_nodes
from serving.loading.batching.analysis import Analysis
from serving.loading.batching.call import Scope
from serving.loading.batching.interpreter import Interpreter
from serving.loading.batching.values import rows
from serving.signature import DATATYPES, Signature, Tensor
from tests.batching.analysed import analyse

Array = np.ndarray[Any, Any]
ROWS = 6
_ML, _MICROSOFT = "ai.onnx.ml", "com.microsoft"


@dataclass(frozen=True)
class Batched:
    """An input of the graph, rows on its first axis; the node gets it with them on ``axis``."""

    array: Array
    axis: int = 0


# A constant of a number is NumPy's scalar.
Operand = Batched | Array | np.generic | None


@dataclass(frozen=True)
class Case:
    """``inputs``: of the node, in order: batched, a constant, or None for one left out.
    ``outputs``: for each output served, the axis that rows come out on, with its rank where that
    is not the first; None: not served."""

    operator: str
    inputs: Sequence[Operand]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: Sequence[tuple[int, int] | int | None] = (0,)
    kind: str = "proven"
    domain: str = _MICROSOFT
    opsets: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.operator}-{self.kind.replace(' ', '-')}"


def floats(*shape: int, seed: int = 0) -> Array:
    """Ordinary rows, and two beside them that are out of all proportion."""
    made = np.random.default_rng(seed).normal(size=(ROWS, *shape)).astype(np.float32)
    made[2] *= 1e3
    made[4] *= 1e6
    return made


def small(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def whole(*shape: int, top: int, seed: int = 0, dtype: str = "int64") -> Array:
    return np.random.default_rng(seed).integers(0, top, size=(ROWS, *shape)).astype(dtype)


def check(case: Case) -> None:
    """The proof says ``case.kind``, and onnxruntime bears it out."""
    assert proof(case).kind == case.kind, proof(case).words
    where = differs(case)
    if case.kind != "proven":
        assert where, "rows stay apart after all"
    else:
        assert not where, where
        assert wrong_shapes(case) == []


def model_of(case: Case) -> ModelProto:
    nodes, names, inputs, constants = [], [], [], []
    for place, value in enumerate(case.inputs):
        name = "" if value is None else f"X{place}"
        if isinstance(value, Batched):
            inputs.append(_input(name, value.array))
            if value.axis:
                nodes.append(_moved(name, name + "_", value.array.ndim, 0, value.axis))
                name += "_"
        elif value is not None:
            constants.append(numpy_helper.from_array(np.asarray(value), name))
        names.append(name)
    made = ["" if axis is None else f"Y{place}" for place, axis in enumerate(case.outputs)]
    ends = [
        name + "_" if isinstance(axis, tuple) else name
        for name, axis in zip(made, case.outputs, strict=True)
    ]
    nodes.append(
        helper.make_node(
            case.operator, names, ends, "tested", domain=case.domain, **case.attributes
        )
    )
    for name, end, axis in zip(made, ends, case.outputs, strict=True):
        if isinstance(axis, tuple):
            nodes.append(_moved(end, name, axis[1], axis[0], 0))
    outputs = [helper.make_empty_tensor_value_info(name) for name in made if name]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, constants)
    opsets = {"": 17, _ML: 3, _MICROSOFT: 1, **case.opsets}
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(name, version) for name, version in opsets.items()],
        ir_version=8,
    )


def _moved(source: str, target: str, rank: int, start: int, end: int) -> Any:
    order = [axis for axis in range(rank) if axis != start]
    order.insert(end, start)
    return helper.make_node("Transpose", [source], [target], perm=order)


def _input(name: str, array: Array) -> Any:
    elem = (
        TensorProto.STRING
        if array.dtype == object
        else helper.np_dtype_to_tensor_dtype(array.dtype)
    )
    return helper.make_tensor_value_info(name, elem, [None, *array.shape[1:]])


def feeds_of(case: Case) -> dict[str, Array]:
    return {
        f"X{place}": value.array
        for place, value in enumerate(case.inputs)
        if isinstance(value, Batched)
    }


def signature_of(case: Case) -> Signature:
    datatypes = {name: key for key, (name, _, _) in reversed(DATATYPES.items())}
    inputs = tuple(
        Tensor(name, datatypes[array.dtype.name], (-1, *array.shape[1:]))
        for name, array in feeds_of(case).items()
    )
    outputs = tuple(
        Tensor(f"Y{place}", "FP32", (-1,))
        for place, axis in enumerate(case.outputs)
        if axis is not None
    )
    return Signature(inputs, outputs)


def proof(case: Case) -> Analysis:
    return analyse(model_of(case).SerializeToString(), signature_of(case))


def wrong_shapes(case: Case) -> list[str]:
    """SlotFacts outputs of which the analysis states a shape that they do not have."""
    model, signature = model_of(case).SerializeToString(), signature_of(case)
    interpreter, scope = Interpreter(read_nodes(model), ROWS), Scope()
    for tensor in signature.inputs:
        scope.values[tensor.name] = rows(tensor.shape, 0)
    interpreter.run(interpreter.model.graph, scope)
    answers = _session(case).run(None, feeds_of(case))
    wrong = []
    for tensor, answer in zip(signature.outputs, answers, strict=True):
        value = scope.values[tensor.name]
        stated = [size if isinstance(size, int) else None for size in value.shape or ()]
        ranks = len(stated) == answer.ndim
        if not ranks or any(a not in (None, b) for a, b in zip(stated, answer.shape, strict=True)):
            wrong.append(f"{tensor.name}: {value.shape}, but {answer.shape}")
    return wrong


def _session(case: Case) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    model = model_of(case).SerializeToString()
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def differs(case: Case) -> str:
    """Where rows that run together answer otherwise than alone; '' where they do not."""
    session = _session(case)
    feeds = feeds_of(case)
    count = len(next(iter(feeds.values())))
    ones = [{name: all_[i : i + 1] for name, all_ in feeds.items()} for i in range(count)]
    together, alone = _answers(session, feeds), [_answers(session, one) for one in ones]
    if isinstance(together, str):
        assert not all(isinstance(one, str) for one in alone), f"never answers: {together}"
        return together
    for row, one in enumerate(alone):
        if isinstance(one, str):
            return one
        for place, all_rows in enumerate(together):
            if not _equal(one[place], all_rows, row, count):
                return f"output {place}, row {row}"
    return ""


def _answers(session: ort.InferenceSession, feeds: dict[str, Array]) -> list[Array] | str:
    try:
        return list(session.run(None, feeds))
    except Exception as error:  # noqa: BLE001 - onnxruntime's own errors have no common class
        return f"refused: {error}"


def _equal(alone: Array, together: Array, row: int, count: int) -> bool:
    if not together.ndim or len(together) != count or alone.shape[:1] != (1,):
        return False
    part = together[row : row + 1]
    if part.shape != alone.shape:
        return False
    if alone.dtype == object or alone.dtype.kind in "biu":
        return bool((part == alone).all())
    most = float(np.abs(alone[np.isfinite(alone)]).max(initial=0.0))
    return bool(np.allclose(part, alone, rtol=1e-5, atol=1e-5 * most, equal_nan=True))
