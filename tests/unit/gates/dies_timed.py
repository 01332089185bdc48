"""A child of the gates in which version 3 ends the process while it is timed, and never before;
run as ``serving.gates.child`` is."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from serving.execution import runtime
from serving.execution.isolation.child.serve import serve
from serving.execution.isolation.framing import Message
from serving.gates.child import Host


class _Dies:
    def run(self, feeds: object) -> object:
        os.kill(os.getpid(), signal.SIGFPE)
        return feeds


class DyingHost(Host):
    def _load(self, message: Message, fds: list[int]) -> Message:
        if "3" in Path(message["path"]).parts:
            self._dies = message["which"]
        return super()._load(message, fds)

    def _time(self, message: Message, fds: list[int]) -> Message:
        self._versions[self._dies] = _Dies()  # type: ignore[assignment]  # what stands in
        return super()._time(message, fds)


def main() -> None:
    """Never returns."""
    runtime.ort()
    serve(DyingHost().handle)
