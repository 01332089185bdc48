"""Requests that are kept for new versions, and their way into a child."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from serving.execution.isolation.shared_memory import SharedMemory
from serving.gates.recorded import Answered, Recorded, from_memory, of_sample, to_memory
from serving.gates.replay import Replay
from serving.gates.replaying import RUNS, Clocks, Request, compared, run_all, timed
from serving.gates.verdict import Check
from serving.loading.inputs.generated import Feeds

X = np.arange(6, dtype="<f4").reshape(2, 3)
TEXTS = b"".join(struct.pack("<I", len(t)) + t for t in (b"a", "ü".encode(), b"\xff"))


@dataclass
class Sample:
    """Of the core's, what is looked at."""

    model: str = "m"
    version: int = 1
    word: str = ""
    inputs: list[Any] = field(default_factory=lambda: [("x", "FP32", (2, 3), X.tobytes())])
    outputs: list[Any] = field(default_factory=lambda: [("y", "FP32", (2,), X[:, 0].tobytes())])


def take(replay: Replay, **facts: Any) -> None:
    replay.take(Sample(**facts))  # type: ignore[arg-type]  # what stands in for the core's


def test_only_good_answers_of_the_wanted_version_are_kept() -> None:
    replay = Replay(64, 1000)
    take(replay)
    assert replay.of("m", 1) == []
    assert replay.want("m", 1)
    assert not replay.want("m", 1)
    take(replay)
    take(replay, word="bad_data")
    take(replay, version=2)
    take(replay, model="n")
    assert len(replay.of("m", 1)) == 1
    assert replay.of("m", 2) == []
    assert replay.want("m", 2)
    assert replay.of("m", 1) == []
    assert replay.held_bytes == 0


def test_as_many_are_kept_as_may_be_and_the_newest_stay() -> None:
    replay = Replay(3, 1000)
    replay.want("m", 1)
    for number in range(5):
        inputs = [("x", "INT32", (1,), struct.pack("<i", number))]
        assert not replay.is_full("m") or number > 2
        take(replay, inputs=inputs)
    kept = [struct.unpack("<i", one.inputs[0][3])[0] for one in replay.of("m", 1)]
    assert kept == [2, 3, 4]


def test_all_models_together_have_so_many_bytes() -> None:
    replay = Replay(64, 100)
    for model in ("m", "n"):
        replay.want(model, 1)
    for _ in range(10):
        take(replay, inputs=[("x", "INT8", (20,), bytes(20))])
    for _ in range(2):
        take(replay, model="n", inputs=[("x", "INT8", (40,), bytes(40))])
    assert replay.held_bytes <= 100
    assert replay.held_bytes == sum(one.size for m in "mn" for one in replay.of(m, 1))
    assert replay.of("n", 1)
    take(replay, inputs=[("x", "INT8", (60,), bytes(60))])
    assert replay.held_bytes <= 100


def test_bytes_make_enough_too_and_who_had_enough_asks_for_no_more() -> None:
    """Else every request of a model with large ones would be sampled for ever."""
    replay = Replay(64, 100)
    for model in ("m", "n"):
        replay.want(model, 1)
    for _ in range(5):
        assert not replay.is_full("m")
        take(replay, inputs=[("x", "INT8", (20,), bytes(20))])
    take(replay, inputs=[("x", "INT8", (20,), bytes(20))])
    assert replay.is_full("m")
    take(replay, model="n", inputs=[("x", "INT8", (40,), bytes(40))])
    assert len(replay.of("m", 1)) < 5
    assert replay.is_full("m")
    replay.want("m", 2)
    assert not replay.is_full("m")


def test_requests_cross_as_they_were() -> None:
    inputs = [
        ("x", "FP32", (2, 3), X.tobytes()),
        ("t", "BYTES", (3,), TEXTS),
        ("b", "BF16", (1,), b"\x80\x3f"),
    ]
    outputs = [
        ("y", "FP32", (1,), struct.pack("<f", float("nan"))),
        ("h", "BF16", (1,), b"\x80\x7f"),
        ("n", "INT64", (1,), bytes(8)),
    ]
    recorded = of_sample(Sample(inputs=inputs, outputs=outputs))  # type: ignore[arg-type]  # as above
    memory = SharedMemory()
    try:
        said = to_memory([recorded, recorded], memory)
        (feeds, answers), _ = from_memory(said, memory)
    finally:
        memory.close()
    assert np.array_equal(feeds["x"], X)
    assert feeds["t"].tolist() == ["a", "ü", b"\xff"]
    assert feeds["b"].tolist() == [0x3F80]
    assert answers == (
        Answered("y", "float32", (1,), False),
        Answered("h", "float32", (1,), False),
        Answered("n", "int64", (1,), True),
    )
    assert recorded == Recorded(1, tuple(inputs), answers)


GOOD = Request("recorded", "request 1", {"x": X})


def runs(*answers: Any) -> Any:
    """A model that gives these answers in turn, or raises them."""
    left = list(answers)

    def run(names: Any, feeds: Any) -> Any:
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return [answer]

    return run


@pytest.mark.parametrize(
    ("answer", "name", "words"),
    [
        (np.ones(2, np.float32), "", ""),
        (RuntimeError("division by zero"), "runs", "request 1 failed"),
        (np.ones(3, np.float32), "shapes and datatypes", "output 'y' has shape [3], not [2]"),
        (np.ones(2, np.float64), "shapes and datatypes", "datatype float64, not float32"),
        (np.array([1, np.nan], np.float32), "finite", "NaN or infinity in output 'y'"),
    ],
)
def test_a_version_answers_as_the_answering_one_does(answer: Any, name: str, words: str) -> None:
    base = run_all(runs(np.zeros(2, np.float32)), ["y"], [GOOD])
    checks = compared([GOOD], base, run_all(runs(answer), ["y"], [GOOD]))
    failed = [check for check in checks if not check.passed]
    assert [check.name for check in failed] == ([name] if name else [])
    assert all(words in check.words for check in failed)


def test_what_the_answering_version_does_not_do_is_not_asked() -> None:
    failing = run_all(runs(RuntimeError("no")), ["y"], [GOOD])
    assert all(check.passed for check in compared([GOOD], failing, failing))
    nan = np.array([np.nan], np.float32)
    base = run_all(runs(nan), ["y"], [GOOD])
    assert all(check.passed for check in compared([GOOD], base, base))


def test_without_an_answering_version_recorded_answers_stand_for_it() -> None:
    answered = Request("recorded", "request 1", {"x": X}, (Answered("y", "float32", (2,), True),))
    found = run_all(runs(np.ones(3, np.float32)), ["y"], [answered])
    assert [check.passed for check in compared([answered], None, found)] == [True, False, True]


def test_a_users_sample_must_be_finite_where_generated_input_proves_nothing() -> None:
    nan = np.array([np.nan], np.float32)
    for kind, passed in (("own", False), ("generated", True)):
        request = Request(kind, "it", {"x": X})  # type: ignore[arg-type]  # one of both
        ran = run_all(runs(nan), ["y"], [request])
        assert all(check.passed for check in compared([request], None, ran)) is passed


class Machine:
    """Time that passes in runs alone, and as much as they say (seconds)."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0
        self.clocks = Clocks(lambda: self.wall, lambda: self.cpu)
        self.runs: list[str] = []

    def version(self, name: str, takes: float, *hindered: float) -> Callable[[Feeds], object]:
        """Its first runs wait for others' work, too, for so long."""
        waits = iter(hindered)

        def run(feeds: Feeds) -> None:
            assert feeds == {"x": 1}
            self.runs.append(name)
            self.cpu += takes
            self.wall += takes + next(waits, 0.0)

        return run

    def timed(self, base: Any, found: Any, factor: float) -> Check:
        return timed(base, found, [{"x": 1}] * 8, factor, self.clocks)  # type: ignore[dict-item]  # any


def test_a_version_three_times_as_slow_is_over_a_factor_of_two() -> None:
    machine = Machine()
    quick, slow = machine.version("quick", 0.001), machine.version("slow", 0.003)
    check = machine.timed(quick, slow, 2.0)
    assert not check.passed
    assert (check.base, check.value) == (pytest.approx(0.001), pytest.approx(0.003))
    assert check.words == "3 times, at most 2"
    assert machine.timed(slow, quick, 2.0).passed
    assert machine.timed(quick, slow, 30.0).passed


def test_both_versions_run_as_often_and_each_comes_first_as_often() -> None:
    machine = Machine()
    machine.timed(machine.version("a", 0.001), machine.version("b", 0.001), 2.0)
    pairs = list(zip(machine.runs[::2], machine.runs[1::2], strict=True))
    assert len(pairs) == RUNS
    # 25 rounds of the 8 requests.
    assert (pairs.count(("a", "b")), pairs.count(("b", "a"))) == (13 * 8, 12 * 8)


def test_what_meets_a_hundredth_of_the_runs_hides_nothing_and_proves_nothing() -> None:
    for times, hidden in ((1, False), (RUNS // 20, True)):
        machine = Machine()
        quick, slow = machine.version("q", 0.001, *[0.05] * times), machine.version("s", 0.003)
        by_clock = machine.timed(quick, slow, 2.0)
        assert not by_clock.passed
        # Runs that only waited say nothing of CPU time.
        assert ("of CPU time" in by_clock.words) is hidden


def test_one_time_over_the_factor_proves_nothing() -> None:
    """What the machine did meanwhile met one measurement of the new version, the first."""
    machine = Machine()
    hindered = machine.version("b", 0.001, *[0.015] * RUNS)
    assert machine.timed(machine.version("a", 0.001), hindered, 10.0).passed
    assert len(machine.runs) == 2 * 2 * RUNS


def test_one_time_over_the_factor_proves_nothing_of_what_takes_long_either() -> None:
    """One round of requests is all there is time for in each measurement."""
    machine = Machine()
    base, found = machine.version("a", 1.0), machine.version("b", 1.0, 50.0)
    assert machine.timed(base, found, 10.0).passed
    assert len(machine.runs) == 2 * 2 * 8


def test_less_than_the_clock_can_tell_is_no_slowness() -> None:
    machine = Machine()
    assert machine.timed(machine.version("a", 1e-6), machine.version("b", 9e-5), 2.0).passed


def test_times_are_the_machines_where_no_others_are_given() -> None:
    nothing, waiting = (lambda feeds: None), (lambda feeds: time.sleep(0.001))
    check = timed(nothing, waiting, [{"x": X}] * RUNS, 2.0)
    assert not check.passed
    assert check.value is not None
    assert check.value >= 0.001
