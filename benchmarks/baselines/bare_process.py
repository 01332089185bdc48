"""Python with numpy, onnxruntime and the models of a registry, and nothing more.

python -m benchmarks.baselines.bare_process REGISTRY     prints its resident bytes
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from benchmarks.baselines.sessions import sessions


def main(registry: Path) -> None:
    models = sessions(registry)
    for model in models.values():
        spec = model.get_inputs()[0]
        model.run(None, {spec.name: np.zeros([1, *spec.shape[1:]], np.float32)})
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    print(pages * os.sysconf("SC_PAGE_SIZE"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
