"""Environments of their own, made once in ``.cache/``, for packages that don't live with ours."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests import real_models


def interpreter(
    requirement: str, install_timeout_s: float, needs: Sequence[str] | None = None
) -> Path:
    """Of the environment that holds ``requirement`` (``name==version``) and what it needs: what
    its metadata says, or ``needs`` instead.

    Skips the test, loudly, only when the package index is out of reach; with ``CI=true`` that
    is a failure.
    """
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    folder = real_models.CACHE / f"{requirement.replace('==', '-')}-{tag}"
    found = folder / "bin" / "python"
    whole = folder / "whole"
    with _one_process_at_a_time(folder.with_name(f"{folder.name}.lock")):
        if not whole.exists():
            _make(folder, found, requirement, needs, install_timeout_s)
            whole.touch()
    return found


def variables() -> dict[str, str]:
    """This process's, for programs of such an environment: without those that would let ours shine
    through."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    return {key: value for key, value in os.environ.items() if key not in hidden}


@contextmanager
def _one_process_at_a_time(lock: Path) -> Iterator[None]:
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _make(
    folder: Path, found: Path, requirement: str, needs: Sequence[str] | None, timeout_s: float
) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    command = [str(found), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    steps = [[requirement]] if needs is None else [[*needs], ["--no-deps", requirement]]
    for step in steps:
        done = subprocess.run(
            [*command, *step], capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if done.returncode:
            real_models.unreachable(requirement, done.stderr)
