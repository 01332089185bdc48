"""The gateway with a Python thread that can be made busy.

python -m benchmarks.busy_gateway start REGISTRY     "busy" or "idle" on standard input
"""

from __future__ import annotations

import sys
import threading

from serving.cli import main

_busy = threading.Event()


def spin() -> None:
    """Hold the GIL as much as the interpreter lets one thread."""
    total = 0
    while True:
        _busy.wait()
        for number in range(10_000):
            total += number


def listen() -> None:
    for line in sys.stdin:
        if line.strip() == "busy":
            _busy.set()
        else:
            _busy.clear()


if __name__ == "__main__":
    for work in (spin, listen):
        threading.Thread(target=work, daemon=True).start()
    main()
