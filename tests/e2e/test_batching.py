"""Batches hold what single runs hold: rows, order, neighbours unharmed."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tests.clients import oip
from tests.clients.busy import TRIES
from tests.clients.gateway import Gateway, wait_until
from tests.clients.triton import channel, stub
from tests.small_models import TABLE, tiny_expected


def _together(gateway: Gateway, requests: list, timeout: float = 30) -> list:
    with channel(gateway) as one:
        infer = stub(one).ModelInfer
        futures = [infer.future(request, timeout=timeout) for request in requests]
        return [future.exception() or future.result() for future in futures]


def _runs(gateway: Gateway, model: str) -> Counter[int]:
    """By how many rows they had."""
    stats = gateway.stats(model)["batch_stats"]
    return Counter({one["batch_size"]: one["compute_infer"]["count"] for one in stats})


def _most_rows(gateway: Gateway, model: str, before: Counter[int]) -> int:
    """Of the runs since then, for other tests ask the same gateway."""
    return max(_runs(gateway, model) - before, default=0)


def test_batched_answers_equal_single_ones_and_rows_keep_their_order(gateway: Gateway) -> None:
    random = np.random.default_rng(3)
    inputs = [random.random((1 + i % 5, 4), np.float32) * (i % 9) for i in range(400)]
    before = gateway.stats("tiny")
    answers = _together(gateway, [oip.grpc_request("tiny", {"x": x}) for x in inputs])
    for x, answer in zip(inputs, answers, strict=True):
        np.testing.assert_allclose(oip.grpc_arrays(answer)["y"], tiny_expected(x), rtol=1e-4)
    after = gateway.stats("tiny")
    runs = after["execution_count"] - before["execution_count"]
    assert runs < 400, "nothing was batched"
    assert after["inference_count"] - before["inference_count"] == sum(len(x) for x in inputs)


def test_no_batch_has_more_rows_than_the_maximum_and_large_requests_are_split(
    gateway: Gateway,
) -> None:
    x = np.random.default_rng(4).random((1000, 4), np.float32)
    before = _runs(gateway, "tiny")
    (answer,) = _together(gateway, [oip.grpc_request("tiny", {"x": x})])
    np.testing.assert_allclose(oip.grpc_arrays(answer)["y"], tiny_expected(x), rtol=1e-4)
    assert 0 < _most_rows(gateway, "tiny", before) <= 64


def test_rows_along_time_are_never_put_together(gateway: Gateway) -> None:
    """Fact C4: axis 0 that is time must not become a batch."""
    inputs = [np.full((3, 2), i, np.float32) for i in range(100)]
    answers = _together(gateway, [oip.grpc_request("cumulative", {"X": x}) for x in inputs])
    for x, answer in zip(inputs, answers, strict=True):
        np.testing.assert_array_equal(oip.grpc_arrays(answer)["Y"], np.cumsum(x, axis=0))


def test_inner_shapes_are_kept_apart(gateway: Gateway) -> None:
    inputs = [np.full((2, 1 + i % 4), i, np.float32) for i in range(100)]
    answers = _together(gateway, [oip.grpc_request("pooled", {"X": x}) for x in inputs])
    for x, answer in zip(inputs, answers, strict=True):
        np.testing.assert_allclose(oip.grpc_arrays(answer)["Y"], x.sum(1, keepdims=True))


def test_the_guilty_request_fails_alone(gateway: Gateway) -> None:
    """Fault 21's promise where the fault is the data's: neighbours get their answers."""
    index = [99 if i % 7 == 3 else i % 10 for i in range(120)]
    before = _runs(gateway, "gather")
    answers = _together(
        gateway, [oip.grpc_request("gather", {"I": np.array([i, i % 10])}) for i in index]
    )
    for i, answer in zip(index, answers, strict=True):
        if i == 99:
            assert answer.code().name == "INVALID_ARGUMENT", answer
        else:
            np.testing.assert_array_equal(oip.grpc_arrays(answer)["Y"], TABLE[[i, i]])
    assert 0 < _most_rows(gateway, "gather", before) <= 8


def test_outputs_asked_for_differ_within_a_batch(gateway: Gateway) -> None:
    ones = np.ones((1, 4), np.int32)
    wanted = [["OUTPUT0"], ["OUTPUT1"], []]
    requests = [
        oip.grpc_request("add_sub", {"INPUT0": ones * i, "INPUT1": ones}, outputs=wanted[i % 3])
        for i in range(90)
    ]
    for i, answer in enumerate(_together(gateway, requests)):
        found = oip.grpc_arrays(answer)
        assert list(found) == (wanted[i % 3] or ["OUTPUT0", "OUTPUT1"])
        if "OUTPUT0" in found:
            np.testing.assert_array_equal(found["OUTPUT0"], ones * (i + 1))
        if "OUTPUT1" in found:
            np.testing.assert_array_equal(found["OUTPUT1"], ones * (i - 1))


def test_both_doors_share_one_queue(gateway: Gateway) -> None:
    stop = threading.Event()

    def http(i: int) -> None:
        x = np.full((1, 4), i, np.float32)
        while not stop.is_set():
            answer = gateway.infer("tiny", {"inputs": [oip.json_input("x", x)]})
            np.testing.assert_allclose(
                oip.json_arrays(answer.json())["y"], tiny_expected(x), rtol=1e-4
            )

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(http, i) for i in range(4)]
        x = np.array([[9, 8, 7, 6]], np.float32)
        for _ in range(5):
            for answer in _together(gateway, [oip.grpc_request("tiny", {"x": x})] * 50):
                np.testing.assert_allclose(
                    oip.grpc_arrays(answer)["y"], tiny_expected(x), rtol=1e-4
                )
        stop.set()
        for one in running:
            one.result()


NAMES = ["first", *(f"low{i}" for i in range(6)), "high"]


def _finished_in_order(gateway: Gateway, x: np.ndarray) -> tuple[int, list[str]]:
    """How many had finished when all were sent, and all in the order in which they did."""
    finished: list[str] = []
    with channel(gateway) as one:
        futures = []
        for name in NAMES:
            priority = 1 if name == "high" else 2
            request = oip.grpc_request("slow", {"X": x}, parameters={"priority": priority})
            future = stub(one).ModelInfer.future(request, timeout=30)
            future.add_done_callback(lambda _, name=name: finished.append(name))
            futures.append(future)
        before = len(finished)
        for future in futures:
            future.result()
        wait_until(lambda: len(finished) == len(NAMES), 10, "all have told")
    return before, finished


def test_priorities_pass_the_line(start_gateway, repository) -> None:
    """With levels configured, level 1 overtakes what waits at level 2."""
    from tests.small_models import slow, write

    config = (
        "max_batch_size: 1\ndynamic_batching { priority_levels: 2 default_priority_level: 2 }\n"
    )
    write(repository, "slow", slow(0.15), config=config)
    gateway = start_gateway(repository)
    x = np.zeros((1, 1), np.float32)
    before, finished = len(NAMES), [""]
    # On a slow machine most are over before the last is sent: then it has nobody to pass.
    for _ in range(TRIES):
        before, finished = _finished_in_order(gateway, x)
        if before < 3:
            break
    assert finished.index("high") <= before + 3 < len(NAMES) - 1, finished
    with channel(gateway) as one:
        request = oip.grpc_request("slow", {"X": x}, parameters={"priority": "urgent"})
        answer = stub(one).ModelInfer.future(request, timeout=10).exception()
        assert answer.code().name == "INVALID_ARGUMENT"


def test_a_delay_gathers_what_comes_a_little_later(start_gateway, repository) -> None:
    from tests.small_models import tiny, write

    config = "max_batch_size: 2\ndynamic_batching { max_queue_delay_microseconds: 2000000 }\n"
    write(repository, "tiny", tiny(), config=config)
    gateway = start_gateway(repository)
    request = oip.grpc_request("tiny", {"x": np.ones((1, 4), np.float32)})
    with channel(gateway) as one:
        infer = stub(one).ModelInfer
        first = infer.future(request, timeout=10)
        time.sleep(0.2)
        assert not first.done()
        infer(request, timeout=10)
        first.result()
    assert gateway.stats("tiny")["execution_count"] == 1


def test_inputs_with_first_dimensions_of_their_own_are_answered_by_both_doors(
    gateway: Gateway,
) -> None:
    """What onnxruntime answers alone is not refused because the version is batched."""
    x, z = np.ones((1, 4), np.int32), np.arange(12, dtype=np.int32).reshape(3, 4)
    body = {"inputs": [oip.json_input("INPUT0", x), oip.json_input("INPUT1", z)]}
    same = {"INPUT0": z, "INPUT1": z}
    requests = [oip.grpc_request("add_sub", {"INPUT0": x, "INPUT1": z}) for _ in range(20)]
    requests += [oip.grpc_request("add_sub", same) for _ in range(20)]
    answers = _together(gateway, requests)
    for answer in answers[:20]:
        np.testing.assert_array_equal(oip.grpc_arrays(answer)["OUTPUT0"], x + z)
    for answer in answers[20:]:
        np.testing.assert_array_equal(oip.grpc_arrays(answer)["OUTPUT0"], z + z)
    answer = gateway.infer("add_sub", body)
    assert answer.status == 200
    np.testing.assert_array_equal(oip.json_arrays(answer.json())["OUTPUT1"], x - z)
