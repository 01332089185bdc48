"""Train the two digit classifiers of ``model_repo/digits/`` and export them to ONNX.

Version 1 is a logistic regression, version 2 a small neural network. Both are
trained on scikit-learn's bundled 8x8 images of handwritten digits, with a fixed
seed, and written as plain ONNX operators with a dynamic batch axis:

    image FP32 [N, 64], pixels 0-16  ->  label INT64 [N], probabilities FP32 [N, 10]

The file holds nothing of scikit-learn: no ZipMap, no ai.onnx.ml operators.

    python examples/train_digits.py [DIRECTORY]
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from digits import SEED, Digits, Floats, digits

PIXEL_MAX = 16.0
OPSET = 17
IR_VERSION = 8


@dataclass(frozen=True)
class Layer:
    """One dense layer: weights [inputs, outputs] and biases [outputs]."""

    weights: Floats
    biases: Floats


def train_linear(data: Digits) -> LogisticRegression:
    """Version 1: weak on purpose, so that version 2 shows a difference."""
    model = LogisticRegression(C=0.02, max_iter=2000)
    return model.fit(data.train_images / PIXEL_MAX, data.train_labels)


def train_network(data: Digits) -> MLPClassifier:
    """Version 2: one hidden layer of 64."""
    model = MLPClassifier(hidden_layer_sizes=(64,), alpha=1e-3, max_iter=600, random_state=SEED)
    return model.fit(data.train_images / PIXEL_MAX, data.train_labels)


def linear_layers(model: LogisticRegression) -> list[Layer]:
    """The one dense layer of a multinomial logistic regression."""
    return [Layer(as_float32(model.coef_.T), as_float32(model.intercept_))]


def network_layers(model: MLPClassifier) -> list[Layer]:
    """The dense layers of a perceptron, in order."""
    return [
        Layer(as_float32(weights), as_float32(biases))
        for weights, biases in zip(model.coefs_, model.intercepts_, strict=True)
    ]


def as_float32(values: NDArray[Any]) -> Floats:
    return np.ascontiguousarray(values, dtype=np.float32)


def to_onnx(layers: list[Layer], description: str) -> onnx.ModelProto:
    """Dense layers with Relu between, then softmax and the most probable class."""
    constants = [
        numpy_helper.from_array(np.float32(1 / PIXEL_MAX).reshape(1), "scale"),
        numpy_helper.from_array(np.arange(10, dtype=np.int64), "classes"),
    ]
    nodes = [helper.make_node("Mul", ["image", "scale"], ["layer_0"])]
    for number, layer in enumerate(layers, start=1):
        constants.append(numpy_helper.from_array(layer.weights, f"weights_{number}"))
        constants.append(numpy_helper.from_array(layer.biases, f"biases_{number}"))
        last = number == len(layers)
        dense = "scores" if last else f"dense_{number}"
        inputs = [f"layer_{number - 1}", f"weights_{number}", f"biases_{number}"]
        nodes.append(helper.make_node("Gemm", inputs, [dense]))
        if not last:
            nodes.append(helper.make_node("Relu", [dense], [f"layer_{number}"]))
    nodes += [
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["scores"], ["best"], axis=1, keepdims=0),
        helper.make_node("Gather", ["classes", "best"], ["label"], axis=0),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 64])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["batch"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10]),
        ],
        constants,
        doc_string=description,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model


def save(model: onnx.ModelProto, directory: Path, version: int) -> Path:
    """Write ``<directory>/<version>/model.onnx``."""
    path = directory / str(version) / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def main(directory: Path) -> None:
    data = digits()
    linear = train_linear(data)
    network = train_network(data)
    versions = {
        1: (linear, linear_layers(linear), "logistic regression"),
        2: (network, network_layers(network), "perceptron, one hidden layer of 64"),
    }
    for version, (model, layers, description) in versions.items():
        path = save(to_onnx(layers, description), directory, version)
        accuracy = model.score(data.test_images / PIXEL_MAX, data.test_labels)
        size = path.stat().st_size
        print(f"version {version}: {description}, accuracy {accuracy:.4f}, {size} bytes")


if __name__ == "__main__":
    default = Path(__file__).resolve().parent.parent / "model_repo" / "digits"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
