"""Commands as a shell runs them."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.clients.gateway import ROOT


def shell(redirections: str) -> tuple[str, ...]:
    """What stands before a command that is to run with these."""
    return ("sh", "-c", f'exec "$@" {redirections}', "sh")


def run(
    *arguments: str, streams: str = "", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """``serving`` with these arguments; ``streams``: redirections of its streams."""
    command = [*shell(streams), sys.executable, "-m", "serving", *arguments]
    given = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, env=given, capture_output=True, timeout=60, check=False)
