"""What runs whole, by the real core and the threads that serve it: the model is a function, so
that nothing but the queue decides who shares a run."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import grpc
import numpy as np
import pytest

from serving import _core
from serving.cancellation import Cancellation
from serving.errors import ErrorCode
from serving.execution.faults import Fault, FaultError
from serving.execution.instances import Instances
from serving.settings import load_settings
from tests.clients import oip
from tests.clients.gateway import wait_until
from tests.clients.triton import refusal, stub

SETTINGS, _ = load_settings({"http_port": 0, "grpc_port": 0}, None, {})
Array = np.ndarray[Any, Any]
Model = Callable[[dict[str, Array]], Array]


class Function:
    packing = None

    def __init__(self, model: Model) -> None:
        self.rows: list[int] = []
        self._model = model

    def run(self, names: Sequence[str], feeds: dict[str, Array], requests: int = 0) -> list[Array]:
        del names, requests
        self.rows.append(max(len(array) for array in feeds.values()) if feeds else 0)
        return [self._model(feeds)]

    run_alone = run

    def wait_ready(self, timeout: float | None = None, ending: Cancellation | None = None) -> bool:
        del timeout, ending
        return True


class World:
    """A server whose model ``m`` is a function of the inputs ``x`` [-1, -1] and ``z``, which may
    be left out."""

    def __init__(self, model: Model, **options: Any) -> None:
        spec = _core.TensorSpec
        self.queue = _core.Queue(
            model="m",
            version=1,
            inputs=[spec("x", "INT64", [-1, -1]), spec("z", "INT64", [-1, 1], True)],
            outputs=[spec("y", "INT64", [-1, -1])],
            **options,
        )
        self.runner = Function(model)
        self.events: list[str] = []
        self.server = _core.Server(SETTINGS.core())
        self.server.publish([_core.Route("m", {1: self.queue}, 1)])
        self.server.start()
        self.server.set_ready(True)
        self.instances = Instances(
            self.queue, self.runner, 1, "m:1", lambda event, facts: self.events.append(event)
        )

    def ask(self, *, x: Array, z: Array | None = None) -> tuple[int, Any]:
        """The status, and the output or what went wrong."""
        inputs = [
            {"name": name, "datatype": "INT64", "shape": a.shape, "data": a.ravel().tolist()}
            for name, a in (("x", x), ("z", z))
            if a is not None
        ]
        host, port = self.server.http_address
        request = urllib.request.Request(
            f"http://{host}:{port}/v2/models/m/infer", json.dumps({"inputs": inputs}).encode()
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                (y,) = json.load(answer)["outputs"]
                return 200, np.array(y["data"]).reshape(y["shape"]).tolist()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)["error"]

    def together(self, requests: Sequence[dict[str, Array]]) -> list[tuple[int, Any]]:
        with ThreadPoolExecutor(len(requests)) as pool:
            return [f.result() for f in [pool.submit(self.ask, **one) for one in requests]]

    def close(self) -> None:
        self.queue.close()
        self.instances.join(10)
        self.server.stop()


@pytest.fixture
def serve() -> Iterator[Callable[..., World]]:
    with ExitStack() as stack:
        yield lambda model, **options: stack.enter_context(closing(World(model, **options)))


def numbers(rows: int, first: int = 0) -> Array:
    return np.arange(first, first + rows).reshape(rows, 1)


def as_wide_as_the_largest(feeds: dict[str, Array]) -> Array:
    """Row i is i, i, ...: as often as the largest number says."""
    return np.repeat(feeds["x"], int(feeds["x"].max()), axis=1)


def test_pieces_that_do_not_agree_are_answered_as_the_whole_is(serve) -> None:
    world = serve(as_wide_as_the_largest, max_rows=4)
    x = numbers(10, first=1)

    assert world.ask(x=x) == (200, as_wide_as_the_largest({"x": x}).tolist())
    assert world.runner.rows == [4, 4, 10], "the second piece has shown it"
    nothing = {"requests": 0, "rows": 0, "bytes": 0, "executing": 0}
    wait_until(lambda: world.queue.depth() == nothing, 5, "the batch is put away after its answers")


def test_a_request_that_may_not_be_cut_runs_whole_at_once(serve) -> None:
    world = serve(as_wide_as_the_largest, max_rows=4, may_cut=False)
    x = numbers(10, first=1)

    assert world.ask(x=x) == (200, as_wide_as_the_largest({"x": x}).tolist())
    assert world.runner.rows == [10]


def test_one_that_may_be_cut_and_fits_is_cut(serve) -> None:
    world = serve(lambda feeds: feeds["x"] * 2, max_rows=4)

    assert world.ask(x=numbers(10)) == (200, (numbers(10) * 2).tolist())
    assert world.runner.rows == [4, 4, 2]


def test_a_model_that_takes_only_the_whole_is_given_the_whole(serve) -> None:
    def picky(feeds: dict[str, Array]) -> Array:
        if len(feeds["x"]) != 10:
            raise RuntimeError("ten rows, please")
        return feeds["x"]

    assert serve(picky, max_rows=4).ask(x=numbers(10)) == (200, numbers(10).tolist())


def test_what_fails_in_pieces_and_whole_fails_once(serve) -> None:
    def never(feeds: dict[str, Array]) -> Array:
        raise RuntimeError("no")

    world = serve(never, max_rows=4)
    assert world.ask(x=numbers(10))[0] == 500
    assert world.runner.rows == [4, 10]


def test_rows_out_that_are_not_those_in_are_answered_alone_and_said(serve) -> None:
    """Of each request only the odd rows; all of them together have another number."""
    world = serve(
        lambda feeds: feeds["x"][feeds["x"][:, 0] % 2 == 1], max_rows=64, delay_us=300_000
    )
    answers = world.together([{"x": numbers(3, first)} for first in range(6)])

    odd = [[[n] for n in range(first, first + 3) if n % 2] for first in range(6)]
    assert answers == [(200, rows) for rows in odd]
    assert world.events == ["batch_answer_does_not_fit"]


def test_first_dimensions_of_their_own_are_answered_beside_others(serve) -> None:
    world = serve(lambda feeds: feeds["x"] + feeds["z"], max_rows=64, delay_us=100_000)
    requests = [
        {"x": numbers(1, 5), "z": numbers(3)},
        {"x": numbers(2), "z": numbers(2)},
        {"x": numbers(3), "z": numbers(1, 7)},
        {"x": numbers(2, 9), "z": numbers(2)},
    ]

    alone = [(200, (one["x"] + one["z"]).tolist()) for one in requests]
    assert world.together(requests) == alone
    assert max(world.runner.rows) == 4, "those that agree share a run"


def test_more_rows_than_the_line_holds_are_answered(serve) -> None:
    world = serve(lambda feeds: feeds["x"], max_rows=4, max_queue_rows=5)

    assert world.ask(x=numbers(7)) == (200, numbers(7).tolist())
    assert world.runner.rows == [7]


def test_what_there_was_no_room_for_may_be_tried_again_after_a_second(serve) -> None:
    def full(feeds: dict[str, Array]) -> Array:
        del feeds
        raise FaultError(Fault(ErrorCode.FULL, "no room just now", ""))

    host, port = serve(full, max_rows=4).server.grpc_address
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        error = refusal(stub(channel).ModelInfer, oip.grpc_request("m", {"x": numbers(1)}))
    assert (error.code(), error.details()) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "no room just now",
    )
    assert dict(error.trailing_metadata())["grpc-retry-pushback-ms"] == "1000"


def test_elements_of_an_output_are_called_what_its_labels_say() -> None:
    outputs = [
        _core.TensorSpec("y", "FP32", [-1, 3], labels="cat\n\nbig dog"),
        _core.TensorSpec("z", "FP32", [-1, 3]),
    ]
    queue = _core.Queue(model="m", version=1, inputs=[], outputs=outputs)
    assert queue.labels("y", [2, 0, 1, 7, 2**62]) == ["big dog", "cat", None, None, None]
    assert queue.labels("z", [0]) == queue.labels("nothing", [0]) == [None]
    with pytest.raises(OverflowError):
        queue.labels("y", [-1])
