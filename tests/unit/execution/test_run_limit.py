"""Runs in process are ended at their limit, and no other run is ended with them."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.execution import run_limit
from serving.execution.run_limit import RunLimit, RunLimitError, RunStoppedError
from serving.execution.session import Runner, load_runner
from serving.model_config.schema import ModelConfig
from serving.settings import load_settings
from tests import crash_models
from tests.clients.gateway import wait_until
from tests.small_models import write

ENDLESS = {"X": np.array([[-1]], np.float32)}
FINE = {"X": np.array([[4]], np.float32)}


def load(folder: Path, own: float | None, server: float) -> Runner:
    settings, _ = load_settings({"limits.run_timeout_s": server}, environ={})
    place = write(folder, "endless", crash_models.endless())
    return load_runner(place, ModelConfig(run_timeout_s=own), settings)


@pytest.mark.parametrize(("own", "server", "limit"), [(0.3, 300.0, 0.3), (None, 0.4, 0.4)])
def test_fault_23_an_endless_loop_ends_at_the_models_limit_else_the_servers(
    tmp_path: Path, own: float | None, server: float, limit: float
) -> None:
    runner = load(tmp_path, own, server)
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(RunLimitError, match=f"limit of {limit} s"):
            runner.run(["Y"], ENDLESS)
        assert limit <= time.monotonic() - began < limit + 1
        answer = runner.run(["Y"], FINE)[0]
        assert isinstance(answer, np.ndarray)
        assert answer.tolist() == [[4]]


def test_an_endless_run_of_one_thread_costs_no_other_thread_a_run(tmp_path: Path) -> None:
    runner = load(tmp_path, 0.5, 0)
    failures: list[BaseException] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                runner.run(["Y"], FINE)
            except RunLimitError as error:
                failures.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    with pytest.raises(RunLimitError):
        runner.run(["Y"], ENDLESS)
    stop.set()
    thread.join(10)
    assert failures == []


@pytest.mark.parametrize(("own", "server"), [(0.0, 5.0), (None, 0.0)])
def test_a_limit_of_0_is_none(tmp_path: Path, own: float | None, server: float) -> None:
    assert load(tmp_path, own, server)._run_limit.limit == math.inf


class Options:
    """Stands in for onnxruntime's, whose flag the watching thread sets."""

    terminate = False


def test_a_flag_that_comes_too_late_for_one_run_does_not_end_the_next() -> None:
    made: list[Options] = []

    def make() -> Options:
        made.append(Options())
        return made[-1]

    def run(names: Any, feeds: Callable[[Options], int], options: Options) -> int:
        if options.terminate:
            raise RuntimeError("terminated")
        return feeds(options)

    def too_late(options: Options) -> int:
        options.terminate = True
        return 1

    limited = RunLimit(50.0, make).bound(run)
    assert limited([], too_late) == 1
    assert limited([], lambda options: 2) == 2
    assert len(made) == 2


def test_fault_106_a_run_without_a_limit_ends_when_told_to_and_no_other_does(
    tmp_path: Path,
) -> None:
    runner = load(tmp_path, None, 0)
    stop = threading.Event()
    fine: list[object] = []

    def ask() -> None:
        while not stop.is_set():
            fine.append(runner.run(["Y"], FINE))

    def end() -> None:
        while not stop.is_set():
            runner.stop(endless)
            time.sleep(0.01)

    endless = threading.get_ident()
    threads = [threading.Thread(target=work) for work in (ask, end)]
    for thread in threads:
        thread.start()
    with pytest.raises(RunStoppedError):
        runner.run(["Y"], ENDLESS)
    stop.set()
    for thread in threads:
        thread.join(10)
    answer = runner.run(["Y"], FINE)[0]
    assert isinstance(answer, np.ndarray)
    assert answer.tolist() == [[4]]
    assert fine


def test_a_word_to_stop_that_comes_between_two_runs_ends_neither() -> None:
    limit = RunLimit(50.0, Options)
    limited = limit.bound(lambda names, feeds, options: feeds(options))
    assert limited([], lambda options: 1) == 1
    limit.stop(threading.get_ident())
    assert limited([], lambda options: options.terminate) is False


def test_errors_of_the_model_are_its_own(tmp_path: Path) -> None:
    def run(names: Any, feeds: Any, options: Options) -> int:
        raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        RunLimit(50.0, Options).bound(run)([], {})


def test_the_watch_looks_anew_for_a_shorter_limit_and_for_no_other() -> None:
    """A thousand models come with a slot each: a look at all for each of them were a million."""
    looks: list[int] = []

    class Watched(run_limit.Watchdog):
        def _look(self) -> float:
            looks.append(len(self._slots))
            return super()._look()

    watch = Watched()
    slots = [run_limit._Slot(300.0, None) for _ in range(50)]
    for slot in slots:
        watch.add(slot)
        wait_until(lambda: bool(looks), 10, "the watch has begun")
    shorter = run_limit._Slot(200.0, None)
    watch.add(shorter)
    wait_until(lambda: looks[-1] == len(slots) + 1, 10, "it has looked anew")
    assert looks == [1, len(slots) + 1]
