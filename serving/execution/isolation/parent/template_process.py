"""One template from its start to its end; ``child.template`` is its other side."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence

from serving.execution.isolation import framing
from serving.execution.isolation.framing import FramingError
from serving.execution.isolation.parent.forked import Forked
from serving.execution.isolation.parent.spawned import spawned

# For it to have imported what children need, on a machine that is busy; for one fork; for its end.
_START_S = 60.0
_FORK_S = 10.0
_END_S = 2.0
_MODULE = "serving.execution.isolation.child.template"
# Over its arguments those of a child are written, which may be longer.
_ROOM = " " * 1024
_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None, use_errno=True)


class NoTemplateError(Exception):
    """No child came of it, in words."""


def adopt_orphans(wanted: bool) -> None:
    """Whether the kernel gives this process what it would give to init: what its children started
    and left behind. Raises OSError."""
    if _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "the system gives no orphans to this process")


class TemplateProcess:
    """``modules``: what children run, imported by it. ``begin`` has it start, ``fork`` and ``kill``
    may be called from any thread until ``end``.

    From then on orphans are this process's (``adopt_orphans``). Raises OSError.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        adopt_orphans(True)
        self._asking = threading.Lock()
        self._killing = threading.Lock()
        self._channel, theirs = framing.socket_pair()
        try:
            with theirs:
                arguments = [_MODULE, str(theirs.fileno()), str(os.getpid()), "template"]
                # Threads of a library would not be there in a child, nor what they hold given back.
                more = {"OPENBLAS_NUM_THREADS": "1"}
                process = spawned([*arguments, *modules, _ROOM], theirs.fileno(), more)
            self._process: subprocess.Popen[bytes] | None = process
            self.pid = process.pid
            try:
                # Readable once it has ended.
                self.ends = os.pidfd_open(process.pid)
            except OSError:
                process.kill()
                process.wait()
                raise
        except BaseException:
            self._channel.close()
            raise

    def wait_ready(self) -> None:
        """Raises EOFError, OSError, FramingError where it does not come so far."""
        framing.receive(self._channel, time.monotonic() + _START_S)

    def fork(self, module: str, fd: int, name: str) -> Forked:
        """Raises NoTemplateError, and then it is of no use any more: whatever it may have
        forked ends with it, or once the other end of ``fd`` is closed."""
        question = {"module": module, "name": name, "parent": os.getpid()}
        with self._asking:
            until = time.monotonic() + _FORK_S
            try:
                framing.send(self._channel, question, [fd], until)
                answer, _ = framing.receive(self._channel, until)
                pid = int(answer["pid"])
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                return Forked(pid)
            except KeyError:
                words = f"it does not fork: {answer.get('failed')}"
            except ChildProcessError:
                words = "what it forks does not become this process's child"
            except (EOFError, OSError, FramingError) as error:
                words = f"it does not answer: {type(error).__name__}"
        self.kill()
        raise NoTemplateError(words)

    def kill(self) -> None:
        with self._killing:
            if self._process is not None:
                os.kill(self._process.pid, signal.SIGKILL)

    def end(self) -> int:
        """Let it end, or kill it, with what it forked that is not a process of its own yet. Its
        status."""
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)
        ended = select.poll()
        ended.register(self.ends, select.POLLIN)
        if not ended.poll(_END_S * 1000):
            self.kill()
            ended.poll()
        os.close(self.ends)
        with self._asking:
            self._channel.close()
        with self._killing:
            process, self._process = self._process, None
        assert process is not None
        # It is not waited for yet, so the number of its group is nobody else's.
        os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        while _collected(process.pid):
            pass
        return code


def _collected(group: int) -> bool:
    """Whether there was one more of the group to be waited for."""
    try:
        os.waitpid(-group, 0)
    except ChildProcessError:
        return False
    return True
