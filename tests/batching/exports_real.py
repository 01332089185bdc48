"""Real models: those of the tests' wheels, and the nine networks inside the onnx package."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import numpy_helper

from serving.signature import Signature, Tensor

LIGHT = [
    *("bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50"),
    *("shufflenet", "squeezenet", "vgg19", "zfnet512"),
]
# Of the wheels (``tests/real_models.py``): whether their rows may share a run. One of Silero's
# has its state's rows on axis 1, the other's rows are steps in time.
IN_WHEELS = {
    "magika": True,
    "ocr_cls": True,
    "ocr_det": True,
    "ocr_rec": True,
    "silero_vad": False,
    "silero_vad_16k_sequence": False,
}


def light(name: str) -> tuple[bytes, Signature]:
    """A network of the onnx package as exported with any number of images.

    They were exported for one image: the inputs', outputs' and Reshapes' leading 1 is opened.
    """
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    model = onnx.load(folder / f"light_{name}.onnx")
    graph = model.graph
    shapes = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
    for constant in graph.initializer:
        if constant.name in shapes:
            constant.CopyFrom(_opened(constant))
    names = {one.name for one in graph.initializer}
    required = [one for one in graph.input if one.name not in names]
    for value in [*required, *graph.output]:
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    inputs, outputs = (tuple(map(_tensor, some)) for some in (required, graph.output))
    return model.SerializeToString(), Signature(inputs, outputs)


def _opened(constant: onnx.TensorProto) -> onnx.TensorProto:
    shape = numpy_helper.to_array(constant).copy()
    if shape[0] == 1 and -1 not in shape:
        shape[0] = -1
    return numpy_helper.from_array(shape, constant.name)


def _tensor(value: onnx.ValueInfoProto) -> Tensor:
    dims = value.type.tensor_type.shape.dim
    return Tensor(value.name, "FP32", tuple(-1 if one.dim_param else one.dim_value for one in dims))
