"""An environment that holds TensorFlow Serving's own generated stubs, made once in ``.cache/``.

Their package asks for all of TensorFlow, of which it needs only messages: another package has
those, as old as they are, but for one file, which ``tfs_calls.py`` makes up for.
"""

from __future__ import annotations

from pathlib import Path

from tests.clients import environments

REQUIREMENT = "tensorflow-serving-api==2.21.0"
NEEDS = ("tensorflow-protobuf==2.11.0", "grpcio", "protobuf>=6.31.1,<8", "numpy")


def python() -> Path:
    """The environment's interpreter; skips the test, loudly, only when the package index is
    out of reach (with ``CI=true`` that is a failure)."""
    return environments.interpreter(REQUIREMENT, 300, NEEDS)
