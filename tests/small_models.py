"""Small ONNX models, each with one trait that a server can get wrong."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
Dims = Sequence[int | str]

# Open Inference Protocol name -> ONNX element type.
ELEMENT_TYPES: dict[str, int] = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}


def _value(name: str, datatype: str, dims: Dims) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, ELEMENT_TYPES[datatype], list(dims))


def _constant(name: str, array: np.ndarray) -> onnx.TensorProto:
    return numpy_helper.from_array(array, name)


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    initializers: Sequence[onnx.TensorProto] = (),
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializers)
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def identity(datatype: str, dims: Dims = ("n", "m")) -> onnx.ModelProto:
    """``X`` -> ``Y``, unchanged."""
    node = helper.make_node("Identity", ["X"], ["Y"])
    return _model([node], [_value("X", datatype, dims)], [_value("Y", datatype, dims)])


def identities(inputs: Mapping[str, str], dims: Dims = ("n",)) -> onnx.ModelProto:
    """Each of these inputs (name -> datatype) -> ``<name>_out``, unchanged."""
    return _model(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in inputs],
        [_value(name, datatype, dims) for name, datatype in inputs.items()],
        [_value(f"{name}_out", datatype, dims) for name, datatype in inputs.items()],
    )


def scale(factor: float, dims: Dims = ("n", 2)) -> onnx.ModelProto:
    """``Y = X * factor``: tells versions apart."""
    node = helper.make_node("Mul", ["X", "factor"], ["Y"])
    return _model(
        [node],
        [_value("X", "FP32", dims)],
        [_value("Y", "FP32", dims)],
        [_constant("factor", np.array(factor, np.float32))],
    )


# The known number that witnesses ask for: softmax([1, 2, 3, 4] @ TINY_WEIGHTS).
TINY_WEIGHTS = (np.arange(12, dtype=np.float32).reshape(4, 3) - 6) / 10


def tiny() -> onnx.ModelProto:
    """A 4 x 3 softmax classifier, rows independent."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Softmax", ["z"], ["y"], axis=-1),
    ]
    return _model(
        nodes,
        [_value("x", "FP32", ["batch", 4])],
        [_value("y", "FP32", ["batch", 3])],
        [_constant("w", TINY_WEIGHTS)],
    )


def tiny_expected(x: np.ndarray) -> np.ndarray:
    z = np.exp(x @ TINY_WEIGHTS - (x @ TINY_WEIGHTS).max(axis=-1, keepdims=True))
    return np.asarray(z / z.sum(axis=-1, keepdims=True))


def add_sub(datatype: str = "INT32") -> onnx.ModelProto:
    """Two inputs, two outputs: ``OUTPUT0 = a + b``, ``OUTPUT1 = a - b``."""
    dims = ["n", 4]
    nodes = [
        helper.make_node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]),
        helper.make_node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"]),
    ]
    return _model(
        nodes,
        [_value(f"INPUT{i}", datatype, dims) for i in (0, 1)],
        [_value(f"OUTPUT{i}", datatype, dims) for i in (0, 1)],
    )


def _idle_round() -> onnx.GraphProto:
    """A loop's body that halves a number and goes on."""
    return helper.make_graph(
        [
            helper.make_node("Identity", ["condition"], ["condition_out"]),
            helper.make_node("Mul", ["carried", "half"], ["carried_out"]),
        ],
        "body",
        [
            _value("i", "INT64", []),
            _value("condition", "BOOL", []),
            _value("carried", "FP32", []),
        ],
        [_value("condition_out", "BOOL", []), _value("carried_out", "FP32", [])],
        [_constant("half", np.array(0.5, np.float32))],
    )


def looping(iterations: int, *, for_all: bool = True) -> onnx.ModelProto:
    """``Y = X`` after an idle loop of fixed length: slow whatever the rows. Else, where not
    ``for_all``, only for an ``X`` that adds up to a whole number."""
    nodes = [
        # It begins with a zero that depends on the input, so that nothing is folded away.
        helper.make_node("ReduceSum", ["X"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "zero"], ["start"]),
        helper.make_node("Floor", ["sum"], ["whole"]),
        helper.make_node("Equal", ["sum", "whole"], ["asked"]),
        helper.make_node("Where", ["asked", "trips", "trip"], ["some"]),
        helper.make_node(
            "Loop", ["trips" if for_all else "some", "yes", "start"], ["end"], body=_idle_round()
        ),
        helper.make_node("Add", ["X", "end"], ["Y"]),
    ]
    return _model(
        nodes if not for_all else [*nodes[:2], *nodes[-2:]],
        [_value("X", "FP32", ["n", 1])],
        [_value("Y", "FP32", ["n", 1])],
        [
            _constant("trips", np.array(iterations)),
            _constant("trip", np.array(1)),
            _constant("yes", np.array(True)),
            _constant("zero", np.zeros((), np.float32)),
        ],
    )


def loops_as_told() -> onnx.ModelProto:
    """``Y`` after an idle loop of ``N`` rounds: as slow as a request says. ``X`` is any doubles,
    of which only the number counts."""
    nodes = [
        helper.make_node("Size", ["X"], ["size"]),
        helper.make_node("Cast", ["size"], ["start"], to=TensorProto.FLOAT),
        helper.make_node("Squeeze", ["N"], ["trips"]),
        helper.make_node("Loop", ["trips", "", "start"], ["Y"], body=_idle_round()),
    ]
    return _model(
        nodes,
        [_value("N", "INT64", [1]), _value("X", "FP64", ["n", "m"])],
        [_value("Y", "FP32", [])],
    )


def texts_as_told() -> onnx.ModelProto:
    """``Y = X``, texts, and an idle loop of ``N`` rounds beside it."""
    nodes = [
        helper.make_node("Squeeze", ["N"], ["trips"]),
        helper.make_node("Loop", ["trips", "", "one"], ["end"], body=_idle_round()),
        helper.make_node("Identity", ["X"], ["Y"]),
    ]
    return _model(
        nodes,
        [_value("N", "INT64", [1]), _value("X", "BYTES", ["n", "m"])],
        [_value("Y", "BYTES", ["n", "m"]), _value("end", "FP32", [])],
        [_constant("one", np.ones((), np.float32))],
    )


def widen_as_told(columns: int) -> onnx.ModelProto:
    """``Y = X`` in each of so many columns, after as many idle rounds as the largest ``X`` says."""
    nodes = [
        helper.make_node("ReduceMax", ["X"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["trips"], to=TensorProto.INT64),
        helper.make_node("Loop", ["trips", "", "one"], ["end"], body=_idle_round()),
        helper.make_node("Mul", ["end", "zero"], ["nothing"]),
        helper.make_node("Add", ["X", "nothing"], ["later"]),
        helper.make_node("MatMul", ["later", "ones"], ["Y"]),
    ]
    return _model(
        nodes,
        [_value("X", "FP32", ["n", 1])],
        [_value("Y", "FP32", ["n", columns])],
        [
            _constant("one", np.ones((), np.float32)),
            _constant("zero", np.zeros((), np.float32)),
            _constant("ones", np.ones((1, columns), np.float32)),
        ],
    )


@cache
def iterations_per_second() -> float:
    """How fast a core of this machine is that nobody else wants."""
    import onnxruntime

    trips = 20_000
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(looping(trips).SerializeToString(), options)
    feed = {"X": np.zeros((1, 1), np.float32)}
    took = []
    for _ in range(6):
        started = time.thread_time()
        session.run(None, feed)
        took.append(time.thread_time() - started)
    return trips / min(took)


def slow(seconds: float) -> onnx.ModelProto:
    """``Y = X`` after ``seconds`` or more on this machine, however busy it is by now; where ``X``
    has whole numbers. What is generated has fractions, so that a load takes no longer than others.
    """
    return looping(_trips(seconds), for_all=False)


def slow_to_load(seconds: float) -> onnx.ModelProto:
    """The same for any ``X``."""
    return looping(_trips(seconds))


def _trips(seconds: float) -> int:
    return max(1, int(seconds * iterations_per_second()))


def fill() -> onnx.ModelProto:
    """``Y``: as many zeros as ``N`` says. The output grows with a value, not with the request."""
    node = helper.make_node("ConstantOfShape", ["N"], ["Y"])
    return _model([node], [_value("N", "INT64", [1])], [_value("Y", "FP32", ["n"])])


def widen(columns: int) -> onnx.ModelProto:
    """``Y = X`` in each of so many columns: answers far larger than their requests."""
    node = helper.make_node("MatMul", ["X", "ones"], ["Y"])
    return _model(
        [node],
        [_value("X", "FP32", ["n", 1])],
        [_value("Y", "FP32", ["n", columns])],
        [_constant("ones", np.ones((1, columns), np.float32))],
    )


TABLE = np.arange(20, dtype=np.float32).reshape(10, 2)


def gather() -> onnx.ModelProto:
    """``Y = TABLE[I]``: an index outside 0..9 is the client's fault."""
    node = helper.make_node("Gather", ["table", "I"], ["Y"], axis=0)
    return _model(
        [node],
        [_value("I", "INT64", ["n"])],
        [_value("Y", "FP32", ["n", 2])],
        [_constant("table", TABLE)],
    )


def divide() -> onnx.ModelProto:
    """``Y = A / B`` in INT32: x/0 is the client's fault."""
    node = helper.make_node("Div", ["A", "B"], ["Y"])
    return _model(
        [node],
        [_value("A", "INT32", ["n"]), _value("B", "INT32", ["n"])],
        [_value("Y", "INT32", ["n"])],
    )


def reshape() -> onnx.ModelProto:
    """``Y = reshape(X, S)``: an ``S`` that does not fit is the client's fault."""
    node = helper.make_node("Reshape", ["X", "S"], ["Y"])
    return _model(
        [node],
        [_value("X", "FP32", ["n"]), _value("S", "INT64", ["rank"])],
        [_value("Y", "FP32", ["a", "b"])],
    )


def constant() -> onnx.ModelProto:
    """No inputs at all; ``Y`` is always [1, 2]."""
    value = numpy_helper.from_array(np.array([1, 2], np.float32))
    node = helper.make_node("Constant", [], ["Y"], value=value)
    return _model([node], [], [_value("Y", "FP32", [2])])


def optional_input() -> onnx.ModelProto:
    """``Y = X * factor`` where ``factor`` may be left out and is then 2."""
    node = helper.make_node("Mul", ["X", "factor"], ["Y"])
    return _model(
        [node],
        [_value("X", "FP32", ["n", 2]), _value("factor", "FP32", [1])],
        [_value("Y", "FP32", ["n", 2])],
        [_constant("factor", np.array([2], np.float32))],
    )


def cumulative() -> onnx.ModelProto:
    """Axis 0 is time: rows of one caller must never follow another's."""
    node = helper.make_node("CumSum", ["X", "axis"], ["Y"])
    return _model(
        [node],
        [_value("X", "FP32", ["t", 2])],
        [_value("Y", "FP32", ["t", 2])],
        [_constant("axis", np.array(0, np.int64))],
    )


def pooled() -> onnx.ModelProto:
    """Rows of any inner length, rows independent: ``Y`` is each row's sum."""
    node = helper.make_node("ReduceSum", ["X", "axes"], ["Y"], keepdims=1)
    return _model(
        [node],
        [_value("X", "FP32", ["n", "length"])],
        [_value("Y", "FP32", ["n", 1])],
        [_constant("axes", np.array([1], np.int64))],
    )


def write(
    repository: Path,
    name: str,
    model: onnx.ModelProto | bytes,
    version: int | str = 1,
    config: str | None = None,
    yaml: str | None = None,
) -> Path:
    """Lay ``<repository>/<name>/<version>/model.onnx`` by rename; its version folder."""
    data = model if isinstance(model, bytes) else model.SerializeToString()
    home = repository / name
    home.mkdir(parents=True, exist_ok=True)
    if config is not None:
        (home / "config.pbtxt").write_text(config)
    if yaml is not None:
        (home / "model.yaml").write_text(yaml)
    parts = repository.parent / f".{repository.name}-parts" / name / str(version)
    parts.mkdir(parents=True)
    (parts / "model.onnx").write_bytes(data)
    return parts.rename(home / str(version))


BATCHED = "max_batch_size: 8\ndynamic_batching {}\n"
UNBATCHED = "max_batch_size: 0\n"


def lay_common(repository: Path) -> None:
    """The repository that most end-to-end tests share."""
    for datatype in ELEMENT_TYPES:
        write(repository, f"id_{datatype.lower()}", identity(datatype))
    write(repository, "tiny", tiny())
    write(repository, "add_sub", add_sub())
    write(repository, "add_sub_fp32", add_sub("FP32"))
    write(repository, "scalar", identity("FP32", []))
    write(repository, "scalar_int64", identity("INT64", []))
    write(repository, "scalar_bf16", identity("BF16", []))
    write(repository, "vector_fp32", identity("FP32", ["n"]))
    write(repository, "constant", constant())
    write(repository, "optional_input", optional_input())
    write(repository, "fixed", scale(2, [1, 4]))
    write(repository, "cumulative", cumulative())
    write(repository, "pooled", pooled())
    write(repository, "gather", gather(), config=BATCHED)
    write(repository, "divide", divide())
    write(repository, "reshape", reshape())
    write(repository, "slow", slow(0.3), config=UNBATCHED)
    write(repository, "odd name", scale(3))
    for version in (1, 2, 7):
        write(repository, "versions", scale(version), version, "version_policy { all {} }\n")
    write(repository, "broken", b"not a model")


# Signatures for examples, in both forms of a configuration.
EXAMPLES_YAML = """
outputs: [{name: y, label_filename: labels.txt}]
signatures:
  kinds: {method: classify, scores: y}
"""
EXAMPLES_PBTXT = """
max_batch_size: 8
parameters { key: "signatures" value { string_value:
  "{\\"values\\": {\\"method\\": \\"regress\\", \\"inputs\\": [\\"X\\"], \\"output\\": \\"Y\\"},"
  " \\"scores\\": {\\"method\\": \\"classify\\", \\"scores\\": \\"Y\\"}}" } }
"""


def lay_examples(repository: Path) -> None:
    """``tiny`` classifies by ``kinds``; ``double`` regresses by ``values``, and classifies by
    ``scores``."""
    (repository / "tiny").mkdir()
    (repository / "tiny" / "labels.txt").write_text("cat\nbig dog\nfish\n")
    write(repository, "tiny", tiny(), yaml=EXAMPLES_YAML)
    write(repository, "double", scale(2, ("n", 1)), config=EXAMPLES_PBTXT)
