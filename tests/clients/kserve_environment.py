"""An environment that holds KServe's Python client and what it needs, made once in ``.cache/``.

The client comes with KServe's whole server framework (some 450 MB with its dependencies, two
minutes to install), and with versions of grpcio and psutil that are not the tests' own.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.clients import environments

REQUIREMENT = "kserve==0.21.0"
# Its own metadata says so.
BELOW = (3, 14)


def python() -> Path:
    """The environment's interpreter; skips the test, loudly, only when the package index is
    out of reach (with ``CI=true`` that is a failure) or there is no KServe for this Python."""
    if sys.version_info >= BELOW:
        pytest.skip(f"{REQUIREMENT} has no release for Python {sys.version_info.minor}")
    return environments.interpreter(REQUIREMENT, 840)
