"""What every item needs: folders, durations, models, and the servers to compare with."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import grpc
import numpy as np

from benchmarks import bodies, models
from benchmarks.baselines.sessions import session
from benchmarks.models import LeftOutError, lay
from benchmarks.servers import Server, Spike, spike_library
from serving.wire import messages

BUILT: dict[str, Callable[[], bytes]] = {
    "tiny": models.tiny,
    "mlp": models.mlp,
    "image": models.image,
    "steady": models.steady,
}
SHAPES: dict[str, tuple[int, ...]] = {
    "tiny": (4,),
    "mlp": (256,),
    "image": models.IMAGE_SHAPE,
    "steady": (4,),
    "ocr_cls": models.OCR_SHAPE,
}

# Its height and width vary: without a sample, warm-up measures sizes that nobody sends.
OCR_SAMPLE = f"""\
warmup:
  - name: line
    inputs:
      x: {{shape: {[1, *models.OCR_SHAPE]}, fill: random}}
"""

AnyServer = TypeVar("AnyServer", bound=Server)


@dataclass(frozen=True)
class Bench:
    """``seconds`` a run and ``rounds`` of interleaved runs, more of both where ``full``; ``work``
    is thrown away."""

    work: Path
    cache: Path
    seconds: float
    rounds: int
    full: bool = False

    def folder(self) -> Path:
        """A new one, for a server's files."""
        return Path(tempfile.mkdtemp(dir=self.work))

    def registry(self, *names: str) -> Path:
        """A new one with version 1 of these models. Raises LeftOutError for a missing file."""
        root = self.folder()
        for name in names:
            built = BUILT.get(name)
            lay(root, name, built() if built else models.ocr_cls(self.cache))
            if not built:
                (root / name / "model.yaml").write_text(OCR_SAMPLE)
        return root

    def spike(self) -> Spike:
        """Raises LeftOutError when the spike can't be had."""
        library = spike_library(self.cache)
        registry = self.registry("tiny", "mlp")
        lay(registry, "image", models.flat_image())
        return Spike(library, registry, self.folder())


def start(
    stack: ExitStack, contenders: dict[str, Callable[[], AnyServer]]
) -> tuple[dict[str, AnyServer], dict[str, LeftOutError]]:
    """Start what can be had; the rest with its reason."""
    running: dict[str, AnyServer] = {}
    missing: dict[str, LeftOutError] = {}
    for name, make in contenders.items():
        try:
            server = make()
            stack.enter_context(server)
            running[name] = server
        except LeftOutError as why:
            missing[name] = why
    return running, missing


def expect_right_answer(port: int, registry: Path, model: str) -> None:
    """A server that answers nonsense quickly is not worth timing. Raises RuntimeError."""
    shape = SHAPES[model]
    loaded = session(registry / model / "1" / "model.onnx")
    (expected,) = loaded.run(None, {"x": bodies.row(shape)})
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        infer = channel.unary_unary(
            bodies.INFER, response_deserializer=messages.ModelInferResponse.FromString
        )
        answer = infer(bodies.message(model, shape), timeout=20)
    got = np.frombuffer(answer.raw_output_contents[0], "<f4").reshape(expected.shape)
    if not np.allclose(got, expected, rtol=1e-3, atol=1e-5):
        raise RuntimeError(f"{model}: expected {expected}, got {got}")
