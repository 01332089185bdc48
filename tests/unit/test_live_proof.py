"""Real requests prove batching where generated input told nothing."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from serving.execution.session import load_runner
from serving.model_config.schema import ModelConfig, Tolerance
from serving.models.loading.live_proof import ENOUGH, MOST_SEEN, LiveProof
from serving.models.loading.loader import Loader
from serving.models.loading.proof import BatchingVerdict, Intent
from serving.settings import Settings
from serving.state_dir import StateDir
from tests.unit import graphs
from tests.unit.graphs import FLOAT, INT64
from tests.unit.test_execution_loader import SETTINGS, serving_of

FIRST = BatchingVerdict(False, "unbatched: not proven: nobody knows", 0, open=True)


class Watched:
    """A proof over a real session, and its verdicts."""

    def __init__(self, folder, made):
        self.runner = load_runner(graphs.write(folder, made), ModelConfig(), Settings())
        self.verdicts = []
        self.settled = threading.Event()
        self.proof = LiveProof(
            self.runner,
            self.runner.signature,
            Intent(16, False),
            Tolerance(),
            FIRST,
            self._on_verdict,
            delay_s=0.0,
        )
        self.names = [tensor.name for tensor in self.runner.signature.outputs]

    def _on_verdict(self, verdict):
        self.verdicts.append(verdict)
        self.settled.set()

    def ask(self, **feeds):
        return self.proof.run(self.names, feeds)

    def verdict(self):
        assert self.settled.wait(10)
        return self.verdicts[0]


def rows(*values: float):
    return np.array([[value, 1, 2, 3] for value in values], np.float32)


def test_requests_that_agree_alone_and_together_prove_batching(tmp_path):
    one = Watched(tmp_path, graphs.softmax())
    for value in range(ENOUGH):
        assert not one.verdicts
        one.ask(x=rows(value))
    assert one.verdict() == BatchingVerdict(True, "batched, up to 16 rows: proven", 16)
    assert one.proof.verdict.words == "batched, up to 16 rows: proven by real requests"
    assert one.proof.verdict.max_rows == 0, "what clients see stays"


def test_requests_of_several_rows_count_too(tmp_path):
    one = Watched(tmp_path, graphs.softmax())
    for value in range(ENOUGH):
        one.ask(x=rows(value, value + 0.5, -value))
    assert one.verdict().batched


def test_answers_that_change_in_a_batch_disprove_it_for_good(tmp_path):
    values = [("a", FLOAT, ["n", 2])], [("y", FLOAT, ["n", 2])]
    one = Watched(tmp_path, graphs.one("CumSum", *values, {"axis": np.asarray(0, np.int64)}))
    for value in range(1, ENOUGH + 1):
        one.ask(a=np.full((1, 2), value, np.float32))
    assert not one.verdict().batched
    assert "real requests' answers change in a batch (output 'y'" in one.proof.verdict.words


def test_requests_that_do_not_run_together_disprove_it(tmp_path):
    one = Watched(tmp_path, graphs.softmax())
    inner = one.proof._inner

    def only_single(names, feeds):
        if len(feeds["x"]) > 1:
            raise RuntimeError("no")
        return inner(names, feeds)

    one.proof._inner = only_single
    for value in range(ENOUGH):
        one.ask(x=rows(value))
    assert "requests run alone, but not 4 together" in one.verdict().words


def test_the_same_request_again_proves_nothing(tmp_path):
    one = Watched(tmp_path, graphs.softmax())
    for _ in range(ENOUGH + 3):
        one.ask(x=rows(1))
    assert not one.settled.is_set()
    assert len(one.proof._kept) == 1


def test_shapes_that_never_agree_end_the_watch(tmp_path):
    made = graphs.one("Neg", [("x", FLOAT, ["n", "m"])], [("y", FLOAT, ["n", "m"])])
    one = Watched(tmp_path, made)
    for size in range(1, MOST_SEEN + 1):
        one.ask(x=np.full((1, size), size, np.float32))
    words = f"unbatched: no {ENOUGH} of the first {MOST_SEEN} requests were alike in shape"
    assert one.verdict().words == words
    assert one.proof._watching is False


def test_large_requests_are_not_kept(tmp_path):
    made = graphs.one("Neg", [("x", FLOAT, ["n", "m"])], [("y", FLOAT, ["n", "m"])])
    one = Watched(tmp_path, made)
    for value in range(ENOUGH):
        one.ask(x=np.full((1, 100_000), value, np.float32))
    assert one.proof._kept == []


def test_a_request_for_some_outputs_or_without_rows_is_not_kept(tmp_path):
    one = Watched(tmp_path, graphs.softmax())
    one.proof._names = ["p", "other"]
    one.ask(x=rows(1))
    one.proof._names = ["p"]
    one.ask(x=np.zeros((0, 4), np.float32))
    assert one.proof._kept == []


def test_a_version_that_leaves_is_not_run_any_more(tmp_path):
    one = Watched(tmp_path, graphs.softmax())
    one.proof._delay_s = 30.0
    for value in range(ENOUGH):
        one.ask(x=rows(value))
    one.proof.close()
    assert not one.verdicts


def picky():
    """y = table[i], where ``i`` must be 1000 or more: no generated index fits."""
    table = {"d": np.arange(200, dtype=np.float32), "low": np.array(1000, np.int64)}
    nodes = [
        graphs.node("Sub", ["i", "low"], ["at"]),
        # Indices below zero count from the end, so push them out of the table altogether.
        graphs.node("Less", ["at", "zero"], ["bad"]),
        graphs.node("Where", ["bad", "away", "at"], ["index"]),
        graphs.node("Gather", ["d", "index"], ["y"]),
    ]
    table["zero"], table["away"] = np.array(0, np.int64), np.array(10_000, np.int64)
    return graphs.model(nodes, [("i", INT64, ["n"])], [("y", FLOAT, ["n"])], table)


@pytest.fixture
def load(tmp_path):
    """Load ``picky``; what a failing test leaves is closed."""
    slots, loader = [], Loader(SETTINGS, StateDir(tmp_path / "state"))

    def load_one(**keywords):
        slots.append(
            loader(
                name="m",
                version=1,
                path=graphs.write(tmp_path, picky()),
                config=ModelConfig(delay_us=100_000),
                settings=SETTINGS,
                **keywords,
            )
        )
        return slots[-1]

    yield load_one
    for slot in slots:
        slot.close(10)


def test_a_version_is_batched_once_real_requests_proved_it(load):
    changed = threading.Event()
    slot = load(on_changed=changed.set)
    assert slot.verdict.words == (
        "unbatched: not proven: the model did not run on generated input;"
        " real requests may prove it"
    )
    with serving_of(slot) as ask:
        for value in range(1000, 1000 + ENOUGH):
            assert ask(i=("INT64", [value]))[1]["outputs"][0]["data"] == [value - 1000]
        assert changed.wait(10)
        assert slot.verdict.words == "batched, up to 64 rows: proven by real requests"
        assert slot.verdict.max_rows == 0
        before = slot.stats.snapshot()
        _ask_at_once(ask, 12)
        after = slot.stats.snapshot()
        assert after["inference_count"] - before["inference_count"] == 12
        assert after["execution_count"] - before["execution_count"] < 12
        assert slot.close(10)


def _ask_at_once(ask, count):
    def one(value):
        status, body = ask(i=("INT64", [1000 + value]))
        answers[value] = (status, body["outputs"][0]["data"])

    answers = {}
    threads = [threading.Thread(target=one, args=(value,)) for value in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {value: (200, [value]) for value in range(count)}
