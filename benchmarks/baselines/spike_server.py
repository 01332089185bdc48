"""The spike's core with the benchmark's models.

PYTHONPATH=FOLDER-OF-core_spike.so python -m benchmarks.baselines.spike_server REGISTRY PORT
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

import core_spike
import numpy as np

from benchmarks import models
from benchmarks.baselines.sessions import session

# Values a row, and rows a batch.
MODELS = {"tiny": (4, 128), "mlp": (256, 64), "image": (int(np.prod(models.IMAGE_SHAPE)), 8)}


def pull(queue: Any, model: Any) -> None:
    while (taken := queue.next_batch()) is not None:
        batch, feeds = taken
        batch.complete(model.run(None, feeds))


def serve(registry: Path, port: int) -> None:
    queues = []
    for name, (width, rows) in MODELS.items():
        queue = core_spike.Queue(name, width, "y", rows)
        queues.append(queue)
        model = session(registry / name / "1" / "model.onnx")
        threading.Thread(target=pull, args=(queue, model), daemon=True).start()
    core_spike.serve(port, queues, 1)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
