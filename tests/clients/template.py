"""The process that others are forked from: it has imported what a gateway and its commands import.

``python -m tests.clients.template FD`` answers requests on that socket, until its other end closes.
``forked.py`` asks it.
"""

from __future__ import annotations

import atexit
import faulthandler
import gc
import io
import json
import os
import pkgutil
import signal
import socket
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

_MOST_BYTES = 1 << 20
# Started by hand, and one that starts a thread (pyarrow's), which no fork would have.
_NOT_IMPORTED = ("serving.__main__", "serving.observe.request_log.parquet")


def import_all() -> None:
    """All of ``serving``, and onnxruntime."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    package = import_module("serving")
    for found in pkgutil.walk_packages(package.__path__, "serving."):
        if found.name not in _NOT_IMPORTED:
            import_module(found.name)
    import_module("serving.execution.runtime").ort()
    threads = [path.name for path in Path("/proc/self/task").iterdir()]
    assert len(threads) == 1, f"imports started threads: {threads}"
    # No collection in a child goes through what is there, and has each page of it copied.
    gc.collect()
    gc.freeze()


def serve(channel: socket.socket) -> None:
    while True:
        content, fds, _, _ = socket.recv_fds(channel, _MOST_BYTES, 3)
        if not content:
            return
        pid = _spawn(json.loads(content), fds)
        for fd in fds:
            os.close(fd)
        channel.send(str(pid).encode())


def _spawn(request: dict[str, Any], fds: list[int]) -> int:
    """Fork twice: the one in between ends, so that whoever asked becomes the parent."""
    reading, writing = os.pipe()
    between = os.fork()
    if not between:
        pid = os.fork()
        if not pid:
            os.closerange(reading, writing + 1)
            _become(request, fds)
        os.write(writing, str(pid).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(between, 0)
    with os.fdopen(reading) as answer:
        return int(answer.read())


def _become(request: dict[str, Any], fds: list[int]) -> None:
    """``serving`` with these arguments. Never returns."""
    code = 1
    try:
        for number, fd in enumerate(fds):
            os.dup2(fd, number)
        os.closerange(3, 256)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["environment"])
        _open_streams()
        if os.environ.get("PYTHONFAULTHANDLER"):
            faulthandler.enable()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        import_module("serving.first_signals").end_at_once()
        sys.argv = ["serving", *request["arguments"]]
        import_module("serving.cli").main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does at its end
        sys.excepthook(*sys.exc_info())
    finally:
        _leave(code)


def _open_streams() -> None:
    def text(number: int, mode: str, errors: str) -> io.TextIOWrapper:
        raw = open(number, mode, closefd=False)  # noqa: SIM115 - the process's own, to its end
        return io.TextIOWrapper(raw, "utf-8", errors, line_buffering=number == 2)

    sys.stdin, sys.stdout = text(0, "rb", "strict"), text(1, "wb", "strict")
    sys.stderr = text(2, "wb", "backslashreplace")
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr


def _leave(code: int) -> None:
    """As the interpreter ends: after threads that are waited for, with what is registered."""
    threading._shutdown()  # type: ignore[attr-defined]  # what the interpreter calls at its end
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 120
    os._exit(code)


def main() -> None:
    import_all()
    serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
