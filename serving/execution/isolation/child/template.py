"""The template: a small process that has imported what children need, and is forked for each.

``parent.template.Template`` runs it as ``python -m serving.execution.isolation.child.template
<fd> <parent> template <module>...``. It knows no model, serves nobody and has one thread, so a
fork finds no lock held. A child is forked twice: the process between ends at once, and the kernel
gives the child to the server (PR_SET_CHILD_SUBREAPER), whose own it is from then on, whatever
becomes of the template.
"""

from __future__ import annotations

import gc
import importlib
import os
import socket
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from serving.execution import runtime
from serving.execution.isolation import framing
from serving.execution.isolation.child import process_title
from serving.execution.isolation.child.serve import end_with, ignore_signals
from serving.execution.isolation.framing import Message

_TASKS = Path("/proc/self/task")
_PID_BYTES = 32


def main() -> NoReturn:
    """Never returns: the process ends with the server, or when that closes the socket."""
    fd, parent, modules = int(sys.argv[1]), int(sys.argv[2]), sys.argv[4:]
    end_with(parent)
    channel = socket.socket(fileno=fd)
    channel.set_inheritable(False)
    ignore_signals()
    for module in modules:
        if module.strip():
            importlib.import_module(module)
    runtime.ort()
    # Children share what is there for as long as nobody writes to it, and the collector would.
    gc.collect()
    gc.freeze()
    try:
        framing.send(channel, {"ready": True})
        while True:
            framing.send(channel, _answer(channel, *framing.receive(channel)))
    except (EOFError, OSError):
        os._exit(0)


def _answer(channel: socket.socket, message: Message, fds: Sequence[int]) -> Message:
    """The child's ``pid``, or why there is none."""
    try:
        threads = len(list(_TASKS.iterdir()))
        if threads != 1:
            return {"failed": f"it has {threads} threads"}
        return {"pid": _adopted(channel, message, fds)}
    except OSError as error:
        return {"failed": str(error)}
    finally:
        for fd in fds:
            os.close(fd)


def _adopted(channel: socket.socket, message: Message, fds: Sequence[int]) -> int:
    """The number of a new child, which is the server's by now. Raises OSError."""
    told, tell = os.pipe()
    try:
        between = os.fork()
        if between == 0:
            _fork_and_end(tell, (told, channel.detach()), message, fds)
        os.close(tell)
        tell = -1
        said = os.read(told, _PID_BYTES)
        os.waitpid(between, 0)
    finally:
        os.close(told)
        if tell >= 0:
            os.close(tell)
    if not said:
        raise OSError("it could not be forked")
    return int(said)


def _fork_and_end(
    tell: int, others: Sequence[int], message: Message, fds: Sequence[int]
) -> NoReturn:
    try:
        pid = os.fork()
        if pid == 0:
            for fd in (tell, *others):
                os.close(fd)
            _become(message, fds)
        os.write(tell, str(pid).encode())
    finally:
        os._exit(0)


def _become(message: Message, fds: Sequence[int]) -> NoReturn:
    """What ``python -m <module> <fd> <parent> <name>`` is."""
    try:
        (fd,) = fds
        sys.argv = [message["module"], str(fd), str(message["parent"]), message["name"]]
        process_title.show([sys.executable, "-P", "-m", *sys.argv])
        _draw_anew()
        importlib.import_module(message["module"]).main()
    except BaseException:  # noqa: BLE001 - it ends here, and must not go on as the template
        traceback.print_exc(file=sys.stderr)
    finally:
        os._exit(1)


def _draw_anew() -> None:
    """Children of one template draw no numbers alike. Python's own generator sees to itself."""
    runtime.ort().set_seed(int.from_bytes(os.urandom(4)))
    with suppress(KeyError):
        sys.modules["numpy.random"].seed()


if __name__ == "__main__":
    main()
