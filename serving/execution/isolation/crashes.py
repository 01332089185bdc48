"""How a run in a child fails where it is the process that ended, not onnxruntime that refused."""

from __future__ import annotations


class CrashError(Exception):
    """The child that ran it ended; ``words`` (``SIGFPE``) say how. ``alone``: it ran nothing
    else, so this run is the cause. ``killed``: somebody ended it from outside, so no run is."""

    def __init__(self, words: str, alone: bool, killed: bool = False) -> None:
        super().__init__(f"the model's process ended while it ran this request ({words})")
        self.words = words
        self.alone = alone
        self.killed = killed


class NotRunningError(Exception):
    """There is no child just now; nothing was run."""
