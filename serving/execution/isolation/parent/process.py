"""A child process of ours, seen from the server; ``child.serve.serve`` is its other end.

Never forked from the server: it shares no lock, thread or session with it. It has its own
session and ignores SIGINT, SIGTERM and SIGHUP, so that a drain can finish what runs in it. It never
outlives the server, however that ends: it sees the end of its socket, and the kernel ends it
where it can't.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence

from serving.execution.isolation import framing
from serving.execution.isolation.framing import Message
from serving.execution.isolation.parent.starting import Process, started

# For a process that closed its socket, or was killed, to be gone.
_END_S = 10.0
_CLOSE_S = 2.0


class ChildDiedError(Exception):
    """The child ended; ``words`` (``SIGFPE``, ``exit status 3``) say how.

    One of ``signal_number`` and ``exit_code`` is set.
    """

    def __init__(self, words: str, signal_number: int | None, exit_code: int | None) -> None:
        super().__init__(words)
        self.words = words
        self.signal_number = signal_number
        self.exit_code = exit_code


class ChildFailedError(Exception):
    """The child lives, but what it was asked for raised an error that it did not expect."""


class Child:
    """``python -m <module> <fd> <our pid> <name>``, whose module calls
    ``child.serve.serve(handler)``.

    ``name`` shows in the process list. ``niceness``: of all its threads, beyond
    this process's. ``memory_bytes``: what it may allocate beyond what it needs to start; what
    goes beyond fails like any allocation. What it prints goes to this process's stderr.

    Raises OSError where no process can be had.
    """

    def __init__(
        self, module: str, *, name: str, niceness: int = 0, memory_bytes: int | None = None
    ) -> None:
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._process, self._channel = started(module, name)
        # Niceness is a thread's own: the main thread's is what we were started with.
        start = {
            "niceness": min(19, os.getpriority(os.PRIO_PROCESS, os.getpid()) + niceness),
            "memory_bytes": memory_bytes,
        }
        # One that died this early shows itself in the first question.
        with contextlib.suppress(OSError):
            framing.send(self._channel, start)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(
        self, message: Message, fds: Sequence[int] = (), timeout: float | None = None
    ) -> Message:
        """Send ``message`` and file descriptors (copies: the caller keeps its own), wait for
        the answer. One question at a time; others wait for their turn.

        Raises ChildDiedError; ChildFailedError; TimeoutError after ``timeout`` seconds, when
        the child is still busy and only ``kill`` and ``close`` make sense; FramingError
        for a message that is too large.
        """
        until = None if timeout is None else time.monotonic() + timeout
        with self._lock:
            try:
                self._channel.settimeout(timeout)
                with self._sending:
                    framing.send(self._channel, message, fds, until)
                answer, received = self._receive(until)
            except TimeoutError:
                raise
            except (EOFError, OSError):
                raise self.end() from None
        for fd in received:
            os.close(fd)
        if "failed" in answer:
            raise ChildFailedError(str(answer["failed"]))
        return answer

    def tell(self, word: str) -> None:
        """Have it hear a word at once, also while it is busy with a question: there is no
        answer. Nothing is told to one that is gone, or just being asked something."""
        if not self._sending.acquire(blocking=False):
            return
        try:
            with contextlib.suppress(OSError):  # whoever asks it will be told
                framing.send(self._channel, {"word": word})
        finally:
            self._sending.release()

    def _receive(self, until: float | None) -> tuple[Message, list[int]]:
        try:
            return framing.receive(self._channel, until)
        except framing.FramingError:
            # It is no longer itself.
            self.kill()
            raise EOFError from None

    def end(self) -> ChildDiedError:
        """How a child ended that closed its socket or is about to end. One that lives on
        without it is killed."""
        try:
            code = _ended(self._process, _END_S)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self._process.returncode or 0
        if code < 0:
            return ChildDiedError(_signal_name(-code), -code, None)
        return ChildDiedError(f"exit status {code}", None, code)

    def wait(self) -> None:
        """Wait until it has ended."""
        self._process.wait()

    def kill(self) -> None:
        """End it at once; whoever waits for an answer gets ChildDiedError."""
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            _ended(self._process, _END_S)

    def close(self) -> None:
        """Let it end by itself, or kill it after two seconds. Nothing of it is left."""
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)
        try:
            _ended(self._process, _CLOSE_S)
        except subprocess.TimeoutExpired:
            self.kill()
        with self._lock:
            self._channel.close()


def _ended(process: Process, seconds: float) -> int:
    """Its status once it has ended; TimeoutExpired where it has not ``seconds`` later. Until
    then this sleeps: ``Popen.wait`` with a time-out looks again and again."""
    # The number of one that was collected may be somebody else's by now.
    if (code := process.poll()) is not None:
        return code
    try:
        pidfd = os.pidfd_open(process.pid)
    except (AttributeError, OSError):  # macOS; or a container forbids it; or it is gone
        return process.wait(seconds)
    try:
        ends = select.poll()
        ends.register(pidfd, select.POLLIN)
        if not ends.poll(seconds * 1000):
            raise subprocess.TimeoutExpired(f"process {process.pid}", seconds)
    finally:
        os.close(pidfd)
    return process.wait()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
