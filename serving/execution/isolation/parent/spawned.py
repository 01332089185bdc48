"""A Python of its own for a module of ours: ``python -m``, with its own session."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import serving
from serving.execution.isolation.child.serve import SIGNALS
from serving.execution.isolation.spawning import in_lasting_thread

_STDERR = 2
_NOTHING: Mapping[str, str] = {}


def spawned(
    arguments: Sequence[str], fd: int, environment: Mapping[str, str] = _NOTHING
) -> subprocess.Popen[bytes]:
    """``python -m`` with these ``arguments``, which inherits ``fd`` and our stderr, for both of its
    outputs. ``environment``: beside ours. Raises OSError."""
    return in_lasting_thread(partial(_spawn, arguments, fd, environment))


def _spawn(
    arguments: Sequence[str], fd: int, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    # Blocked signals stay so across the exec: none can end it before it ignores them.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        return subprocess.Popen(
            # -P: a file beside which the server happens to run is not a module.
            [sys.executable, "-P", "-m", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=_output(),
            stderr=_output(),
            pass_fds=(fd,),
            start_new_session=True,
            env={**_environment(), **environment},
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _output() -> int:
    """Our stderr, if we were started with one: without, the number may be somebody's file."""
    if sys.__stderr__ is None:
        return subprocess.DEVNULL
    try:
        os.fstat(_STDERR)
    except OSError:
        return subprocess.DEVNULL
    return _STDERR


def _environment() -> dict[str, str]:
    environment = dict(os.environ)
    environment.setdefault("ORT_DISABLE_TELEMETRY", "1")
    home = str(Path(serving.__file__).parent.parent)
    if home not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        before = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join([home, before] if before else [home])
    return environment
