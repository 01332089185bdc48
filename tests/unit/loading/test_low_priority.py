"""Loads give way to what serves: which threads have a low priority, and which must not."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from serving.execution import run_limit
from serving.loading import loader as loader_module
from serving.loading.loader import Loader
from serving.loading.low_priority import NICENESS, run_low_priority
from serving.model_config.schema import ModelConfig
from serving.registry.manifest import MANIFEST_NAME, FileEntry, Manifest
from serving.settings import Settings, load_settings
from tests.clients.gateway import wait_until
from tests.unit import graphs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="niceness is a thread's on Linux")


def settings_of(**chosen: Any) -> Settings:
    given = {"http_port": 0, "grpc_port": 0, "loading.trial": "off", **chosen}
    return load_settings(given, None, {})[0]


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def low(base: int) -> int:
    return min(19, base + NICENESS)


def nicenesses() -> dict[int, int]:
    """Of all threads of this process."""
    found = {}
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # it has just ended
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            found[int(task.name)] = int(fields[16])
    return found


def started(before: dict[int, int]) -> list[int]:
    """The niceness of the threads that were not there before. One that has ended is seen for
    a moment longer."""
    return [nice for tid, nice in nicenesses().items() if tid not in before]


def test_work_at_low_priority_has_a_low_priority_and_its_caller_keeps_its_own() -> None:
    before = niceness()
    assert run_low_priority(niceness) == low(before)
    assert niceness() == before


def test_what_work_at_low_priority_raises_is_raised_here() -> None:
    def fail() -> None:
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        run_low_priority(fail)


def seen_by(monkeypatch: pytest.MonkeyPatch, name: str) -> list[int]:
    """The niceness with which the loader calls ``name``."""
    seen: list[int] = []
    inner: Callable[..., Any] = getattr(loader_module, name)

    def spy(*arguments: Any, **keywords: Any) -> Any:
        seen.append(niceness())
        return inner(*arguments, **keywords)

    monkeypatch.setattr(loader_module, name, spy)
    return seen


def _entry(place: Path) -> FileEntry:
    content = (place / "model.onnx").read_bytes()
    return FileEntry(len(content), hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize(
    ("chosen", "config", "opening", "warming"),
    [
        ({"threads.intra_op": 1}, ModelConfig(), True, True),
        # Threads that the session makes would stay slow.
        ({"threads.intra_op": 2}, ModelConfig(), False, True),
        ({"threads.intra_op": 1, "threads.inter_op": 2}, ModelConfig(), False, True),
        ({"threads.intra_op": 1}, ModelConfig(isolation="process"), False, False),
        ({"threads.intra_op": 1}, ModelConfig(providers_prefer=("cuda",)), False, False),
    ],
)
def test_what_serves_later_never_has_a_low_priority(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    chosen: dict[str, Any],
    config: ModelConfig,
    opening: bool,
    warming: bool,
) -> None:
    settings = settings_of(**chosen)
    opener = "load_isolated_runner" if config.isolation == "process" else "load_runner"
    opened, warmed = seen_by(monkeypatch, opener), seen_by(monkeypatch, "rehearse")
    verified = seen_by(monkeypatch, "_verified")
    # As in a new process: the watch of run limits has not been started yet.
    monkeypatch.setattr(run_limit, "_watchdog", run_limit.Watchdog())
    before = nicenesses()
    place = graphs.write(tmp_path, graphs.softmax())
    manifest = Manifest("m", 1, "2026-01-01T00:00:00Z", {"model.onnx": _entry(place)})
    (place / MANIFEST_NAME).write_text(manifest.to_json())
    loader = Loader(settings)
    slot = loader(name="m", version=1, path=place, config=config, settings=settings)
    try:
        base = niceness()
        assert verified == [low(base)]
        expected = [[low(base) if is_low else base] for is_low in (opening, warming)]
        assert [opened, warmed] == expected
        wait_until(lambda: set(started(before)) == {base}, 5, "what is left has our priority")
    finally:
        slot.close(10)
        loader.close()
