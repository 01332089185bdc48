"""What really happens to rows that share a run, told by onnxruntime: a witness for the rules.

Models are written in ONNX's own text form (``onnx.parser``); every graph input has its rows
on axis 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnxruntime as ort

from serving.execution.graph import signature_of
from serving.loading.batching.analysis import Analysis
from serving.model_config.schema import ModelConfig
from tests.batching.analysed import analyse

Rows = dict[str, np.ndarray[Any, Any]]

# Of a row's largest magnitude; kernels round otherwise for another number of rows.
TOLERANCE = 1e-5
OUTLIERS = (1e3, 1e6, 0.0)
_ORDINARY = 4

_FAILURES = (
    ort.capi.onnxruntime_pybind11_state.Fail,
    ort.capi.onnxruntime_pybind11_state.InvalidArgument,
    ort.capi.onnxruntime_pybind11_state.RuntimeException,
)


@dataclass(frozen=True)
class Case:
    """``graph``: as ``onnx.parser`` reads it. ``opset``: of the default domain; ``functions``:
    of the domain ``local``. ``top``: integers lie below; ``sizes``: of symbols, 3 unless said.
    ``given``: rows for inputs that take no ordinary ones."""

    graph: str
    opset: int = 17
    top: int = 2
    sizes: Mapping[str, int] = field(default_factory=dict)
    given: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    functions: str = ""
    max_rows: int = 64
    # A ModelProto that comes after, and so goes on with what the text says.
    more: bytes = b""

    @cache  # noqa: B019 - as many cases as the tables have
    def model(self) -> onnx.ModelProto:
        header = f'<ir_version: 10, opset_import: ["" : {self.opset}, "local" : 1]>'
        graph = f"g {self.graph}"
        return onnx.parser.parse_model(f"{header} {graph} {self.functions}")

    def data(self) -> bytes:
        return self.model().SerializeToString() + self.more

    def __hash__(self) -> int:
        return id(self)


@cache
def session_of(case: Case) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return ort.InferenceSession(case.data(), options)


def verdict_of(case: Case) -> Analysis:
    """What the analysis says of the case's model."""
    signature = signature_of(session_of(case), frozenset(), ModelConfig())
    return analyse(case.data(), signature, case.max_rows)


def what_moved(case: Case) -> str:
    """How rows that run together differ from rows alone; '' where nothing does.

    A failure counts where the rows run alone. Raises what onnxruntime does where they don't.
    """
    session, rows = session_of(case), _rows(case)
    count = len(next(iter(rows.values())))
    alone = [session.run(None, _taken(rows, [at])) for at in range(count)]
    for order in _orders(count):
        try:
            together = session.run(None, _taken(rows, order))
        except _FAILURES as error:
            return f"rows {order} fail together: {error}"
        for place, whole in enumerate(together):
            moved = _moved(whole, [alone[at][place] for at in order])
            if moved:
                return f"output {place}, rows {order}: {moved}"
    return ""


def _orders(count: int) -> Iterator[list[int]]:
    yield list(range(count))
    yield list(range(count))[::-1]
    yield np.random.default_rng(1).permutation(count).tolist()
    yield [0, count - 1]


def _moved(whole: Any, alone: Sequence[Any]) -> str:
    """``alone``: a batch of one each."""
    if not isinstance(whole, np.ndarray) or whole.ndim == 0:
        return "it is no batch"
    if len(whole) != len(alone) or any(one.shape != (1, *whole.shape[1:]) for one in alone):
        return f"shape {whole.shape} of rows {[one.shape for one in alone]}"
    for at, one in enumerate(alone):
        if not _alike(whole[at : at + 1], one):
            return f"row {at} is {whole[at]}, alone {one[0]}"
    return ""


def _alike(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    if one.dtype.kind != "f":
        return bool(np.array_equal(one, other))
    finite = np.abs(other[np.isfinite(other)])
    largest = float(finite.max()) if finite.size else 0.0
    return bool(np.allclose(one, other, rtol=0, atol=TOLERANCE * largest, equal_nan=True))


def _taken(rows: Rows, order: Sequence[int]) -> Rows:
    return {name: array[list(order)] for name, array in rows.items()}


def _rows(case: Case) -> Rows:
    """Ordinary rows and rows of outliers, for every input."""
    random = np.random.default_rng(7)
    held = {one.name for one in case.model().graph.initializer}
    inputs = [one for one in case.model().graph.input if one.name not in held]
    return {one.name: _array(case, one, random) for one in inputs}


def _array(
    case: Case, info: onnx.ValueInfoProto, random: np.random.Generator
) -> np.ndarray[Any, Any]:
    tensor = info.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    if info.name in case.given:
        return np.array(case.given[info.name], dtype)
    sizes = [dim.dim_value or case.sizes.get(dim.dim_param, 3) for dim in tensor.shape.dim[1:]]
    count = _ORDINARY + len(OUTLIERS)
    if dtype.kind == "f":
        made = random.normal(size=(count, *sizes)).astype(dtype)
        for at, outlier in enumerate(OUTLIERS):
            made[_ORDINARY + at] = np.sign(made[_ORDINARY + at]) * dtype.type(outlier)
        return made
    if dtype.kind in "OUS":
        return random.choice(["a", "bc", "d e"], size=(count, *sizes)).astype(object)
    return random.integers(0, case.top, size=(count, *sizes)).astype(dtype)
