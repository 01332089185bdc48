"""Trials that nobody wants any more: they are told to stop, and end with their child where they
don't."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from serving.cancellation import Cancellation
from serving.execution.isolation.parent.process import Child
from serving.kept_threads import KeptThreads

# For a trial to obey, and from one word to the next until it does.
_STOP_S = 1.0
_AGAIN_S = 0.05

# None for a trial that nobody stops, as almost all are.
_threads = KeptThreads()


@contextlib.contextmanager
def watched(child: Child, cancelled: Cancellation) -> Iterator[None]:
    """Have the trial stop as soon as nobody wants its version; kill a child that goes on."""
    woken, done, ended = threading.Event(), threading.Event(), threading.Event()

    def watch() -> None:
        try:
            _stop(child, done)
        finally:
            ended.set()

    def wake() -> None:
        woken.set()
        try:
            _threads.spawn("trial-watch", watch)
        except (RuntimeError, MemoryError):  # there is no thread to be had
            child.kill()
            ended.set()

    try:
        with cancelled.waking(wake):
            yield
    finally:
        done.set()
        if woken.is_set():
            ended.wait()  # a word that came late would stop the next trial


def _stop(child: Child, done: threading.Event) -> None:
    for _ in range(int(_STOP_S / _AGAIN_S)):
        if done.is_set():
            return
        # Again and again: a word may come just between two runs.
        child.tell("stop")
        done.wait(_AGAIN_S)
    if not done.is_set():
        child.kill()
