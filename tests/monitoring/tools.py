"""Prometheus' own programs, and what deploy/monitoring writes for it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clients.gateway import ROOT

FOLDER = ROOT / "deploy" / "monitoring"


def tool(name: str) -> str:
    """The path of a program of Debian's package ``prometheus``; skips the test without it."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed (Debian's package prometheus)")
    return path


def alerts() -> list[dict[str, Any]]:
    document = yaml.safe_load((FOLDER / "alerts.yaml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def run(*command: str | Path) -> None:
    """Fails with what the command printed."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def metric_names(expression: str) -> set[str]:
    """The families that a PromQL expression asks for."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\b(by|on) \([^)]*\)", "", bare)
    return {
        re.sub(r"_(bucket|sum|count)$", "", name) if name not in _WHOLE else name
        for name in re.findall(r"\b(?:serving|process|python|nv)_\w+", bare)
    }


# Families whose own names end as a histogram's series do.
_WHOLE = {"nv_inference_count", "nv_inference_exec_count", "nv_inference_pending_request_count"}
