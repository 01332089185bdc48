"""An environment that holds Schemathesis, made once in ``.cache/``: it brings a server framework of
its own, and other versions of what tests use."""

from __future__ import annotations

from pathlib import Path

from tests.clients import environments

REQUIREMENT = "schemathesis==4.32.5"


def command() -> Path:
    """Its command; skips the test, loudly, only when the package index is out of reach (with
    ``CI=true`` that is a failure)."""
    return environments.interpreter(REQUIREMENT, 300).with_name("schemathesis")
