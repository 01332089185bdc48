"""Real requests test batching where the graph leaves it open and generated input told nothing."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from serving.execution.session import load_runner
from serving.loading.batching.analysis import Analysis
from serving.loading.batching.live_proof import ENOUGH, MOST_SEEN, LiveProof
from serving.loading.batching.verdict import BatchingVerdict, Intent, decide
from serving.loading.loader import Loader
from serving.model_config.schema import ModelConfig, Tolerance
from serving.settings import Settings, load_settings
from serving.state_dir import StateDir
from tests.unit import graphs
from tests.unit.graphs import FLOAT, INT64
from tests.unit.loading.test_loader import serving_of

OPEN = Analysis("open", "y", "n", "SequenceAt", "nobody knows")
FIRST = BatchingVerdict(False, "unbatched: open: nobody knows", 0, open=True)


class Watched:
    """A proof over a real session, and its verdicts."""

    def __init__(self, folder, made):
        self.runner = load_runner(graphs.write(folder, made), ModelConfig(), Settings())
        self.verdicts = []
        self.settled = threading.Event()
        self.proof = LiveProof(
            self.runner,
            self.runner.signature,
            Tolerance(),
            FIRST,
            lambda tested: decide(Intent(16, False, open_tested=True), OPEN, tested),
            lambda tested, verdict: self._on_verdict(verdict),
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


def test_requests_that_agree_alone_and_together_let_it_be_batched(tmp_path):
    one = Watched(tmp_path, graphs.softmax())
    for value in range(ENOUGH):
        assert not one.verdicts
        one.ask(x=rows(value))
    words = f"batched, up to 16 rows: tested, not proven: {OPEN.words}"
    assert one.verdict() == BatchingVerdict(True, words, 16, may_cut=False)
    assert one.proof.verdict.words == words
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

    def only_single(names, feeds, requests=0):
        if len(feeds["x"]) > 1:
            raise RuntimeError("no")
        return inner(names, feeds)

    one.proof._inner = only_single
    for value in range(ENOUGH):
        one.ask(x=rows(value))
    assert "requests run alone, but not 4 together" in one.verdict().words


def test_answers_of_other_rows_than_the_request_disprove_it(tmp_path):
    """1, 1, 1 and 2 rows are no proof: they are not the rows that came in."""
    values = [("x", FLOAT, ["n"])], [("y", INT64, ["k", 1])]
    nodes = [graphs.node("NonZero", ["x"], ["t"]), graphs.node("Transpose", ["t"], ["y"])]
    one = Watched(tmp_path, graphs.model(nodes, *values))
    for value in range(1, ENOUGH):
        one.ask(x=np.array([value], np.float32))
    one.ask(x=np.array([0], np.float32))
    assert not one.verdict().batched
    assert "output 'y' has shape [0, 1] for 1 rows" in one.verdict().words


def test_answers_that_differ_in_shape_alone_show_nothing(tmp_path):
    made = graphs.one("Sub", [("x", FLOAT, ["n"])], [("y", FLOAT, ["n"])], {}, ["x", "x"])
    one = Watched(tmp_path, made)
    for value in range(ENOUGH):
        one.ask(x=np.full(1 + value % 2, value, np.float32))
    assert not one.verdict().batched
    assert "all requests looked at get the same answer" in one.verdict().words


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
    words = f"not tested: no {ENOUGH} of the first {MOST_SEEN} requests were alike in shape"
    assert one.verdict().words.endswith(words)
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
    """y = table[i], where ``i`` must be 1000 or more: no generated index fits. And the graph
    leaves open what becomes of the rows."""
    table = {"d": np.arange(200, dtype=np.float32), "low": np.array(1000, np.int64)}
    nodes = [
        graphs.node("Sub", ["i", "low"], ["at"]),
        # Indices below zero count from the end, so push them out of the table altogether.
        graphs.node("Less", ["at", "zero"], ["bad"]),
        graphs.node("Where", ["bad", "away", "at"], ["index"]),
        graphs.node("Gather", ["d", "index"], ["z"]),
        *graphs.unfollowed("z", "y"),
    ]
    table["zero"], table["away"] = np.array(0, np.int64), np.array(10_000, np.int64)
    table["y_place"] = np.array(0, np.int64)
    return graphs.model(nodes, [("i", INT64, ["n"])], [("y", FLOAT, ["n"])], table)


TESTED, _ = load_settings(
    {"http_port": 0, "grpc_port": 0, "loading.trial": "off", "batching.open": "tested"}, None, {}
)


@pytest.fixture
def load(tmp_path):
    """Load ``picky``; what a failing test leaves is closed."""
    slots, loader = [], Loader(TESTED, StateDir(tmp_path / "state"))

    def load_one(**keywords):
        slots.append(
            loader(
                name="m",
                version=1,
                path=graphs.write(tmp_path, picky()),
                config=ModelConfig(delay_us=100_000),
                settings=TESTED,
                **keywords,
            )
        )
        return slots[-1]

    yield load_one
    for slot in slots:
        slot.close(10)


def test_a_version_is_batched_once_real_requests_tested_it(load):
    changed = threading.Event()
    slot = load(on_changed=changed.set)
    assert slot.verdict.words.endswith(
        "not tested: the model did not run on generated input; real requests may test it"
    )
    with serving_of(slot) as ask:
        for value in range(1000, 1000 + ENOUGH):
            assert ask(i=("INT64", [value]))[1]["outputs"][0]["data"] == [value - 1000]
        assert changed.wait(10)
        assert slot.verdict.words.startswith("batched, up to 64 rows: tested, not proven")
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
