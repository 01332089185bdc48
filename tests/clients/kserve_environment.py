"""An environment that holds KServe's Python client and what it needs, made once in ``.cache/``.

The client comes with KServe's whole server framework (some 450 MB with its dependencies, two
minutes to install), and with versions of grpcio and psutil that are not the tests' own.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests import real_models

REQUIREMENT = "kserve==0.21.0"
# Its own metadata says so.
BELOW = (3, 14)


def python() -> Path:
    """The environment's interpreter; skips the test, loudly, only when the package index is
    out of reach (with ``CI=true`` that is a failure) or there is no KServe for this Python."""
    if sys.version_info >= BELOW:
        pytest.skip(f"{REQUIREMENT} has no release for Python {sys.version_info.minor}")
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    folder = real_models.CACHE / f"{REQUIREMENT.replace('==', '-')}-{tag}"
    interpreter = folder / "bin" / "python"
    whole = folder / "whole"
    if not whole.exists():
        _make(folder, interpreter)
        whole.touch()
    return interpreter


def _make(folder: Path, interpreter: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    command = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, REQUIREMENT], capture_output=True, text=True, timeout=840, check=False
    )
    if done.returncode:
        real_models.unreachable(REQUIREMENT, done.stderr)
