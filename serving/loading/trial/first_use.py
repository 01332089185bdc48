"""What a process pays once: onnxruntime's tables and pools, numpy's, made by the first run.

Paid before the first version is measured, so that what a version takes doesn't hang on its
turn. The model is written here byte by byte, for nothing that makes ONNX files is installed
where models are only served.
"""

from __future__ import annotations

import numpy as np

from serving.execution.files import ModelFiles
from serving.execution.onnx_nodes import read_nodes
from serving.execution.protobuf_write import varint_of
from serving.execution.session import runner_of
from serving.loading.memory import Meter
from serving.loading.trial.rehearsal import Subject, rehearse
from serving.model_config.schema import ModelConfig
from serving.settings import Settings

_FLOAT = 1
_WIDTH = 4


def pay_first_use(settings: Settings) -> None:
    """Load, prove and measure a tiny model as a version is. Raises LoadError, ConfigError."""
    config = ModelConfig()
    model = tiny_model()
    files = ModelFiles(model, (), frozenset())
    runner = runner_of(files, config, settings, "first-use")
    try:
        meter, subject = Meter(settings.models_bytes), Subject(read_nodes(model))
        rehearse(runner.run, runner.signature, config, settings, (), meter, subject)
    finally:
        runner.close()


def tiny_model() -> bytes:
    """A ModelProto: ``y = Softmax(MatMul(x, w))``, x and y FP32[-1,4]."""
    weights = np.eye(_WIDTH, dtype=np.float32).tobytes()
    tensor = _fields((1, _WIDTH), (1, _WIDTH), (2, _FLOAT), (8, b"w"), (9, weights))
    graph = _fields(
        (1, _fields((1, b"x"), (1, b"w"), (2, b"z"), (4, b"MatMul"))),
        (1, _fields((1, b"z"), (2, b"y"), (4, b"Softmax"))),
        (2, b"tiny"),
        (5, tensor),
        (11, _value(b"x")),
        (12, _value(b"y")),
    )
    return _fields((1, 8), (7, graph), (8, _fields((1, b""), (2, 13))))


def _value(name: bytes) -> bytes:
    """A ValueInfoProto."""
    shape = _fields((1, _fields((2, b"n"))), (1, _fields((1, _WIDTH))))
    return _fields((1, name), (2, _fields((1, _fields((1, _FLOAT), (2, shape))))))


def _fields(*pairs: tuple[int, int | bytes]) -> bytes:
    """A protobuf message of small numbers, and of texts and messages."""
    parts = []
    for number, value in pairs:
        if isinstance(value, int):
            parts.append(bytes([number << 3]) + varint_of(value))
        else:
            parts.append(bytes([number << 3 | 2]) + varint_of(len(value)) + value)
    return b"".join(parts)
