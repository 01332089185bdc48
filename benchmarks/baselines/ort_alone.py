"""onnxruntime without a server: what a row costs at a batch size.

python -m benchmarks.baselines.ort_alone MODEL.onnx SECONDS ROWS... < shape as JSON
prints one JSON object a size: {"rows": .., "rows_per_s": .., "cpu_s_per_row": ..}
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.baselines.sessions import session


def measure(model: Any, shape: list[int], rows: int, seconds: float) -> dict[str, float]:
    feeds = {
        model.get_inputs()[0].name: np.random.default_rng(5).random([rows, *shape], np.float32)
    }
    model.run(None, feeds)
    runs = 0
    start, cpu = time.perf_counter(), time.process_time()
    while (took := time.perf_counter() - start) < seconds:
        model.run(None, feeds)
        runs += 1
    done = runs * rows
    cpu = time.process_time() - cpu
    return {"rows": rows, "rows_per_s": done / took, "cpu_s_per_row": cpu / done}


def main(path: Path, seconds: float, sizes: list[int], shape: list[int]) -> None:
    model = session(path)
    for rows in sizes:
        print(json.dumps(measure(model, shape, rows, seconds)), flush=True)


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        float(sys.argv[2]),
        [int(rows) for rows in sys.argv[3:]],
        json.load(sys.stdin),
    )
