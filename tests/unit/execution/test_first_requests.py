"""Threads of versions that are asked: none before, at once with the first request, none lost."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection
from itertools import count, takewhile
from typing import Any

import numpy as np
import pytest

from serving import _core
from serving.cancellation import Cancellation
from serving.execution import first_requests
from serving.execution.instances import Instances
from serving.settings import Settings
from tests.clients.gateway import wait_until

SETTINGS = Settings(http_port=0, grpc_port=0, threads={"permits": 8})
BODY = {"inputs": [{"name": "x", "datatype": "INT64", "shape": [1], "data": [7]}]}


class Echo:
    """A model that answers with what it gets, as soon as it may."""

    packing = None

    def __init__(self) -> None:
        self.may = threading.Event()
        self.may.set()
        self.runs = 0

    def run(
        self, names: Sequence[str], feeds: Mapping[str, np.ndarray], requests: int = 0
    ) -> list[np.ndarray]:
        self.runs += 1
        assert self.may.wait(20)
        return [feeds["x"].copy()]

    run_alone = run

    def wait_ready(self, timeout: float | None = None, ending: Cancellation | None = None) -> bool:
        del timeout, ending
        return True

    def stop(self, thread: int, alone: bool = True) -> None:
        raise AssertionError


class World:
    """A server with models that nobody has asked."""

    def __init__(self, models: int, instances: int = 1) -> None:
        self.names = [f"m{number}" for number in range(models)]
        self.queues = {name: _queue(name) for name in self.names}
        self.runner = Echo()
        self.server = _core.Server(SETTINGS.core())
        routes = [_core.Route(name, {1: queue}, 1) for name, queue in self.queues.items()]
        self.server.publish(routes)
        self.server.start()
        self.server.set_ready(True)
        self.instances = {
            name: Instances(queue, self.runner, instances, f"{name}:1")
            for name, queue in self.queues.items()
        }

    def ask(self, model: str = "m0") -> int:
        host, port = self.server.http_address
        url = f"http://{host}:{port}/v2/models/{model}/infer"
        try:
            with urllib.request.urlopen(url, json.dumps(BODY).encode(), timeout=20) as answer:
                assert json.load(answer)["outputs"][0]["data"] == [7]
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def leave(self, model: str = "m0") -> bool:
        self.queues[model].close()
        return self.instances[model].join(10)

    def depth(self, model: str = "m0") -> int:
        return self.queues[model].depth()["requests"]

    def close(self) -> None:
        left = [self.leave(name) for name in self.names]
        assert all(left)
        self.server.stop()


def _queue(model: str) -> _core.Queue:
    spec = _core.TensorSpec
    x, y = [spec("x", "INT64", [-1])], [spec("y", "INT64", [-1])]
    return _core.Queue(model=model, version=1, inputs=x, outputs=y)


@pytest.fixture
def start() -> Iterator[Any]:
    with ExitStack() as stack:

        def started(*given: int) -> World:
            world = World(*given)
            stack.callback(world.close)
            return world

        yield started


def _running(world: World) -> list[str]:
    mine = tuple(f"run {name}:1 " for name in world.names)
    return [one.name for one in threading.enumerate() if one.name.startswith(mine)]


def test_models_that_nobody_asks_have_no_threads(start) -> None:
    before = threading.active_count()
    world = start(50, 3)
    assert _running(world) == []
    assert threading.active_count() <= before + 2, "those of the process"
    assert world.ask("m7") == 200
    # The answer may be there before the last of them.
    wait_until(lambda: len(_running(world)) == 3, 10, "all instances of the one that was asked")
    assert sorted(_running(world)) == [f"run m7:1 #{number}" for number in range(3)]
    assert world.ask("m7") == 200
    assert len(_running(world)) == 3


def test_first_requests_that_race_are_all_answered(start) -> None:
    world = start(50, 2)
    with ThreadPoolExecutor(40) as pool:
        codes = list(pool.map(world.ask, [name for name in world.names for _ in range(4)]))
    assert codes == [200] * 200
    wait_until(lambda: len(_running(world)) == 100, 20, "each model's own")


def test_what_leaves_before_anybody_asked_ends_at_once(start) -> None:
    world = start(20)
    assert all(world.leave(name) for name in world.names)
    assert _running(world) == []
    assert not any(number in first_requests._start for number in _numbers(world))


def _numbers(world: World) -> list[int]:
    return [one._number for one in world.instances.values()]


def test_a_first_request_just_before_the_close_is_answered(
    start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever starts threads has not got to it: the close does it."""
    monkeypatch.setattr(first_requests, "on_first", lambda queue, start: 0)
    world = start(1)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(world.ask)
        wait_until(lambda: world.depth() == 1, 10, "it waits")
        assert _running(world) == []
        assert world.leave()
        assert asked.result(20) == 200
    assert _running(world) == []


def test_a_close_that_gets_no_thread_says_that_something_is_left(
    start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_requests, "on_first", lambda queue, start: 0)
    world = start(1)

    def no_thread() -> None:
        raise RuntimeError("can't start new thread")

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(world.ask)
        wait_until(lambda: world.depth() == 1, 10, "it waits")
        with monkeypatch.context() as patch:
            patch.setattr(world.instances["m0"], "_start_threads", no_thread)
            assert not world.leave()
        world.queues["m0"].abort("unavailable", "it is leaving")
        assert asked.result(20) == 503


def test_a_close_while_the_first_request_runs_waits_for_it(start) -> None:
    world = start(1)
    world.runner.may.clear()
    with ThreadPoolExecutor(2) as pool:
        asked = pool.submit(world.ask)
        wait_until(lambda: world.runner.runs == 1, 10, "it runs")
        left = pool.submit(world.leave)
        assert not left.done()
        world.runner.may.set()
        assert left.result(20)
        assert asked.result(20) == 200


def test_first_requests_on_their_way_through_swaps_are_all_answered(start) -> None:
    """Each swap closes a queue that may have got its first request this very moment."""
    world = start(1)
    stop = threading.Event()
    codes: list[int] = []

    def ask() -> None:
        while not stop.is_set():
            codes.append(world.ask())

    def swaps() -> Iterator[int]:
        """A hundred, and more where the machine lets so few requests through meanwhile."""
        return takewhile(lambda swap: swap < 100 or (len(codes) <= 20 and swap < 10_000), count())

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        for _ in swaps():
            old, before = world.queues["m0"], world.instances["m0"]
            new = world.queues["m0"] = _queue("m0")
            world.instances["m0"] = Instances(new, world.runner, 2, "m0:1")
            world.server.publish([_core.Route("m0", {1: new}, 1)])
            old.close()
            assert before.join(10)
        stop.set()
        for one in asking:
            one.result(30)
    assert len(codes) > 20
    assert set(codes) == {200}


def test_a_first_caller_who_leaves_costs_the_next_nothing(start) -> None:
    world = start(1)
    world.runner.may.clear()
    host, port = world.server.http_address
    one = HTTPConnection(host, port, timeout=20)
    one.request("POST", "/v2/models/m0/infer", json.dumps(BODY))
    wait_until(lambda: len(_running(world)) == 1, 10, "its thread")
    one.close()
    world.runner.may.set()
    assert world.ask() == 200


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
def test_threads_that_can_t_be_had_are_tried_for_again(start, error: Exception) -> None:
    world = start(0)
    queue, tried = _queue("m0"), []

    def begin() -> None:
        tried.append(len(tried))
        if len(tried) == 1:
            raise error

    first_requests.on_first(queue, begin)
    world.server.publish([_core.Route("m0", {1: queue}, 1)])
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(world.ask)
        wait_until(lambda: len(tried) == 2, 10, "it is tried again")
        queue.abort("unavailable", "it was only a test")
        assert asked.result(20) == 503


def test_an_error_of_one_version_costs_no_other(start) -> None:
    def broken() -> None:
        raise ValueError("no good")

    queue = _queue("broken")
    number = first_requests.on_first(queue, broken)
    assert first_requests.start([number]) == []
    assert start(1).ask() == 200
