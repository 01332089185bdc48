"""A version is tried in a child process: what kills it there never touches the server."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from onnx import helper

from serving.cancellation import Cancellation
from serving.errors import LoadError, Retry
from serving.execution.isolation.parent import starting
from serving.execution.isolation.parent.process import ChildDiedError
from serving.execution.isolation.refusals import to_plain
from serving.execution.runtime import ort
from serving.loading.batching.analysis import Analysis
from serving.loading.loader import Loader
from serving.loading.trial import cache
from serving.loading.trial.cache import FOLDER, SCHEMA, TOGETHER, TrialCache
from serving.loading.trial.findings import Findings
from serving.loading.trial.first_use import tiny_model
from serving.loading.trial.idle import IdleChildren
from serving.loading.trial.trial import (
    MODULE,
    Job,
    LoadCancelledError,
    Trial,
    _died,
    _Ending,
    _spawned,
    is_wanted,
)
from serving.model_config.schema import ModelConfig, WarmupInput, WarmupSample
from serving.settings import Settings, load_settings
from serving.state_dir import StateDir
from tests.clients.tf_records import PREDICT, log, write_warmup
from tests.clients.tfs import predict_request
from tests.small_models import gather
from tests.unit import graphs
from tests.unit.graphs import FLOAT, INT64, node

GPU = ("CUDAExecutionProvider",)


@pytest.fixture(scope="module", autouse=True)
def forked():
    """Children come to be as in a gateway, for a tenth of what one takes that is spawned;
    ``execution/isolation/test_child.py`` holds both ways to the same."""
    end = starting.use_template([MODULE])
    yield
    end()


def settings_of(**more: object) -> Settings:
    keys = {key.replace("__", "."): value for key, value in more.items()}
    return load_settings({"loading.trial": "on", **keys}, None, {})[0]


def dies_while_loading():
    """Fact C1: INT_MIN / -1 of two constants is folded, and kills whoever loads it."""
    constants = {
        "a": np.array([np.iinfo(np.int64).min], np.int64),
        "b": np.array([-1], np.int64),
    }
    nodes = [
        node("Div", ["a", "b"], ["q"]),
        node("Cast", ["q"], ["f"], to=FLOAT),
        node("Add", ["x", "f"], ["y"]),
    ]
    return graphs.model(nodes, [("x", FLOAT, ["n"])], [("y", FLOAT, ["n"])], constants)


def dies_when_run():
    """x (INT64) times zero, plus INT_MIN, divided by -1: every run ends the process."""
    constants = {
        "zero": np.array(0, np.int64),
        "least": np.array(np.iinfo(np.int64).min, np.int64),
        "minus": np.array([-1], np.int64),
    }
    nodes = [
        node("Mul", ["x", "zero"], ["z"]),
        node("Add", ["z", "least"], ["a"]),
        node("Div", ["a", "minus"], ["y"]),
    ]
    return graphs.model(nodes, [("x", INT64, ["n", 1])], [("y", INT64, ["n", 1])], constants)


class Trials:
    """A loader with trials, and what it started."""

    def __init__(self, folder: Path, settings: Settings, state: StateDir | None = None) -> None:
        self.folder, self.settings = folder, settings
        self.loader = Loader(settings, state)
        self.slots = []

    def load(self, made, config=None, name="m", **keywords):
        place = graphs.write(self.folder, made, name)
        slot = self.loader(
            name=name,
            version=1,
            path=place,
            config=config or ModelConfig(),
            settings=self.settings,
            **keywords,
        )
        self.slots.append(slot)
        return slot

    def close(self):
        for slot in self.slots:
            slot.close(10)
        self.loader.close()
        assert self.loader.held_bytes == 0


@pytest.fixture
def trials(tmp_path):
    """Make loaders; whatever a failing test leaves is closed."""
    made = []

    def make(state=None, **more):
        made.append(Trials(tmp_path, settings_of(**more), state))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def started(monkeypatch):
    """The children that trials started."""
    children = []

    def spawn():
        children.append(_spawned())
        return children[-1]

    monkeypatch.setattr("serving.loading.trial.trial._spawned", spawn)
    return children


def test_a_trial_that_dies_while_loading_fails_the_version(trials, started):
    one = trials()
    with pytest.raises(LoadError) as caught:
        one.load(dies_while_loading())
    assert caught.value.reason == "its trial ended with SIGFPE while it was loaded"
    assert one.load(graphs.softmax(), name="good").verdict.batched
    assert len(started) == 2


def test_a_trial_that_dies_on_the_users_sample_fails_the_version(trials):
    sample = WarmupSample("s", (WarmupInput("x", shape=(1, 1), fill="zero"),))
    with pytest.raises(LoadError) as caught:
        trials().load(dies_when_run(), ModelConfig(warmup=(sample,)))
    assert caught.value.reason == "its trial ended with SIGFPE while it ran the user's sample"


def test_requests_that_were_logged_run_first_in_the_trial(trials, tmp_path):
    """Where nothing else is to be read: a run that never ends is the trial's, too."""
    one = trials()
    outside = predict_request("m", {"I": np.array([99])})
    write_warmup(tmp_path / "m" / "1", [log(PREDICT, outside)])
    with pytest.raises(LoadError, match="record 0 of assets"):
        one.load(gather())
    outcomes = one.loader.trials.snapshot()
    assert (outcomes[("refused",)], outcomes[("passed",)]) == (1, 0)


def test_one_child_tries_one_version_after_another(trials, started):
    one = trials()
    for name in ("a", "b", "c"):
        assert one.load(graphs.softmax(), name=name).verdict.batched
    assert len(started) == 1


class Awaited:
    """In place of the template, which children are forked from."""

    prepared = 0

    def prepare(self):
        self.prepared += 1


def test_ahead_of_a_trial_what_it_is_forked_from_gets_ready_and_no_child(started, monkeypatch):
    template = Awaited()
    monkeypatch.setattr(starting, "_template", template)
    Trial().prepare()
    assert template.prepared == 1
    assert not started


@pytest.mark.parametrize(("mode", "prepared"), [("on", 2), ("off", 0)])
def test_a_change_in_the_registry_has_it_get_ready_where_versions_are_tried(
    mode, prepared, monkeypatch
):
    template = Awaited()
    monkeypatch.setattr(starting, "_template", template)
    loader = Loader(settings_of(loading__trial=mode))
    loader.expect()
    loader.close()
    assert template.prepared == prepared


def test_a_child_without_work_goes_by_itself(started):
    idle = IdleChildren(2)
    for seconds in (60.0, 0.05):  # the last word counts
        idle.keep(_spawned_into(started), seconds)
    for child in started:
        child._process.wait(10)
        assert not child.alive
    assert not idle.any


def test_a_child_with_new_work_stays_for_as_long_again(started):
    idle = IdleChildren(1)
    child = _spawned_into(started)
    idle.keep(child, 0.05)
    since = time.monotonic()
    assert idle.take() is child
    idle.keep(child, 0.3)
    child._process.wait(10)
    assert time.monotonic() - since >= 0.3


def test_quick_trials_at_once_share_a_child_and_a_slow_one_keeps_nobody_waiting(tmp_path, started):
    """Each trial holds its child for as long as it is told to."""
    trial = Trial(spawn=lambda: _spawned_into(started), soon_s=60.0)
    going, end = threading.Event(), threading.Event()

    def hold() -> None:
        with trial._turn():
            child = trial._take()
            going.set()
            end.wait(60)
            trial._give_back(child)

    first = threading.Thread(target=hold)
    first.start()
    assert going.wait(60)
    second = threading.Thread(target=hold)
    second.start()
    assert len(started) == 1  # the other waits
    end.set()
    for thread in (first, second):
        thread.join(60)
    assert len(started) == 1
    end.clear()
    trial._soon_s = 0.0
    threads = [threading.Thread(target=hold) for _ in range(2)]
    for thread in threads:
        thread.start()
    while len(started) < 2:
        time.sleep(0.01)
    end.set()
    for thread in threads:
        thread.join(60)
    assert len(started) == 2
    trial.close()


class Scripted:
    """In place of a child, which has no memory for what comes before its first version."""

    alive, pid = True, 1

    def __init__(self):
        self.asked = []

    def ask(self, message, fds=(), timeout=None):
        self.asked.append(message["do"])
        if self.asked == ["ready"]:
            return {"refused": to_plain(LoadError("no memory", for_memory=True))}
        return {"refused": to_plain(LoadError("no model"))} if message["do"] == "load" else {}

    def tell(self, word):
        pass

    kill = close = lambda self: None


def test_a_child_that_was_not_made_ready_is_made_so_for_the_next_version():
    child: Any = Scripted()
    settings, here = settings_of(), Path("/m/1")
    trial = Trial(spawn=lambda: child)
    job = Job("m", 1, here, here.parent, ModelConfig(), settings, (), 10, 1000)
    for _ in range(3):
        trial.run(job, Cancellation())
    trial.close()
    asked = [stage for stage in child.asked if stage != "drop"]
    assert asked == ["ready", "ready", "load", "load"]


def _spawned_into(children):
    children.append(_spawned())
    return children[-1]


def test_closing_ends_the_child_that_is_kept(trials, started):
    one = trials()
    one.load(graphs.softmax())
    assert started[0].alive
    one.loader.close()
    assert not started[0].alive


def test_what_the_trial_found_serves(trials):
    slot = trials().load(graphs.softmax())
    assert slot.verdict.words.startswith("batched, up to 64 rows: proven")
    assert slot.facts.cost is not None
    assert slot.facts.cost.fixed_s + slot.facts.cost.per_row_s > 0
    assert slot.facts.memory_bytes > 0
    assert slot.facts.checked


def test_the_trial_runs_at_low_priority(trials, started):
    trials().load(graphs.softmax())
    threads = Path(f"/proc/{started[0].pid}/task")
    assert psutil.Process(started[0].pid).nice() == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)
    assert threads.is_dir()


def test_a_restart_does_not_repeat_a_trial(trials, started, tmp_path):
    state = StateDir(tmp_path / "state")
    first = trials(state)
    found = first.load(graphs.softmax(), fingerprint="f")
    first.loader.close()
    before = len(started)
    again = trials(state).load(graphs.softmax(), fingerprint="f")
    assert len(started) == before
    assert again.verdict.words == found.verdict.words
    assert again.facts.cost == found.facts.cost
    trials(state).load(graphs.softmax(), fingerprint="g")
    assert len(started) == before + 1


@pytest.mark.parametrize("changed", [{"threads__intra_op": 1}, {"batching__max_rows": 8}])
def test_what_the_outcome_hangs_on_is_part_of_what_is_kept(trials, started, tmp_path, changed):
    state = StateDir(tmp_path / "state")
    trials(state, threads__intra_op=2).load(graphs.softmax(), fingerprint="f")
    before = len(started)
    trials(state, **{"threads__intra_op": 2, **changed}).load(graphs.softmax(), fingerprint="f")
    assert len(started) == before + 1


def test_a_failure_is_tried_again_at_the_next_start(trials, tmp_path):
    """What it hung on, a locale or a package, may have come meanwhile."""
    state = StateDir(tmp_path / "state")
    words = "its trial ended with SIGFPE while it was loaded"
    with pytest.raises(LoadError, match=words):
        trials(state).load(dies_while_loading(), fingerprint="f")
    assert state.names(FOLDER) == []
    assert trials(state).load(graphs.softmax(), fingerprint="f").facts.checked


def test_findings_of_another_cpu_do_not_count(trials, started, tmp_path, monkeypatch):
    """A state directory that machines share: what a run costs there says nothing here."""
    state = StateDir(tmp_path / "state")
    trials(state).load(graphs.softmax(), fingerprint="f")
    before = len(started)
    monkeypatch.setattr("serving.machine.processor", lambda: ("x86_64", "another CPU"))
    trials(state).load(graphs.softmax(), fingerprint="f")
    assert len(started) == before + 1


def test_a_trial_killed_from_outside_is_tried_again(trials, tmp_path, monkeypatch):
    state = StateDir(tmp_path / "state")
    killed = ChildDiedError("SIGKILL", 9, None)
    monkeypatch.setattr(
        "serving.loading.trial.trial._stages",
        lambda child, job, *_, **__: _Ending(_died(job, "rehearse", killed)),
    )
    trials(state).load(graphs.softmax(), ModelConfig(isolation="none"), fingerprint="f")
    assert state.names(FOLDER) == []
    monkeypatch.setattr(
        "serving.loading.trial.trial._stages",
        lambda child, job, *_, **__: _Ending(_died(job, "load", killed)),
    )
    with pytest.raises(LoadError, match="SIGKILL while it was loaded: most likely for") as caught:
        trials(state).load(graphs.softmax(), fingerprint="f")
    assert caught.value.retry is Retry.LATER


def test_fault_115_a_trial_that_ends_before_it_has_the_version_says_nothing_of_it(
    trials, tmp_path, monkeypatch
):
    """As one without a thread for who listens."""
    state = StateDir(tmp_path / "state")
    ended = ChildDiedError("exit status 1", None, 1)
    monkeypatch.setattr(
        "serving.loading.trial.trial._stages",
        lambda child, job, *_, **__: _Ending(_died(job, "ready", ended)),
    )
    with pytest.raises(LoadError, match="exit status 1 before it was loaded") as caught:
        trials(state).load(graphs.softmax(), fingerprint="f")
    assert caught.value.retry is Retry.LATER
    assert state.names(FOLDER) == []


def test_the_trials_kept_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "MOST", 8)
    state = StateDir(tmp_path / "state")
    kept = TrialCache(state)
    for number in range(6):
        kept.write(f"early{number}", Findings(Analysis("proven")))
    for number in range(8):
        state.write(f"{FOLDER}/others{number}", {})
    for number in range(3):
        kept.write(f"newest{number}", Findings(Analysis("proven")))
    names = state.names(FOLDER)
    assert len(names) == 8
    assert {"newest0", "newest1", "newest2"} <= set(names)


@pytest.mark.parametrize("document", [[], {}, {"schema": 1}, {"schema": 1, "findings": {"x": 1}}])
def test_a_document_that_nobody_wrote_is_not_believed(tmp_path, document):
    state = StateDir(tmp_path / "state")
    state.write(f"{FOLDER}/n", document)
    assert TrialCache(state).read("n") is None


@pytest.mark.parametrize("document", [None, 7, [], {"n": 3}, {"n": {"analysis": {}}}])
def test_a_finding_that_nobody_wrote_is_not_believed(tmp_path, document):
    state = StateDir(tmp_path / "state")
    state.write(f"{FOLDER}/d", {"schema": SCHEMA, "findings": document})
    assert TrialCache(state).read("n") is None


def test_what_loads_that_go_on_together_find_out_is_one_document_and_read_at_once(tmp_path):
    state = StateDir(tmp_path / "state")
    kept, found = TrialCache(state, within_s=600), Findings(Analysis("proven"))
    with kept.gathering():
        with kept.gathering():
            kept.write("a", found)
        kept.write("b", found)
        assert state.names(FOLDER) == []
        assert kept.read("a") == found
    assert len(state.names(FOLDER)) == 1
    assert [TrialCache(state).read(name) for name in "abc"] == [found, found, None]


def test_many_findings_wait_for_no_load_and_the_newest_counts(tmp_path):
    state = StateDir(tmp_path / "state")
    kept, found = TrialCache(state, within_s=600), Findings(Analysis("proven"))
    with kept.gathering():
        for number in range(TOGETHER + 1):
            kept.write(f"n{number}", found)
        assert len(state.names(FOLDER)) == 1
        kept.write("n0", replace(found, died="SIGFPE"))
    for one in (kept, TrialCache(state)):
        assert one.read("n0") == replace(found, died="SIGFPE")
        assert one.read(f"n{TOGETHER}") == found


def test_what_another_process_found_out_meanwhile_is_read(tmp_path):
    """One that serves without the state directory, which is another's."""
    found, other = Findings(Analysis("proven")), TrialCache(StateDir(tmp_path / "state"))
    reads = TrialCache(StateDir(tmp_path / "state", is_ours=False))
    assert reads.read("a") is None
    other.write("a", found)
    assert reads.read("a") == found
    os.utime(tmp_path / "state" / FOLDER, ns=(0, 0))  # not by how fine the system's clock is
    other.write("b", found)
    assert reads.read("b") == found


def test_documents_of_an_earlier_release_go(tmp_path):
    state = StateDir(tmp_path / "state")
    for name, schema in (("old", SCHEMA - 1), ("new", SCHEMA + 1)):
        state.write(f"{FOLDER}/{name}", {"schema": schema, "findings": {}})
    assert TrialCache(state).read("old") is None
    assert state.names(FOLDER) == ["new"]


def test_the_findings_kept_are_bounded_however_many_a_document_has(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "MOST", 8)
    state = StateDir(tmp_path / "state")
    kept, found = TrialCache(state), Findings(Analysis("proven"))
    for number in range(4):
        with kept.gathering():
            for name in "abc":
                kept.write(f"{name}{number}", found)
    assert len(state.names(FOLDER)) == 2
    assert [kept.read(f"a{number}") for number in range(4)] == [None, None, found, found]


def test_a_trial_that_takes_too_long_fails_the_version_and_its_child_ends(trials, started):
    one = trials(loading__trial_timeout_s=0.2)
    with pytest.raises(LoadError, match=r"its trial took longer than 0\.2 s"):
        one.load(_endless())
    assert not any(child.alive for child in started)


def test_fault_106_a_cancelled_trial_ends_at_once_and_its_child_tries_the_next(trials, started):
    one = trials()
    for name in ("a", "b"):
        cancelled = Cancellation()
        trying = threading.Timer(0.3, cancelled.cancel).start
        with pytest.raises(LoadCancelledError):
            one.load(_endless(), name=name, cancelled=cancelled, on_trying=trying)
    assert one.load(graphs.softmax(), name="good").verdict.batched
    assert len(started) == 1


def test_a_trial_that_does_not_obey_ends_with_its_child(trials, started):
    one = trials()
    cancelled = Cancellation()

    def hang():
        os.kill(started[0].pid, signal.SIGSTOP)
        cancelled.cancel()

    with pytest.raises(LoadCancelledError):
        one.load(_endless(), cancelled=cancelled, on_trying=hang)
    assert not started[0].alive


def _endless():
    """A loop whose end is years away."""
    from tests.small_models import looping

    return looping(2**60)


@pytest.mark.parametrize(
    ("mode", "config", "wanted"),
    [
        ("auto", ModelConfig(), True),
        ("auto", ModelConfig(providers_prefer=GPU), False),
        ("auto", ModelConfig(providers_require=GPU), False),
        ("on", ModelConfig(providers_prefer=GPU), True),
        ("off", ModelConfig(), False),
    ],
)
def test_auto_means_on_the_cpu(mode, config, wanted):
    assert is_wanted(config, settings_of(loading__trial=mode)) is wanted


def unfolds(rows: int, columns: int):
    """A sparse constant of one value, which is a dense one of rows x columns once loaded."""
    made = graphs.one("Add", [("x", FLOAT, ["n", columns])], [("y", FLOAT, ["n", columns])])
    made.graph.node[0].input.append("w")
    value = helper.make_tensor("w", FLOAT, [1], [1.0])
    place = helper.make_tensor("w_at", INT64, [1], [0])
    sparse = helper.make_sparse_tensor(value, place, [rows, columns])
    made.graph.sparse_initializer.append(sparse)
    return made


def test_fault_15_a_model_that_grows_beyond_its_memory_fails_in_the_trial(trials):
    """Some hundred bytes that take 800 MB when loaded."""
    with pytest.raises(LoadError) as caught:
        trials(loading__model_memory_bytes=100_000_000).load(unfolds(20_000, 10_000))
    assert caught.value.reason == "it needs more memory than the 100 MB that it may take"


def test_a_version_that_takes_more_than_its_configuration_says_fails_alone(trials):
    """Its files would do; what it takes when loaded would not: weights of one byte each,
    which onnxruntime makes floats of once and for all."""
    nodes = [node("Cast", ["w"], ["floats"], to=FLOAT), node("MatMul", ["x", "floats"], ["y"])]
    values = [("x", FLOAT, ["n", 4])], [("y", FLOAT, ["n", 2_500_000])]
    made = graphs.model(nodes, *values, {"w": np.ones((4, 2_500_000), np.int8)})
    one = trials()
    with pytest.raises(LoadError, match="its files have 10 MB, and it may take 5 MB"):
        one.load(made, ModelConfig(memory_bytes=5_000_000))
    with pytest.raises(LoadError, match=r"it takes [\d.]+ MB, and it may take 35 MB"):
        one.load(made, ModelConfig(memory_bytes=35_000_000, max_batch_size=0))
    assert one.loader.held_bytes == 0
    assert one.load(graphs.softmax(), name="good").facts.memory_bytes > 0


def test_generated_input_that_kills_the_trial_leaves_the_version_served(trials):
    slot = trials().load(dies_when_run())
    assert "its trial ended with SIGFPE on generated input" in slot.facts.notes
    assert slot.facts.isolated == "generated input ended its trial's process"
    assert slot.verdict.max_rows == 0
    assert not slot.facts.checked
    config = ModelConfig(isolation="none")
    assert trials().load(dies_when_run(), config, name="asked").facts.isolated == ""


def divides():
    return graphs.one("Div", [("a", INT64, ["n"]), ("b", INT64, ["n"])], [("y", INT64, ["n"])])


@pytest.mark.parametrize("trial", ["on", "off"])
def test_a_model_that_divides_what_requests_bring_is_isolated(trials, trial):
    slot = trials(loading__trial=trial).load(divides())
    assert slot.facts.isolated.startswith("it divides integers that requests bring")
    assert trials(loading__trial=trial).load(graphs.softmax(), name="other").facts.isolated == ""


def test_a_trial_needs_no_longer_than_it_must(trials):
    """Imports are paid once: the second trial is not a second start."""
    one = trials()
    one.load(graphs.softmax(), name="a")
    start = time.monotonic()
    one.load(graphs.softmax(), name="b")
    assert time.monotonic() - start < 5


def test_fault_14_malformed_graphs_reach_no_native_code_of_the_server(trials):
    """Forty files with a few bytes changed: each loads, or fails with words of ours."""
    whole = graphs.softmax().SerializeToString()
    one, rng = trials(batching__enabled=False), np.random.default_rng(14)
    outcomes = []
    for number in range(40):
        data = np.frombuffer(whole, np.uint8).copy()
        places = rng.integers(0, len(data), rng.integers(1, 4))
        data[places] = rng.integers(0, 256, len(places))
        place = one.folder / "spoilt" / str(number + 1)
        place.mkdir(parents=True)
        (place / "model.onnx").write_bytes(data.tobytes())
        outcomes.append(_outcome(one, number + 1, place))
    assert any(outcomes)
    assert not any("onnxruntime_src" in words or "/" in words for words in outcomes)


def _outcome(one, version, place):
    """Why the load failed; '' where it did not."""
    try:
        slot = one.loader(
            name="spoilt", version=version, path=place, config=ModelConfig(), settings=one.settings
        )
    except LoadError as error:
        return error.reason
    slot.close(10)
    return ""


@pytest.mark.slow
def test_equal_models_take_equal_memory_whatever_was_tried_before(trials, started):
    """In a new child, one used before, and one that has let go of a larger model."""

    def matmul(columns: int):
        values = [("x", FLOAT, ["n", 64])], [("y", FLOAT, ["n", columns])]
        return graphs.one("MatMul", *values, {"w": np.ones((64, columns), np.float32)})

    one, config, small = trials(), ModelConfig(max_batch_size=0), matmul(40_000)
    sizes = [one.load(small, config, name=name).facts.memory_bytes for name in ("a", "b", "c")]
    assert one.load(matmul(120_000), config, name="large").facts.memory_bytes > 30_000_000
    sizes.append(one.load(small, config, name="d").facts.memory_bytes)
    assert len(started) == 1
    one.loader.close()
    sizes.append(one.load(small, config, name="e").facts.memory_bytes)
    assert min(sizes) > 10_000_000
    assert max(sizes) < 1.05 * min(sizes)


def test_the_model_that_pays_for_first_use_is_one():
    session = ort().InferenceSession(tiny_model(), providers=["CPUExecutionProvider"])
    (out,) = session.run(None, {"x": np.zeros((3, 4), np.float32)})
    np.testing.assert_allclose(out, np.full((3, 4), 0.25))


def test_generated_input_that_wants_too_much_memory_is_reported_so(trials):
    """Every run fills 800 MB; the version may take 100."""
    nodes = [
        node("Shape", ["x"], ["n"]),
        node("Mul", ["n", "many"], ["shape"]),
        node("ConstantOfShape", ["shape"], ["big"]),
        node("ReduceSum", ["big"], ["sum"], keepdims=0),
        node("Add", ["x", "sum"], ["y"]),
    ]
    values = [("x", FLOAT, ["n"])], [("y", FLOAT, ["n"])]
    made = graphs.model(nodes, *values, {"many": np.array([200_000_000], np.int64)})
    slot = trials(loading__model_memory_bytes=100_000_000).load(made)
    assert "generated input did not run: it would take too much memory" in slot.facts.notes


def test_a_version_that_no_run_shares_among_threads_has_one(trials, tmp_path):
    """Also after a restart, and where larger runs are possible it keeps them."""
    state, cpus = StateDir(tmp_path / "state"), settings_of().intra_op_threads
    for _ in range(2):
        loaded = trials(state).load(graphs.softmax(), fingerprint="f")
        assert (loaded.facts.threads, loaded.facts.batching.split(":")[0]) == (
            1,
            "batched, up to 64 rows",
        )
    free = graphs.one("Neg", [("x", FLOAT, ["n", "m"])], [("y", FLOAT, ["n", "m"])])
    assert trials(state).load(free, fingerprint="g").facts.threads == cpus
    said = trials(state, threads__intra_op=2)
    assert said.load(graphs.softmax(), fingerprint="f").facts.threads == 2
