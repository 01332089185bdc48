"""Fixtures that start real gateways. Nothing here talks beyond the loopback interface."""

from __future__ import annotations

import gc
import os

# Before anything imports onnxruntime in the test process (fact C16).
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog

if TYPE_CHECKING:
    from tests.clients.gateway import Gateway

    StartGateway = Callable[..., Gateway]


def pytest_collection() -> None:
    """Nothing of what is made then is garbage: it isn't looked for over and over."""
    gc.disable()


def pytest_collection_finish() -> None:
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _own_state_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests load in this process writes nothing into anybody's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """A command run in this process sets the log up: for itself, not for later tests."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def _lay(folder: Path) -> Path:
    from tests import small_models

    repository = folder / "repository"
    repository.mkdir()
    small_models.lay_common(repository)
    return repository


@pytest.fixture(scope="session")
def common_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small models with one trait each (``tests/small_models.py``); not to be changed."""
    return _lay(tmp_path_factory.mktemp("common"))


@pytest.fixture(scope="session")
def gateway(common_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The gateway that most tests share, on the common repository, default limits."""
    from tests.clients.gateway import Gateway

    one = Gateway(common_repository, tmp_path_factory.mktemp("gateway"))
    try:
        yield one.wait_ready()
    finally:
        one.finish()


TIGHT = {
    "limits.max_message_bytes": str(1 << 20),
    "limits.head_timeout_s": "1",
    "limits.body_timeout_s": "1",
    "limits.idle_timeout_s": "2",
    "limits.max_streams": "32",
    "batching.max_queue_requests": "8",
    # Of ``/invocations``.
    "mlflow.default_model": "tiny",
}


@pytest.fixture(scope="session")
def tight(common_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The same repository under small limits (``TIGHT``), for hostile clients."""
    from tests.clients.gateway import Gateway

    one = Gateway(common_repository, tmp_path_factory.mktemp("tight"), settings=dict(TIGHT))
    try:
        yield one.wait_ready()
    finally:
        one.finish()


@pytest.fixture(scope="session")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One I/O thread, so three helpers: whatever holds it up holds everybody up."""
    from tests import small_models
    from tests.clients.gateway import Gateway

    folder = tmp_path_factory.mktemp("single")
    repository = folder / "repository"
    repository.mkdir()
    small_models.write(repository, "tiny", small_models.tiny())
    one = Gateway(repository, folder / "gateway", settings={"threads.io": "1"})
    try:
        yield one.wait_ready()
    finally:
        one.finish()


@pytest.fixture
def start_gateway(tmp_path: Path) -> Iterator[StartGateway]:
    """Start gateways of a test's own; each must end well, unless the test ended it."""
    from tests.clients.gateway import Gateway

    started: list[Gateway] = []

    def start(
        repository: Path,
        settings: dict[str, str] | None = None,
        *,
        wait: bool = True,
        **keywords: Any,
    ) -> Gateway:
        folder = tmp_path / f"gateway{len(started)}"
        one = Gateway(repository, folder, settings=settings or {}, **keywords)
        started.append(one)
        return one.wait_ready() if wait else one

    yield start
    running = [one for one in started if one.process.poll() is None]
    failures = []
    for one in running:
        try:
            one.finish()
        except AssertionError as failure:
            failures.append(str(failure))
    assert not failures, "\n".join(failures)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """An empty repository of a test's own."""
    folder = tmp_path / "repository"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def real_model() -> Callable[[str], Path]:
    """Name -> the file of a real model (``tests/real_models.py``)."""
    from tests import real_models

    return real_models.path
