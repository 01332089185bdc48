"""What is found out before a version serves: with samples, with guesses, within its means."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from serving.execution.onnx_nodes import read_nodes
from serving.execution.session import load_runner
from serving.loading import warmup
from serving.loading.batching.analysis import Analysis
from serving.loading.batching.verdict import Evidence
from serving.loading.batching.witness import Witness
from serving.loading.inputs.generated import STYLES, Plan
from serving.loading.inputs.samples import Sample
from serving.loading.memory import Meter
from serving.loading.tapping import tap_of
from serving.loading.trial import findings
from serving.loading.trial.findings import Findings, Recipe
from serving.loading.trial.rehearsal import Subject, rehearse, repeat
from serving.model_config.schema import ModelConfig
from serving.settings import Settings, load_settings
from serving.signature import Signature, Tensor
from tests.unit import graphs
from tests.unit.loading.batching.test_live_proof import picky

ROOM = 10**12


class Stage:
    """A real session, every run counted by its rows."""

    def __init__(self, folder, made, name="m"):
        self.graph = read_nodes(made.SerializeToString())
        place = graphs.write(folder, made, name)
        self.runner = load_runner(place, ModelConfig(), Settings())
        self.tap = tap_of(place, ModelConfig(), Settings())
        self.signature = self.runner.signature
        self.ran: list[int] = []

    def run(self, names, feeds):
        self.ran.append(len(next(iter(feeds.values()))))
        return self.runner.run(names, feeds)

    def rehearse(self, samples=(), settings=None, config=None, meter=None):
        return rehearse(
            self.run,
            self.signature,
            config or ModelConfig(),
            settings or Settings(),
            samples,
            meter or Meter(ROOM),
            Subject(self.graph, self.tap),
        )


def picked(*values: int) -> Sample:
    return Sample("s", {"i": np.array(values, np.int64)})


TESTED, _ = load_settings({"batching.open": "tested"}, None, {})


def test_the_users_rows_show_what_generated_input_cannot(tmp_path):
    stage = Stage(tmp_path, picky())
    found = stage.rehearse(settings=TESTED)
    assert (found.analysis.kind, found.evidence.disproved) == ("open", "")
    assert found.evidence.unknown == "the model did not run on generated input"
    assert stage.rehearse([picked(1001, 1007, 1033)], TESTED).evidence == Evidence()


def test_what_is_open_is_not_run_together_unless_that_is_asked_for(tmp_path):
    stage = Stage(tmp_path, picky())
    assert stage.rehearse([picked(1001, 1007)]).evidence.unknown == "nothing was run"


def test_one_row_of_the_users_warms_but_proves_nothing(tmp_path):
    values = [("i", graphs.INT64, ["n"])], [("y", graphs.FLOAT, ["n"])]
    made = graphs.one("Gather", *values, {"d": np.ones(0, np.float32)}, ["d", "i"])
    stage = Stage(tmp_path, made)
    found = stage.rehearse()
    assert (found.recipe, found.cost) == (None, None)
    assert found.notes == ("generated input did not run: the first requests will be slow",)
    assert found.analysis.kind == "proven"
    assert found.evidence.unknown == "the model did not run on generated input"


def test_the_users_rows_warm_each_size_where_nothing_else_runs(tmp_path):
    """Generated indices below 128 never run: neither to prove nor to warm."""
    stage = Stage(tmp_path, refuses_small())
    assert stage.rehearse().recipe is None
    found = stage.rehearse([picked(1001, 1007)])
    assert found.recipe == Recipe("sampled")
    assert found.analysis.kind == "proven"
    assert found.evidence.disproved == ""
    assert {1, 2, 4, 8} <= set(found.seconds)
    assert found.cost is not None
    stage.ran.clear()
    assert repeat(stage.run, stage.signature, Settings(), [picked(1001, 1007)], found) == ""
    assert stage.ran == [2, *sorted(found.seconds)]


def logged(*values: int) -> Sample:
    return Sample("r", {"i": np.array(values, np.int64)}, own=False, logged=True)


def test_of_logged_requests_the_server_repeats_one_of_each_shape(tmp_path):
    """The trial has run all of them: in the server they only warm, which values do not."""
    stage = Stage(tmp_path, refuses_small())
    found = replace(stage.rehearse(), recipe=None)
    requests = [logged(1001), logged(1002), logged(1003, 1004), logged(1), logged(1005, 1006)]
    samples = [*requests, picked(1001, 1002, 1003), picked(1001, 1002, 1003)]
    stage.ran.clear()
    assert repeat(stage.run, stage.signature, Settings(), samples, found) == ""
    assert stage.ran == [3, 3, 1, 2]


def test_logged_requests_are_repeated_for_as_long_as_warming_may_take(tmp_path):
    stage = Stage(tmp_path, refuses_small())
    found = replace(stage.rehearse(), recipe=None)
    short, _ = load_settings({"loading.warmup_timeout_s": "0.001"}, None, {})
    samples = [picked(1001, 1002, 1003), logged(1001), logged(1002), logged(1003, 1004)]
    stage.ran.clear()

    def slow(names, feeds):
        time.sleep(0.002)
        return stage.run(names, feeds)

    words = repeat(slow, stage.signature, short, samples, found)
    assert words == "1 of 2 shapes of logged requests are not warmed: the model is slow"
    assert stage.ran == [3, 1]


def refuses_small():
    """y = table[i - 1000 or far out]: an error for each generated index."""
    nodes = [
        graphs.node("Sub", ["i", "low"], ["at"]),
        graphs.node("Less", ["at", "zero"], ["bad"]),
        graphs.node("Where", ["bad", "away", "at"], ["index"]),
        graphs.node("GatherElements", ["d", "index"], ["y"]),
    ]
    constants = {
        "d": np.arange(200, dtype=np.float32),
        "low": np.array(1000, np.int64),
        "zero": np.array(0, np.int64),
        "away": np.array(10_000, np.int64),
    }
    values = [("i", graphs.INT64, ["n"])], [("y", graphs.FLOAT, ["n"])]
    return graphs.model(nodes, *values, constants)


def test_what_a_trial_measured_is_run_once_each_in_the_server(tmp_path):
    stage = Stage(tmp_path, graphs.softmax())
    found = stage.rehearse()
    assert max(found.seconds) >= 32
    stage.ran.clear()
    assert repeat(stage.run, stage.signature, Settings(), [], found) == ""
    assert stage.ran == sorted(found.seconds)


def test_what_killed_a_trial_is_not_run_in_the_server(tmp_path):
    stage = Stage(tmp_path, graphs.softmax())
    found = Findings(Analysis("proven"), recipe=Recipe("generated"), died="SIGFPE")
    assert repeat(stage.run, stage.signature, Settings(), [], found) == ""
    assert stage.ran == []


def test_the_time_for_warming_is_a_setting(tmp_path):
    stage = Stage(tmp_path, graphs.softmax())
    settings, _ = load_settings({"loading.warmup_timeout_s": 1e-6}, None, {})
    assert "the model is slow" in stage.rehearse(settings=settings).notes[-1]


class Growing(Meter):
    """Grows by so many bytes with each run of twice the rows."""

    def __init__(self, budget, sizes):
        self.budget = budget
        self._sizes = list(sizes)

    @property
    def grown(self):
        return self._sizes.pop(0) if len(self._sizes) > 1 else self._sizes[0]


def test_sizes_that_would_take_too_much_memory_are_not_run():
    """1, 2 and 4 rows took 10, 20 and 40 bytes more; 8 would take 80, and 30 are left."""
    rows = []
    plan = Plan((Tensor("x", "FP32", (-1,)),), {}, STYLES[0], by_rows=True)
    done = warmup.warm(
        lambda names, feeds: rows.append(len(feeds["x"])) or [],
        plan,
        ["y"],
        [1, 2, 4, 8, 16],
        5.0,
        Growing(100, [0, 10, 30, 70]),
    )
    assert done.words == "not warmed from 8 rows on: they would take too much memory"
    assert sorted(done.seconds) == [1, 2, 4]
    assert done.short
    assert max(rows) == 4


@pytest.mark.parametrize("most", [0, 1, 4, 10**9])
def test_findings_say_whether_memory_cut_the_trial_short(tmp_path, most):
    """Wherever it shows: in a guess, in looking at rows together, in warming."""
    stage = Stage(tmp_path, graphs.softmax())
    run = stage.runner.run

    def within(names, feeds, requests=0):
        if len(next(iter(feeds.values()))) > most:
            raise MemoryError
        return run(names, feeds)

    stage.runner.run = within
    found = stage.rehearse()
    assert found.short is (most < 10**9)
    assert (found.recipe is None) is (most == 0)
    plan = Plan(stage.signature.inputs, {}, STYLES[0], by_rows=True)
    names = [tensor.name for tensor in stage.signature.outputs]
    witness = Witness(within, names, ModelConfig().tolerance)
    witness.examine([plan])
    assert witness.short is (most < 10**9)


def test_measuring_ends_when_a_row_gets_no_cheaper(monkeypatch):
    """A model whose time is all in its rows: 16 and 32 save nothing, so 64 is not run."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def run(names, feeds):
        now[0] += len(feeds["x"])
        return []

    plan = Plan((Tensor("x", "FP32", (-1,)),), {}, STYLES[0], by_rows=True)
    done = warmup.warm(run, plan, ["y"], [1, 2, 4, 8, 16, 32, 64], 5.0)
    assert (done.words, sorted(done.seconds)) == ("", [1, 2, 4, 8, 16, 32])
    assert not done.short


# Findings as plain values

FOUND = Findings(
    Analysis("open", "y", "n", "Loop", "why", ("a", "b")),
    Evidence("no", "unknown", "node"),
    ("a note",),
    {1: 0.5, 8: 1.0},
    Recipe("generated", ("x",), (("x", 1, 16),), 2, True),
    1234,
    123,
    "SIGSEGV",
    True,
    "y",
    True,
)


def test_text_that_is_none_keeps_no_findings_from_being_read():
    odd = replace(FOUND, notes=("\udcff" + "x" * 5000,), analysis=Analysis("open", why="\udc80"))
    found = findings.from_plain(findings.to_plain(odd))
    assert found.analysis.why == "\\udc80"
    assert len(found.notes[0]) == 4096


def test_findings_come_back_as_they_were():
    assert findings.from_plain(findings.to_plain(FOUND)) == FOUND
    bare = Findings(Analysis("proven"))
    assert findings.from_plain(findings.to_plain(bare)) == bare


@pytest.mark.parametrize(
    "change",
    [
        {"analysis": None},
        {"analysis": {"kind": "sure"}},
        {"evidence": {"disproved": 1, "unknown": "", "rounding": ""}},
        {"memory_bytes": -1},
        {"memory_bytes": 2**70},
        {"seconds": [[1]]},
        {"seconds": {"1": 2}},
        {"seconds": [[1, float("nan")]]},
        {"notes": "text"},
        {"recipe": {}},
        {"recipe": {"kind": "other", "names": [], "sizes": [], "style": 0, "by_rows": True}},
        {"recipe": {"kind": "sampled", "names": [], "sizes": [], "style": 99, "by_rows": True}},
        {"died": None},
        {"died": "x" * 5000},
        {"short": "no"},
        {"notes": ["a"] * 5000},
        {"notes": ["\ud800"]},
    ],
)
def test_findings_that_nobody_wrote_are_refused(change):
    with pytest.raises(ValueError, match="' of what a trial found out "):
        findings.from_plain({**findings.to_plain(FOUND), **change})
    with pytest.raises(ValueError, match="what a trial found out is not an object"):
        findings.from_plain(None)


def test_a_recipe_of_another_signature_makes_no_plan():
    signature = Signature((Tensor("x", "FP32", (-1, -1)),), ())
    assert Recipe("generated", ("x",), (("x", 1, 4),), 0, True).plan(signature) is not None
    assert Recipe("generated", ("z",), (), 0, True).plan(signature) is None
    assert Recipe("generated", ("x",), (), 0, True).plan(signature) is None
