"""What the children of the tests do: run as ``python -m tests.unit.child_modules``, or forked."""

from __future__ import annotations

import os
import queue
import random
import resource
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

from serving.execution.isolation.child.serve import serve
from serving.execution.runtime import ort


def handle(message: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    return globals()[f"do_{message['do']}"](message, fds)


def do_echo(message: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    return {"echo": message["what"], "read": [os.pread(fd, 100, 0).decode() for fd in fds]}


def do_facts(message: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    return {
        "session": os.getsid(0),
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "oom": int(Path("/proc/self/oom_score_adj").read_text()),
        "telemetry": os.environ.get("ORT_DISABLE_TELEMETRY"),
        "ignored": [signal.getsignal(n) == signal.SIG_IGN for n in (signal.SIGINT, signal.SIGTERM)],
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "fds": [path.name for path in Path("/proc/self/fd").iterdir()],
    }


def do_die(message: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    if "exit" in message:
        os._exit(message["exit"])
    os.kill(os.getpid(), message["signal"])
    return {}


def do_sleep(message: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    time.sleep(60)
    return {}


def do_raise(message: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    raise ValueError("not this time")


def do_allocate(message: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    try:
        return {"got": len(bytearray(message["bytes"]))}
    except MemoryError:
        return {"got": 0}


_heard: queue.SimpleQueue[str] = queue.SimpleQueue()


def do_wait_for_word(message: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    return {"heard": _heard.get(timeout=30)}


def do_draw(message: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    """A number of each generator; onnxruntime's by the model in the file."""
    session = ort().InferenceSession(os.pread(fds[0], 10_000, 0))
    (drawn,) = session.run(None, {})
    return {"draws": [random.random(), float(np.random.rand()), float(drawn.ravel()[0])]}


def do_tasks(message: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    return {"parent": os.getppid(), "template": os.environ.get("OPENBLAS_NUM_THREADS") == "1"}


def main() -> None:
    serve(handle, _heard.put)


if __name__ == "__main__":
    main()
