"""The wheel and an environment that holds only it, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.package import wheels


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheels.build(tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prefix of an environment with the wheel and onnxruntime."""
    return wheels.install(wheel, tmp_path_factory.mktemp("installed") / "serving")
