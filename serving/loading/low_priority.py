"""Runs work in a thread of low priority, so that requests go first."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

from serving.kept_threads import KeptThreads

Result = TypeVar("Result")

# Beyond the caller's own: a tenth of what a thread that serves gets while both want the same
# CPU; never nothing, for what holds the interpreter's lock must get on.
NICENESS = 10
_MOST = 19


def run_low_priority(work: Callable[[], Result]) -> Result:
    """Run ``work`` in a thread of low priority and wait for it; returns or raises what it does.

    A thread inherits its priority from the one that makes it and may not raise it again, so
    ``work`` makes no thread or process that serves later.
    """
    if getattr(_here, "is_low", False):
        return work()
    done: Future[Result] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            done.set_exception(error)

    _threads.spawn(threading.current_thread().name, run)
    return done.result()


def _lower() -> None:
    """Elsewhere than on Linux, niceness is the whole process's."""
    _here.is_low = True
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):  # forbidden: then at the usual priority
            own = os.getpriority(os.PRIO_PROCESS, thread)
            os.setpriority(os.PRIO_PROCESS, thread, min(_MOST, own + NICENESS))


_here = threading.local()
_threads = KeptThreads(begin=_lower)
