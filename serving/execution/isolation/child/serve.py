"""The child's end of ``parent.process.Child``: what a process does to itself, and its loop."""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import resource
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

from serving.execution.isolation import framing
from serving.execution.isolation.framing import Message
from serving.own_memory import memory_of

Handler = Callable[[Message, list[int]], Message]

# Added to what we inherit: if memory runs out, the kernel takes a child, not the server.
_OOM_SCORE = 500
_PROC = Path("/proc/self")
_PR_SET_PDEATHSIG = 1
# What is meant for the server, and may be sent to all that belongs to it.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def serve(handler: Handler, hear: Callable[[str], None] = lambda word: None) -> None:
    """Answer the server's questions, one after another, until it closes the socket or ends;
    then the process ends. Never returns. To be called first, from the main thread, in a
    process that ``parent.process.Child`` started: ``sys.argv`` says where the socket is.

    ``handler`` gets a message and the file descriptors that came with it, which are its own
    now. An error that it raises is printed and reported, and the next question is awaited.
    ``hear`` gets words that need no answer, in a thread of its own and at once.
    """
    fd, parent = int(sys.argv[1]), int(sys.argv[2])
    channel = socket.socket(fileno=fd)
    channel.set_inheritable(False)
    ignore_signals()
    try:
        # Before it comes, one that was forked may be the child of another than the server.
        start, _ = framing.receive(channel)
        end_with(parent)
        _settle_in(start)
    except (EOFError, OSError):
        os._exit(0)
    questions: queue.SimpleQueue[tuple[Message, list[int]]] = queue.SimpleQueue()
    # It reads all the time, also while a question is answered: that is how it sees the end.
    reader = threading.Thread(
        target=_read, args=(channel, questions, hear), name="watch", daemon=True
    )
    reader.start()
    while True:
        framing.send(channel, _answer(handler, *questions.get()))


def end_with(parent: int) -> None:
    """Have the kernel end this process when ``parent`` ends; end at once where it has.

    The socket says so too, but not to a process that is stopped, nor to one that came by the
    other end of it.
    """
    if sys.platform == "linux":
        # Where it is refused the socket remains.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def limit_memory(more_bytes: int) -> None:
    """From now on, this process may allocate ``more_bytes`` beyond what it has.

    Counted are the heap and private mappings (RLIMIT_DATA), not memory shared with others.
    """
    with contextlib.suppress(ValueError, OSError):  # a tighter limit of the operator's stands
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limit = memory_of("VmData") + more_bytes
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def give_way(niceness: int) -> None:
    """Be that much nicer than before, in all threads. On Linux niceness is a thread's own; those
    to come have that of the thread that makes them."""
    tasks = (_PROC / "task").iterdir() if sys.platform == "linux" else ()
    for thread in [int(task.name) for task in tasks] or [0]:
        with contextlib.suppress(OSError):  # it has ended
            now = os.getpriority(os.PRIO_PROCESS, thread)
            os.setpriority(os.PRIO_PROCESS, thread, min(19, now + niceness))


def ignore_signals() -> None:
    """Those that are meant for the server."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _settle_in(start: Message) -> None:
    if os.getsid(0) != os.getpid():  # forked
        os.setsid()
    # Before any thread is made: on Linux niceness is a thread's own.
    with contextlib.suppress(OSError):  # only root may lower what was inherited
        os.setpriority(os.PRIO_PROCESS, 0, int(start["niceness"]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, ValueError):
        score = _PROC / "oom_score_adj"
        score.write_text(str(min(1000, int(score.read_text()) + _OOM_SCORE)))  # file: the kernel's
    if start["memory_bytes"] is not None:
        limit_memory(int(start["memory_bytes"]))


def _read(
    channel: socket.socket,
    questions: queue.SimpleQueue[tuple[Message, list[int]]],
    hear: Callable[[str], None],
) -> None:
    try:
        while True:
            message, fds = framing.receive(channel)
            if "word" in message:
                hear(str(message["word"]))
            else:
                questions.put((message, fds))
    except BaseException:  # noqa: BLE001 - whatever it is, nobody can ask any more
        os._exit(0)


def _answer(handler: Handler, message: Message, fds: list[int]) -> Message:
    try:
        return handler(message, fds)
    except Exception as error:  # noqa: BLE001 - reported to whoever asked
        traceback.print_exc(file=sys.stderr)
        return {"failed": f"{type(error).__name__}: {error}"}
