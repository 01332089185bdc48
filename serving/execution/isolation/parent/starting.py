"""How a child's process comes to be: forked from a template where there is one, else spawned."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

from serving.events import log
from serving.execution.isolation import framing
from serving.execution.isolation.parent.spawned import spawned
from serving.execution.isolation.parent.template import Template
from serving.execution.isolation.parent.template_process import NoTemplateError, adopt_orphans

# What ``parent.runner.Hosted`` runs; other rooms name theirs.
HOST = "serving.execution.isolation.child.main"


class Process(Protocol):
    """Of ``subprocess.Popen`` what a child of ours needs."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def kill(self) -> None: ...


_POSSIBLE = sys.platform == "linux" and hasattr(os, "pidfd_open") and hasattr(os, "eventfd")

_template: Template | None = None


def use_template(modules: Sequence[str]) -> Callable[[], None]:
    """From now on children are forked that run one of these ``modules`` or ``HOST``, where the
    system lets a process have other processes' orphans; what is returned ends that.

    For a process that is a whole server: orphans of all that it ever started become its own.
    """
    global _template  # noqa: PLW0603 - one for the process, as orphans are the process's
    if not _POSSIBLE:
        return lambda: None
    template = _template = Template((HOST, *modules))

    def close() -> None:
        global _template  # noqa: PLW0603 - as above
        last = _template is template
        if last:
            _template = None
        template.close()
        if last:
            with contextlib.suppress(OSError):  # it has none
                adopt_orphans(False)

    return close


def prepare() -> bool:
    """A child may be wanted soon. Whether there is a template, which will be there then."""
    template = _template
    if template is not None:
        template.prepare()
    return template is not None


class Hold:
    """As long as this is not closed a child may be wanted at any moment."""

    def __init__(self) -> None:
        self._template = _template
        if self._template is not None:
            self._template.hold()

    def close(self) -> None:
        template, self._template = self._template, None
        if template is not None:
            template.release()


def started(module: str, name: str) -> tuple[Process, socket.socket]:
    """``python -m <module> <fd> <our pid> <name>``, and our end of the socket that is its ``fd``.
    Raises OSError."""
    template = _template
    if template is not None:
        try:
            return _with_channel(lambda fd: template.fork(module, fd, name))
        except NoTemplateError as error:
            log.debug("child_not_forked", name=name, reason=str(error))

    def spawn(fd: int) -> Process:
        return spawned([module, str(fd), str(os.getpid()), name], fd)

    return _with_channel(spawn)


def _with_channel(start: Callable[[int], Process]) -> tuple[Process, socket.socket]:
    ours, theirs = framing.socket_pair()
    try:
        with theirs:
            return start(theirs.fileno()), ours
    except BaseException:
        ours.close()
        raise
