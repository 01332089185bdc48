"""An environment that holds TFX's own messages (``tensorflow-metadata``), made once in
``.cache/``."""

from __future__ import annotations

from pathlib import Path

from tests.clients import environments

REQUIREMENT = "tensorflow-metadata==1.21.0"


def python() -> Path:
    """The environment's interpreter; skips the test, loudly, only when the package index is
    out of reach (with ``CI=true`` that is a failure)."""
    return environments.interpreter(REQUIREMENT, 300)
