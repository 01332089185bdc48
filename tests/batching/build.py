"""A graph written down node by node, and named models of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

F, D, F16 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16
I64, I32, I8, U8 = TensorProto.INT64, TensorProto.INT32, TensorProto.INT8, TensorProto.UINT8
BOOL, STRING = TensorProto.BOOL, TensorProto.STRING
ML, MS, LOCAL = "ai.onnx.ml", "com.microsoft", "local"
IR_VERSION = 8
DOMAINS = {ML: 3, MS: 1, LOCAL: 1}

Feeds = dict[str, np.ndarray]
Dim = str | int | None


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def weights(*shape: int, seed: int = 0) -> np.ndarray:
    """Fixed FP32 numbers about as large as a trained layer's."""
    return (rng(seed).normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)


def f32(values: Any) -> np.ndarray:
    return np.asarray(values, np.float32)


def i64(values: Any) -> np.ndarray:
    return np.asarray(values, np.int64)


class Graph:
    """Adds nodes and hands back the names of their outputs.

    Where a node takes an input, a name is a value, "" is left out, and everything else
    becomes a constant: floats FP32, ints INT64, arrays as they are.
    """

    def __init__(self, opset: int = 17, parent: Graph | None = None, function: bool = False):
        self.opsets: dict[str, int] = parent.opsets if parent else {"": opset}
        self.functions: list[onnx.FunctionProto] = parent.functions if parent else []
        self._numbers: Iterator[int] = parent._numbers if parent else count()
        self._is_function = function
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.constants: list[onnx.TensorProto] = []

    def input(self, name: str, *dims: Dim, kind: int = F) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, kind, list(dims)))
        return name

    def taken(self, *dims: Dim, kind: int = F) -> str:
        """An input of a body, named by itself."""
        return self.input(self._name("in"), *dims, kind=kind)

    def output(self, value: str, *dims: Dim, kind: int = F) -> None:
        self.outputs.append(helper.make_tensor_value_info(value, kind, list(dims)))

    def const(self, value: Any) -> str:
        array = np.asarray(value)
        if array.dtype == np.float64 and not isinstance(value, np.ndarray):
            array = array.astype(np.float32)
        if array.dtype.kind == "U":
            array = array.astype(object)
        name = self._name("c")
        tensor = numpy_helper.from_array(array, name)
        if self._is_function:
            self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            self.constants.append(tensor)
        return name

    def ops(
        self, kind: str, *inputs: Any, outputs: int, domain: str = "", **more: Any
    ) -> list[str]:
        """A node with several outputs."""
        if domain:
            self.opsets.setdefault(domain, DOMAINS[domain])
        names = [one if isinstance(one, str) else self.const(one) for one in inputs]
        made = [self._name(kind.lower()) for _ in range(outputs)]
        node = helper.make_node(kind, names, made, name=made[0], domain=domain, **more)
        self.nodes.append(node)
        return made

    def op(self, kind: str, *inputs: Any, domain: str = "", **more: Any) -> str:
        """A node with one output."""
        return self.ops(kind, *inputs, outputs=1, domain=domain, **more)[0]

    def ml(self, kind: str, *inputs: Any, **more: Any) -> str:
        return self.op(kind, *inputs, domain=ML, **more)

    def ms(self, kind: str, *inputs: Any, **more: Any) -> str:
        return self.op(kind, *inputs, domain=MS, **more)

    def rows(self, value: str) -> str:
        """The number of rows, as INT64 [1]: how exporters take it from a shape."""
        return self.op("Gather", self.op("Shape", value), [0], axis=0)

    def body(self) -> Graph:
        return Graph(parent=self)

    def branch(self, build: Callable[[Graph], str], kind: int = F) -> onnx.GraphProto:
        """A branch of an If: one output of any shape."""
        body = self.body()
        result = body.op("Identity", build(body))
        body.outputs.append(
            helper.make_value_info(result, helper.make_tensor_type_proto(kind, None))
        )
        return body.proto()

    def function(self, name: str, takes: int, build: Callable[..., str]) -> None:
        """A local function of ``takes`` inputs and one output."""
        inside = Graph(parent=self, function=True)
        names = [self._name("arg") for _ in range(takes)]
        result = build(inside, *names)
        self.opsets.setdefault(LOCAL, 1)
        opsets = [helper.make_opsetid(*pair) for pair in self.opsets.items()]
        made = helper.make_function(LOCAL, name, names, [result], inside.nodes, opsets)
        self.functions.append(made)

    def call(self, name: str, *inputs: Any) -> str:
        return self.op(name, *inputs, domain=LOCAL)

    def proto(self) -> onnx.GraphProto:
        name = self._name("graph")
        return helper.make_graph(self.nodes, name, self.inputs, self.outputs, self.constants)

    def model(self) -> onnx.ModelProto:
        opsets = [helper.make_opsetid(*pair) for pair in self.opsets.items()]
        return helper.make_model(
            self.proto(), opset_imports=opsets, ir_version=IR_VERSION, functions=self.functions
        )

    def _name(self, kind: str) -> str:
        return f"{kind}_{next(self._numbers)}"


@dataclass(frozen=True)
class Entry:
    """A named model; ``a`` and ``b`` are two callers' feeds."""

    name: str
    kind: str
    build: Callable[[], onnx.ModelProto]
    a: Feeds
    b: Feeds
    random: bool = False

    def bytes(self) -> bytes:
        data: bytes = self.build().SerializeToString()
        return data


# Two ordinary callers of one row, the second with an outlier, for the input x [n, 4].
ORDINARY = {"x": f32([[0.11, -0.22, 0.37, 0.45]])}
OUTLIER = {"x": f32([[910, -750, 830, 1000]])}


@dataclass
class Zoo:
    """Collects what the functions below it build, in order."""

    entries: list[Entry] = field(default_factory=list)

    def add(
        self,
        kind: str,
        a: Feeds | None = None,
        b: Feeds | None = None,
        *,
        opset: int = 17,
        random: bool = False,
    ) -> Callable[[Callable[[Graph], None]], Callable[[Graph], None]]:
        def keep(write: Callable[[Graph], None]) -> Callable[[Graph], None]:
            def build() -> onnx.ModelProto:
                graph = Graph(opset)
                write(graph)
                return graph.model()

            feeds = (ORDINARY if a is None else a, OUTLIER if b is None else b)
            self.entries.append(Entry(write.__name__, kind, build, *feeds, random))
            return write

        return keep


def feeds(*arrays: Sequence[Any] | np.ndarray, names: str = "x") -> Feeds:
    """``feeds([[1, 2]], [3], names="x s")``: lists of floats become FP32."""
    return {
        name: one if isinstance(one, np.ndarray) else f32(one)
        for name, one in zip(names.split(), arrays, strict=True)
    }
