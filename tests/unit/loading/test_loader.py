"""From a folder to a slot that answers over a door, and back."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from onnx import helper

from serving import _core
from serving.cancellation import Cancellation
from serving.errors import LoadError
from serving.loading.loader import Loader
from serving.loading.trial.trial import LoadCancelledError
from serving.model_config.schema import ModelConfig, WarmupInput, WarmupSample
from serving.settings import load_settings
from serving.statistics.metadata import messages
from tests.clients.gateway import wait_until
from tests.unit import graphs
from tests.unit.graphs import FLOAT, INT64

SETTINGS, _ = load_settings({"http_port": 0, "grpc_port": 0, "loading.trial": "off"}, None, {})


@pytest.fixture
def load(tmp_path):
    """Load a model; what a failing test leaves loaded is closed."""
    slots = []
    loader = Loader(SETTINGS)

    def load_one(made, config=None, **keywords):
        place = graphs.write(tmp_path, made)
        slots.append(
            loader(
                name="m",
                version=1,
                path=place,
                config=config or ModelConfig(),
                settings=SETTINGS,
                **keywords,
            )
        )
        return slots[-1]

    yield load_one
    for slot in slots:
        slot.close(10)


@pytest.mark.parametrize(
    ("imported", "opset"), [([("", 18), ("com.microsoft", 1)], 18), ([("ai.onnx", 17)], 17)]
)
def test_a_slot_says_which_opset_and_form_its_file_states(load, imported, opset):
    made = graphs.softmax()
    del made.opset_import[:]
    made.opset_import.extend(helper.make_opsetid(*one) for one in imported)
    facts = load(made).facts
    assert (facts.opset, facts.ir_version) == (opset, 8)


@pytest.mark.parametrize("lying", [False, True])
def test_a_baseline_that_lies_is_a_note_and_no_failure(load, tmp_path, lying):
    """As MLflow's folders have it: without a manifest."""
    message = messages.DatasetFeatureStatisticsList()
    message.datasets.add(num_examples=1).features.add(name="X").num_stats.mean = 1
    content = b"something else" if lying else message.SerializeToString()
    graphs.write(tmp_path, graphs.softmax()).joinpath("baseline.pb").write_bytes(content)

    facts = load(graphs.softmax()).facts

    assert facts.baseline == ("" if lying else "baseline.pb")
    told = [
        note for note in facts.notes if note.startswith("its baseline of statistics is not used")
    ]
    assert len(told) == lying


@contextmanager
def serving_of(slot):
    """A server with this slot alone; how to ask it: inputs -> (status, body)."""
    server = _core.Server(SETTINGS.core())
    server.publish([_core.Route("m", {1: slot.queue}, 1)])
    server.start()
    server.set_ready(True)
    host, port = server.http_address

    def ask(**inputs):
        listed = [
            {"name": name, "datatype": datatype, "shape": np.shape(data), "data": data}
            for name, (datatype, data) in inputs.items()
        ]
        body = json.dumps({"inputs": listed}).encode()
        request = urllib.request.Request(f"http://{host}:{port}/v2/models/m/infer", body)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    try:
        yield ask
    finally:
        server.stop()


def gather_model():
    table = {"d": np.arange(4, dtype=np.float32)}
    return graphs.one("Gather", [("x", INT64, ["n"])], [("y", FLOAT, ["n"])], table, ["d", "x"])


def test_a_loaded_slot_says_what_it_is(load):
    warming = []
    slot = load(graphs.softmax(), on_warming=lambda: warming.append(True))
    try:
        assert warming == [True]
        assert slot.verdict.max_rows == 64
        assert slot.facts.provider == "CPUExecutionProvider"
        assert slot.facts.provider_nodes == {"CPUExecutionProvider": 2}
        assert slot.facts.threads >= 1
        assert slot.facts.load_seconds > 0
        assert slot.facts.notes == ()
        assert [tensor.name for tensor in slot.facts.signature.outputs] == ["p"]
    finally:
        assert slot.close(10)


def test_a_slot_answers_requests_as_onnxruntime_does(load):
    slot = load(graphs.softmax())
    row = [[0.1, 0.2, 0.3, 0.4]]
    expected = slot.runner.run(["p"], {"x": np.array(row, np.float32)})[0]
    with serving_of(slot) as ask:
        status, body = ask(x=("FP32", row))
        assert status == 200
        np.testing.assert_allclose(body["outputs"][0]["data"], expected[0], rtol=1e-6)
        assert slot.close(10)


def test_fault_21_guilty_requests_fail_beside_good_ones(load):
    slot = load(gather_model(), ModelConfig(delay_us=20_000))
    assert slot.verdict.batched
    with serving_of(slot) as ask, ThreadPoolExecutor(16) as pool:
        values = [9 if i % 7 == 3 else i % 4 for i in range(64)]
        answers = list(pool.map(lambda value: ask(x=("INT64", [value])), values))
        for value, (status, body) in zip(values, answers, strict=True):
            if value == 9:
                assert status == 400
                assert "an index is out of range (operator Gather)" in body["error"]
            else:
                assert (status, body["outputs"][0]["data"]) == (200, [value])
        assert slot.close(10)


def test_a_model_that_mixes_rows_is_served_unbatched_and_right(load):
    values = [("a", FLOAT, ["n", 2])], [("y", FLOAT, ["n", 2])]
    made = graphs.one("CumSum", *values, {"axis": np.asarray(0, np.int64)})
    slot = load(made)
    assert slot.verdict.max_rows == 0
    with serving_of(slot) as ask, ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda i: ask(a=("FP32", [[i, i], [1, 1]])), range(32))
        for i, (status, body) in enumerate(answers):
            assert (status, body["outputs"][0]["data"]) == (200, [i, i, i + 1, i + 1])
        assert slot.close(10)


def test_closing_ends_the_threads_and_lets_the_session_go(load):
    import weakref

    slot = load(graphs.softmax(), ModelConfig(instances=3))
    session = weakref.ref(slot.runner._session)
    with serving_of(slot) as ask:
        assert ask(x=("FP32", [[1, 2, 3, 4]]))[0] == 200
        wanted = {"run m:1 #0", "run m:1 #1", "run m:1 #2"}
        wait_until(lambda: wanted <= {one.name for one in threading.enumerate()}, 5, "its threads")
        assert slot.close(10)
    assert session() is None
    assert not any(thread.name.startswith("run m:1") for thread in threading.enumerate())


def test_a_users_sample_must_run(tmp_path, load):
    bad = WarmupSample("s", (WarmupInput("x", shape=(1,), fill="file", file="x.bin"),))
    folder = tmp_path / "m" / "warmup"
    folder.mkdir(parents=True)
    (folder / "x.bin").write_bytes(np.array([9], np.int64).tobytes())
    with pytest.raises(LoadError, match=r"warm-up sample 's' failed: .*index is out of range"):
        load(gather_model(), ModelConfig(warmup=(bad,)))
    (folder / "x.bin").write_bytes(np.array([3], np.int64).tobytes())
    assert load(gather_model(), ModelConfig(warmup=(bad,))).close(10)


def test_generated_input_that_does_not_run_is_only_noted(load):
    values = [("i", INT64, ["n"])], [("y", FLOAT, ["n"])]
    made = graphs.one("Gather", *values, {"d": np.ones(0, np.float32)}, ["d", "i"])
    slot = load(made)
    assert slot.facts.notes == ("generated input did not run: the first requests will be slow",)
    assert slot.close(10)


def test_a_cancelled_load_leaves_nothing_behind(load):
    class AtItsFourthStep(Cancellation):
        asked = 0

        def __call__(self):
            self.asked += 1
            return self.asked > 3

    before = threading.active_count()
    with pytest.raises(LoadCancelledError):
        load(graphs.softmax(), cancelled=AtItsFourthStep())
    assert threading.active_count() <= before


def test_counters_outlive_a_reload(load):
    stats = _core.Stats("m", 1)
    slot = load(graphs.softmax(), stats=stats)
    assert slot.stats is stats
    assert slot.close(10)


def test_the_models_limits_go_before_the_settings(load):
    """A queue of one request is full for the second."""
    slow = graphs.softmax()
    slot = load(slow, ModelConfig(max_queue_requests=1, delay_us=500_000))
    with serving_of(slot) as ask, ThreadPoolExecutor(8) as pool:
        row = ("FP32", [[0.0] * 4])
        statuses = [status for status, _ in pool.map(lambda _: ask(x=row), range(8))]
        assert 200 in statuses
        assert 503 in statuses
        assert slot.close(10)
