"""The models that the benchmarks serve, built here with fixed random weights.

``tiny``    softmax(x[N,4] . W[4,3] + b): nothing to compute, all the cost is the server's
``mlp``     256-1024-1024-10 with Relu: a small real network
``image``   the mean of each colour of x[N,3,224,224]: 602 KB in, 12 bytes out
``steady``  some milliseconds a row, and batching saves nothing: a known capacity
``ocr_cls`` the direction classifier of rapidocr-onnxruntime (Apache-2.0), fetched, not built
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
IMAGE_SHAPE = (3, 224, 224)

OCR_WHEEL = "rapidocr-onnxruntime==1.4.4"
OCR_FILE = "ch_ppocr_mobile_v2.0_cls_infer.onnx"
OCR_SHA256 = "e47acedf663230f8"
OCR_SHAPE = (3, 48, 192)

Dims = Sequence[int | str]


class LeftOutError(Exception):
    """What a measurement needs is not there; the text says what."""


def constant(name: str, *shape: int, scale: float = 0.1) -> TensorProto:
    """Weights drawn with a seed made of the name, so that each build gives the same file."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    values = np.random.default_rng(seed).normal(0.0, scale, shape).astype(np.float32)
    return numpy_helper.from_array(values, name)


def model(
    name: str,
    x: Dims,
    y: Dims,
    nodes: list[NodeProto],
    constants: list[TensorProto],
) -> bytes:
    """One FP32 input ``x``, one FP32 output ``y``."""
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)],
        constants,
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    built.ir_version = IR_VERSION
    onnx.checker.check_model(built, full_check=True)
    content: bytes = built.SerializeToString(deterministic=True)
    return content


def tiny() -> bytes:
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"]),
        helper.make_node("Softmax", ["h"], ["y"], axis=1),
    ]
    return model("tiny", ["N", 4], ["N", 3], nodes, [constant("w", 4, 3), constant("b", 3)])


def mlp() -> bytes:
    widths = (256, 1024, 1024, 10)
    nodes, constants = [], []
    layer = "x"
    for number, (inputs, outputs) in enumerate(pairwise(widths), start=1):
        constants += [constant(f"w{number}", inputs, outputs), constant(f"b{number}", outputs)]
        last = number == len(widths) - 1
        dense = "y" if last else f"d{number}"
        nodes.append(helper.make_node("Gemm", [layer, f"w{number}", f"b{number}"], [dense]))
        if not last:
            layer = f"h{number}"
            nodes.append(helper.make_node("Relu", [dense], [layer]))
    return model("mlp", ["N", widths[0]], ["N", widths[-1]], nodes, constants)


def image() -> bytes:
    nodes = [helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)]
    return model("image", ["N", *IMAGE_SHAPE], ["N", 3], nodes, [])


def flat_image() -> bytes:
    """``image`` for the spike, which knows only two dimensions."""
    shape = numpy_helper.from_array(np.array([-1, *IMAGE_SHAPE], np.int64), "shape")
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["h"]),
        helper.make_node("ReduceMean", ["h"], ["y"], axes=[2, 3], keepdims=0),
    ]
    return model("image", ["N", int(np.prod(IMAGE_SHAPE))], ["N", 3], nodes, [shape])


def steady(side: int = 192, rounds: int = 10) -> bytes:
    """Each row becomes a matrix of its own that is squared again and again."""
    shape = numpy_helper.from_array(np.array([-1, side, side], np.int64), "shape")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["m0"]),
    ]
    for number in range(rounds):
        nodes.append(helper.make_node("MatMul", [f"m{number}", f"m{number}"], [f"p{number}"]))
        nodes.append(helper.make_node("Tanh", [f"p{number}"], [f"m{number + 1}"]))
    nodes.append(helper.make_node("ReduceMean", [f"m{rounds}"], ["y"], axes=[2], keepdims=0))
    weights = [constant("w", 4, side * side, scale=0.01), shape]
    return model("steady", ["N", 4], ["N", side], nodes, weights)


def ocr_cls(cache: Path) -> bytes:
    """The classifier's file, out of its wheel. Raises LeftOutError when it can't be had."""
    path = cache / OCR_FILE
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        done = subprocess.run([*fetch, "--dest", cache, OCR_WHEEL], check=False)
        wheels = list(cache.glob("rapidocr_onnxruntime-*.whl"))
        if done.returncode != 0 or not wheels:
            raise LeftOutError(f"{OCR_WHEEL} could not be downloaded")
        with zipfile.ZipFile(wheels[0]) as archive:
            (member,) = [name for name in archive.namelist() if name.endswith(OCR_FILE)]
            path.write_bytes(archive.read(member))
    content = path.read_bytes()
    if not hashlib.sha256(content).hexdigest().startswith(OCR_SHA256):
        raise LeftOutError(f"{OCR_FILE} is not the file that was measured before")
    return content


def lay(registry: Path, name: str, content: bytes, version: int = 1) -> Path:
    """Write ``<registry>/<name>/<version>/model.onnx``."""
    path = registry / name / str(version) / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
