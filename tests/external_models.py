"""One model in as many forms as a tensor's bytes can lie outside an ONNX file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import (
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    SparseTensorProto,
    TensorProto,
    ValueInfoProto,
    helper,
    numpy_helper,
)

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
SIZE = 4
WEIGHTS = np.random.default_rng(0).normal(size=(SIZE, SIZE)).astype(np.float32)
_POSITIONS = np.arange(SIZE * SIZE, dtype=np.int64)
# What the file holds: the weights, then the positions of a sparse tensor's values.
DATA = WEIGHTS.tobytes() + _POSITIONS.tobytes()
FILE = "w.bin"

_OPSETS = [helper.make_opsetid("", 17)]
_OURS = helper.make_opsetid("ours", 1)
_node = helper.make_node


def right(x: np.ndarray) -> np.ndarray:
    """What every one of the models answers to positive ``x`` [n, 4]."""
    return x @ WEIGHTS


def outside(name: str, location: str, array: np.ndarray = WEIGHTS, offset: int = 0) -> TensorProto:
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    tensor = TensorProto(
        name=name, data_type=kind, dims=array.shape, data_location=TensorProto.EXTERNAL
    )
    entries = {"location": location, "offset": str(offset), "length": str(array.nbytes)}
    for key, text in entries.items():
        tensor.external_data.add(key=key, value=text)
    return tensor


def _sparse(location: str) -> SparseTensorProto:
    """The weights as a sparse tensor, its values and their positions outside."""
    tensor = SparseTensorProto(dims=[SIZE, SIZE])
    tensor.values.CopyFrom(outside("w", location, WEIGHTS.reshape(-1)))
    tensor.indices.CopyFrom(outside("at", location, _POSITIONS, WEIGHTS.nbytes))
    return tensor


def _rows(name: str) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, FLOAT, ["n", SIZE])


def _value(name: str, kind: int, dims: Sequence[int] = ()) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, dims)


def _constant(name: str, value: Any) -> TensorProto:
    return numpy_helper.from_array(np.asarray(value), name)


def _model(
    nodes: Sequence[NodeProto],
    initializers: Sequence[TensorProto] = (),
    functions: Sequence[FunctionProto] = (),
) -> ModelProto:
    graph = helper.make_graph(nodes, "graph", [_rows("x")], [_rows("y")], initializers)
    opsets = [*_OPSETS, _OURS] if functions else _OPSETS
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=functions)


def _product(x: str = "x", y: str = "y", w: str = "w") -> NodeProto:
    return _node("MatMul", [x, w], [y])


Body = Callable[[str, str], GraphProto]


def _body(location: str) -> Body:
    """A graph from one outer value to its product, its weights an initializer."""

    def made(x: str, y: str) -> GraphProto:
        weights = [outside("w", location)]
        return helper.make_graph([_product(x, y)], y, [], [_rows(y)], weights)

    return made


def _body_of(constant: NodeProto) -> Body:
    """The same; its weights come from a node."""

    def made(x: str, y: str) -> GraphProto:
        return helper.make_graph([constant, _product(x, y)], y, [], [_rows(y)])

    return made


def _weights_node(name: str, location: str) -> NodeProto:
    return _node("Constant", [], [name], value=outside(f"{name}_value", location))


def _if(body: Body, x: str = "x", y: str = "y") -> list[NodeProto]:
    """Nodes that take one of two equal ways, by the sum of ``x``."""
    return [
        _node("Constant", [], ["zero"], value=_constant("zero", np.float32(0))),
        _node("ReduceSum", [x], ["sum"], keepdims=0),
        _node("Greater", ["sum", "zero"], ["more"]),
        _node("If", ["more"], [y], then_branch=body(x, "then"), else_branch=body(x, "else")),
    ]


def _loop(nodes: Sequence[NodeProto], initializers: Sequence[TensorProto]) -> ModelProto:
    """One turn of a loop whose body makes ``out`` of ``state``."""
    body = helper.make_graph(
        [*nodes, _node("Identity", ["go"], ["go_on"])],
        "body",
        [_value("turn", INT64), _value("go", BOOL), _rows("state")],
        [_value("go_on", BOOL), _rows("out")],
        initializers,
    )
    constants = [_constant("once", np.int64(1)), _constant("yes", np.array(True))]
    return _model([_node("Loop", ["once", "yes", "x"], ["y"], body=body)], constants)


def _scan(location: str) -> ModelProto:
    axis = _constant("axis", np.array([0]))
    body = helper.make_graph(
        [
            _node("Unsqueeze", ["row", "axis"], ["rows"]),
            _product("rows", "products"),
            _node("Squeeze", ["products", "axis"], ["product"]),
        ],
        "body",
        [_value("row", FLOAT, [SIZE])],
        [_value("product", FLOAT, [SIZE])],
        [outside("w", location)],
    )
    return _model([_node("Scan", ["x"], ["y"], body=body, num_scan_inputs=1)], [axis])


def _function(name: str, nodes: Sequence[NodeProto], **more: Any) -> FunctionProto:
    return helper.make_function("ours", name, ["x"], ["y"], nodes, [*_OPSETS, _OURS], **more)


def _call(*functions: FunctionProto, **attributes: Any) -> ModelProto:
    """A model that calls the last of its functions."""
    call = _node(functions[-1].name, ["x"], ["y"], domain="ours", **attributes)
    return _model([call], functions=functions)


def _by_attribute() -> list[NodeProto]:
    """Nodes of a function whose weights are its attribute ``table``."""
    constant = _node("Constant", [], ["w"])
    constant.attribute.add(name="value", ref_attr_name="table", type=4)
    return [constant, _product()]


def _sparse_initializer(location: str) -> ModelProto:
    made = _model([_product()])
    made.graph.sparse_initializer.append(_sparse(location))
    return made


def _shared(location: str) -> ModelProto:
    """Two tensors of one file, each half of the weights, at offsets."""
    half = WEIGHTS.nbytes // 2
    parts = [outside(f"w{i}", location, WEIGHTS[i * 2 : i * 2 + 2], i * half) for i in range(2)]
    return _model([_node("Concat", ["w0", "w1"], ["w"], axis=0), _product()], parts)


def sparse_in_function(location: str) -> ModelProto:
    """Not among the kinds: loading it may end the process."""
    constant = _node("Constant", [], ["w"], sparse_value=_sparse(location))
    return _call(_function("Inner", [constant, _product()]))


# Kind -> the model, whose data lies at a location.
KINDS: dict[str, Callable[[str], ModelProto]] = {
    "initializer": lambda at: _model([_product()], [outside("w", at)]),
    "several tensors of one file": _shared,
    "constant node": lambda at: _model([_weights_node("w", at), _product()]),
    "If": lambda at: _model(_if(_body(at))),
    "constant in If": lambda at: _model(_if(_body_of(_weights_node("w", at)))),
    "Loop": lambda at: _loop([_product("state", "out")], [outside("w", at)]),
    "If in Loop": lambda at: _loop(_if(_body(at), "state", "out"), []),
    "Scan": _scan,
    "function": lambda at: _call(_function("Inner", [_weights_node("w", at), _product()])),
    "function in function": lambda at: _call(
        _function("Inner", [_weights_node("w", at), _product()]),
        _function("Outer", [_node("Inner", ["x"], ["y"], domain="ours")]),
    ),
    "If in function": lambda at: _call(_function("Inner", _if(_body(at)))),
    "constant in If in function": lambda at: _call(
        _function("Inner", _if(_body_of(_weights_node("w", at))))
    ),
    "function's attribute": lambda at: _call(
        _function("Inner", _by_attribute(), attributes=["table"]), table=outside("t", at)
    ),
    "default of a function's attribute": lambda at: _call(
        _function(
            "Inner",
            _by_attribute(),
            attribute_protos=[helper.make_attribute("table", outside("t", at))],
        )
    ),
    "sparse initializer": _sparse_initializer,
    "sparse constant": lambda at: _model(
        [_node("Constant", [], ["w"], sparse_value=_sparse(at)), _product()]
    ),
}


def lay(folder: Path, kind: str, location: str = FILE, data: bytes | None = DATA) -> Path:
    """Write a version into ``folder``; its data to ``location`` below it, if there is any."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(KINDS[kind](location).SerializeToString())
    if data is not None:
        file = folder / location
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return folder
