"""Fault 98: with every observer on, at full rate, requests end as they do without: the whole
contract again, and deadlines and cancellation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.collector import HttpCollector
from tests.clients.gateway import Gateway, wait_until
from tests.conftest import TIGHT
from tests.e2e import test_deadlines
from tests.faults import test_fault_contract

# Two other files once more.
pytestmark = pytest.mark.slow

for _module in (test_fault_contract, test_deadlines):
    for _name, _test in list(vars(_module).items()):
        if _name.startswith("test_"):
            globals()[_name.replace("test_", "test_fault_98_watched_", 1)] = _test


def _watching(collector: HttpCollector, folder: Path) -> dict[str, str]:
    return {
        "tracing.endpoint": collector.endpoint,
        "tracing.rate": "1",
        "log.access_rate": "1",
        "log.level": "debug",
        "request_log.path": str(folder / "requests"),
        "request_log.rate": "1",
    }


@pytest.fixture(scope="module")
def collector() -> Iterator[HttpCollector]:
    one = HttpCollector()
    try:
        yield one
    finally:
        one.close()


def _started(
    repository: Path, folder: Path, collector: HttpCollector, settings: dict[str, str]
) -> Gateway:
    return Gateway(repository, folder, settings={**_watching(collector, folder), **settings})


@pytest.fixture(scope="module")
def gateway(
    common_repository: Path, tmp_path_factory: pytest.TempPathFactory, collector: HttpCollector
) -> Iterator[Gateway]:
    one = _started(common_repository, tmp_path_factory.mktemp("watched"), collector, {})
    try:
        yield one.wait_ready()
    finally:
        one.finish()


@pytest.fixture(scope="module")
def tight(
    common_repository: Path, tmp_path_factory: pytest.TempPathFactory, collector: HttpCollector
) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("watched-tight")
    one = _started(common_repository, folder, collector, dict(TIGHT))
    try:
        yield one.wait_ready()
    finally:
        one.finish()


@pytest.fixture
def start_gateway(start_gateway: Any, collector: HttpCollector, tmp_path: Path) -> Any:
    def start(repository: Path, settings: dict[str, str] | None = None, **keywords: Any) -> Gateway:
        chosen = {**_watching(collector, tmp_path), **(settings or {})}
        return start_gateway(repository, chosen, **keywords)

    return start


def test_fault_98_the_observers_were_watching(gateway: Gateway, collector: HttpCollector) -> None:
    """Last in the file, so that what ran before was noted: by each observer, failures too."""
    gateway.infer("nowhere", {"inputs": []})
    wait_until(
        lambda: any(s.attributes.get("error.type") == "not_found" for s in collector.spans),
        20,
        "the refusal is traced",
    )
    wait_until(
        lambda: '"event": "request"' in gateway.log() and '"code": "404"' in gateway.log(),
        20,
        "the refusal is in the access log",
    )
