"""What a load does that costs: counted, for no machine is as quiet as that. Whoever has many small
models pays for each of these as often."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from serving import machine
from serving.cancellation import Cancellation
from serving.execution import private_copy
from serving.execution.isolation.framing import Message
from serving.execution.isolation.parent.process import Child
from serving.loading import warmup
from serving.loading.loaded import LoadedSlot
from serving.loading.loader import Loader
from serving.loading.trial import child
from serving.loading.trial.findings import Findings
from serving.loading.trial.trial import Job, Trial, _load, _settings
from serving.model_config.schema import ModelConfig
from serving.settings import Settings, load_settings
from serving.state_dir import StateDir
from tests.unit import graphs


@pytest.fixture
def settings() -> Settings:
    return load_settings({"threads.intra_op": 2}, environ={})[0]


def _loaded(loader: Loader, settings: Settings, folder: Path) -> LoadedSlot:
    config = ModelConfig()
    return loader(
        name="m", version=1, path=folder, config=config, settings=settings, fingerprint="f"
    )


def _count(counted: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Files opened by their names, threads started, waits for the disk."""
    opened, started, synced = os.open, threading.Thread.start, os.fsync

    def open_(path: Any, *more: Any, **named: Any) -> int:
        counted[Path(path).name] += 1
        return opened(path, *more, **named)

    def start(self: threading.Thread) -> None:
        counted["threads"] += 1
        started(self)

    def fsync(file: int) -> None:
        counted["fsync"] += 1
        synced(file)

    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(threading.Thread, "start", start)
    monkeypatch.setattr(os, "fsync", fsync)


def test_a_load_whose_findings_are_known_reads_its_file_twice_and_writes_nothing(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for what must be known before, once for the session."""
    folder = graphs.write(tmp_path, graphs.softmax(), "m")
    loader = Loader(settings, StateDir(tmp_path / "state"))
    slots = [_loaded(loader, settings, folder)]  # with its trial
    counted = Counter[str]()
    try:
        with monkeypatch.context() as counting:
            _count(counted, counting)
            slots.append(_loaded(loader, settings, folder))
    finally:
        for slot in slots:
            slot.close(10)
        loader.close()
    assert counted["model.onnx"] == 2
    assert counted["fsync"] == 0
    # One of low priority that warms it, and its instance.
    assert counted["threads"] <= 2


def test_what_the_system_grants_is_asked_for_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, now = list[str](), [5.0]
    monkeypatch.setattr(machine, "cpu_quota", lambda: asked.append("quota"))
    monkeypatch.setattr(machine, "memory_limit", lambda: asked.append("memory"))
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    machine._limits_in.cache_clear()
    for _ in range(20):
        machine.usable_threads()
        machine.usable_memory()
    assert asked == ["quota", "memory"]
    now[0] = 6.0
    machine.usable_memory()
    assert len(asked) == 4
    machine._limits_in.cache_clear()


def test_a_trial_of_a_model_without_external_data_looks_at_no_maps(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are as long as all that its process has mapped, and a trial measures a dozen times."""

    class Refusing:
        def read_bytes(self) -> bytes:
            raise AssertionError("the maps were read")

    folder = graphs.write(tmp_path, graphs.softmax(), "m")
    monkeypatch.setattr(private_copy, "_MAPS", Refusing())
    monkeypatch.setattr(private_copy, "_MADE", threading.Event())
    monkeypatch.setattr(child, "limit_memory", lambda bytes_: None)
    size = settings.models_bytes
    job = Job("m", 1, folder, folder.parent, ModelConfig(), settings, (), 1000, size)
    answers = _in_a_host(job)
    assert answers["load"] == {"samples": False}
    assert answers["rehearse"]["dropped"]


def _in_a_host(job: Job) -> dict[str, Message]:
    """The answers of a trial's child, in this process."""
    host = child.Host()
    steps: dict[str, Message] = {
        "ready": {"settings": _settings(job)},
        "load": _load(job),
        "samples": {},
        "rehearse": {},
        "drop": {},
    }
    answers = {stage: host.handle({"do": stage, **said}, []) for stage, said in steps.items()}
    assert not any("refused" in answer for answer in answers.values())
    assert "findings" in answers["rehearse"]
    return answers


def test_a_trial_looks_at_its_process_threads_twice_and_at_no_long_account_of_its_memory(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel writes such an account anew for each who reads it."""
    folder = graphs.write(tmp_path, graphs.softmax(), "m")
    looks, look, size = list[str](), warmup._others, settings.models_bytes

    def counted() -> Mapping[str, bytes]:
        looks.append("threads")
        return look() or {}  # this process may not be at rest

    monkeypatch.setattr(warmup, "_others", counted)
    monkeypatch.setattr(child, "limit_memory", lambda bytes_: looks.append("memory"))
    _in_a_host(Job("m", 1, folder, folder.parent, ModelConfig(), settings, (), 1000, size))
    assert (looks.count("threads"), looks.count("memory")) == (2, 1)


def test_a_load_without_a_trial_looks_at_no_threads_of_the_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are as many as all its models have, and those that serve are at work."""

    def refusing() -> Mapping[str, bytes]:
        raise AssertionError("threads were looked at")

    monkeypatch.setattr(warmup, "_others", refusing)
    settings = load_settings({"loading.trial": "off"}, None, {})[0]
    slot = _loaded(Loader(settings), settings, graphs.write(tmp_path, graphs.softmax(), "m"))
    assert slot.verdict.batched
    slot.close(10)


def test_a_trial_costs_two_questions_and_no_thread(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, threads, ask = list[str](), Counter[str](), Child.ask

    def noting(self: Child, message: Message, *more: Any, **named: Any) -> Message:
        asked.append(message["do"])
        return ask(self, message, *more, **named)

    size, trial = settings.models_bytes, Trial()
    folders = [graphs.write(tmp_path, graphs.softmax(), name) for name in ("a", "b")]
    jobs = [
        Job(f.parent.name, 1, f, f.parent, ModelConfig(), settings, (), 1000, size) for f in folders
    ]
    try:
        trial.run(jobs[0], Cancellation())  # its child starts
        monkeypatch.setattr(Child, "ask", noting)
        _count(threads, monkeypatch)
        assert isinstance(trial.run(jobs[1], Cancellation()), Findings)
    finally:
        trial.close()
    assert asked == ["load", "rehearse"]
    assert threads["threads"] == 0
