"""``serving`` as a process of its own, without the second that its imports take.

Forked from a process that has imported everything (``template.py``); a child of ours all the same,
with the environment, streams and working directory that it is given. What a process gets from who
starts it, and how it imports, is for tests that start it as a shell does.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import IO

from serving.execution.isolation.parent.template_process import adopt_orphans

_ROOT = Path(__file__).resolve().parents[2]
# One request at a time, and orphans are the process's.
_starting = threading.Lock()


class Forked(subprocess.Popen[bytes]):
    """A process that is there already; without pipes."""

    def __init__(self, pid: int, arguments: Sequence[str]) -> None:
        self.args, self.pid = list(arguments), pid
        self.stdin = self.stdout = self.stderr = None
        self.returncode = None  # type: ignore[assignment]  # as in any that goes on
        self._child_created, self._waitpid_lock = True, threading.Lock()


def start(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    cwd: Path,
    streams: tuple[int, int, int],
) -> Forked:
    """``serving`` with these arguments and no more of the environment than this."""
    channel = _template()
    request = {
        "arguments": list(arguments),
        "environment": dict(environment),
        "cwd": str(cwd),
    }
    with _starting:
        adopt_orphans(True)
        try:
            socket.send_fds(channel, [json.dumps(request).encode()], list(streams))
            pid = int(channel.recv(64))
        finally:
            adopt_orphans(False)
    # Raises ChildProcessError where it is not ours: Popen would call that a good end.
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return Forked(pid, ("serving", *arguments))


def run(
    *arguments: object,
    stdin: str = "",
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 120,
) -> subprocess.CompletedProcess[str]:
    """``serving`` with these arguments, to its end. ``environment``: beside our own."""
    command = list(map(str, arguments))
    ours = {key: value for key, value in os.environ.items() if not key.startswith("SERVING_")}
    given = {**ours, **(environment or {})}
    with ExitStack() as open_:
        files = [open_.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
        files[0].write(stdin.encode())
        files[0].seek(0)
        into, out, err = (file.fileno() for file in files)
        process = start(command, given, cwd or Path.cwd(), (into, out, err))
        try:
            process.wait(timeout)
        finally:
            process.kill()
        said, complained = (_text(file) for file in files[1:])
    return subprocess.CompletedProcess(process.args, process.returncode, said, complained)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


@cache
def _template() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "tests.clients.template", str(theirs.fileno())]
    # numpy's library for linear algebra would start threads.
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment)
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours
