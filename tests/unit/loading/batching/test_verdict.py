"""Which versions are batched: by the graph's proof, a test, and what is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from serving.execution.isolation.integer_division import graph_divides_integers
from serving.execution.onnx_nodes import read_nodes
from serving.execution.session import load_runner
from serving.loading.batching.analysis import Analysis, why_never
from serving.loading.batching.verdict import (
    Evidence,
    Intent,
    decide,
    intent,
    needs_test,
    on_providers,
    undecided,
)
from serving.loading.memory import Meter
from serving.loading.tapping import tap_of
from serving.loading.trial.rehearsal import Subject, rehearse
from serving.model_config.schema import ModelConfig, Tolerance
from serving.settings import Settings, load_settings
from serving.signature import Signature, Tensor
from tests.unit import graphs
from tests.unit.graphs import BF16, FLOAT, FP16, INT64, node, one

A, Y = ("a", FLOAT, ["n", 3]), ("y", FLOAT, ["n", 3])
TESTED, _ = load_settings({"batching.open": "tested"}, None, {})

PROVEN = Analysis("proven")
COUPLED = Analysis("coupled", "y", "q", "DynamicQuantizeLinear", "one scale")
NEVER = Analysis("not batchable", "y", "k", "Compress", "rows by data")
OPEN = Analysis("open", "y", "s", "SequenceAt", "no rule")
FREE, ASKED = Intent(16, False), Intent(16, True)
TEST = Intent(16, False, open_tested=True)
YES, NO, NOTHING = Evidence(), Evidence(disproved="changes"), Evidence(unknown="did not run")


# The table of verdicts: (wanted, analysis, tested) -> batched, may be cut, said loudly, words.
TABLE = [
    (FREE, PROVEN, YES, (True, True, False), "batched, up to 16 rows: proven"),
    (FREE, PROVEN, NOTHING, (True, True, False), "batched, up to 16 rows: proven"),
    (FREE, PROVEN, NO, (False, True, True), "please report it): changes"),
    (FREE, PROVEN, Evidence(rounding="r"), (True, True, False), "proven, rounding before node r"),
    (FREE, COUPLED, YES, (False, True, False), "coupled: output 'y': node q (DynamicQuantize"),
    (TEST, COUPLED, YES, (False, True, False), "unbatched: coupled"),
    (ASKED, COUPLED, NO, (True, True, False), "accepted by configuration, rows may influence"),
    (ASKED, NEVER, YES, (False, True, True), "not batchable: output 'y': node k (Compress)"),
    (FREE, OPEN, YES, (False, True, False), "open: output 'y': node s (SequenceAt): no rule"),
    (TEST, OPEN, YES, (True, False, False), "tested, not proven"),
    (ASKED, OPEN, YES, (True, True, False), "tested, not proven"),
    (TEST, OPEN, NO, (False, True, False), "open, and a test says no: changes"),
    (ASKED, OPEN, NO, (False, True, True), "open, and a test says no: changes"),
    (TEST, OPEN, NOTHING, (False, True, False), "not tested: did not run"),
    (ASKED, OPEN, NOTHING, (True, True, False), "neither proven nor tested"),
    (Intent(0, False, "unbatched by x"), PROVEN, YES, (False, True, False), "unbatched by x"),
]


@pytest.mark.parametrize(("wanted", "analysis", "tested", "expected", "words"), TABLE)
def test_the_graph_decides_then_a_test_then_what_is_asked_for(
    wanted, analysis, tested, expected, words
):
    found = decide(wanted, analysis, tested)
    assert (found.batched, found.may_cut, found.surprising) == expected
    assert words in found.words
    assert bool(found.max_rows) == found.batched
    assert found.open == (not found.batched and tested is NOTHING)


def test_only_what_a_test_could_change_is_tested():
    assert needs_test(FREE, PROVEN)
    assert not needs_test(FREE, OPEN)
    assert needs_test(TEST, OPEN)
    assert needs_test(ASKED, OPEN)
    assert not needs_test(ASKED, COUPLED)
    assert not needs_test(ASKED, NEVER)
    assert not needs_test(Intent(0, False), PROVEN)


def test_what_killed_its_trial_is_batched_only_where_that_is_asked_for():
    assert not undecided(FREE, "it died").batched
    assert "not proven: it died" in undecided(ASKED, "it died").words
    assert undecided(Intent(0, False, "unbatched by x"), "it died").words == "unbatched by x"
    never = undecided(ASKED, "it died", "input 'X' has no dimensions")
    assert (never.batched, never.surprising) == (False, True)


def test_providers_that_quantise_by_themselves_leave_a_proof_open():
    assert on_providers(PROVEN, {"CPUExecutionProvider"}) is PROVEN
    found = on_providers(PROVEN, {"CPUExecutionProvider", "TensorrtExecutionProvider"})
    assert (found.kind, found.why.split()[0]) == ("open", "TensorrtExecutionProvider")
    assert on_providers(COUPLED, {"TensorrtExecutionProvider"}) is COUPLED


def test_a_bound_of_rows_is_no_wish():
    assert intent(ModelConfig(max_batch_size=8), Settings()) == Intent(8, False)
    assert intent(ModelConfig(batching=True), Settings()) == Intent(64, True)


@pytest.mark.parametrize("config", [ModelConfig(batching=False), ModelConfig(max_batch_size=0)])
def test_the_configuration_may_forbid_batching(config):
    assert intent(config, Settings()) == Intent(0, False, "unbatched by the model's configuration")


def test_the_settings_may_forbid_batching_and_a_model_may_ask_for_it_still():
    settings, _ = load_settings({"batching.enabled": "false"}, None, {})
    assert intent(ModelConfig(max_batch_size=8), settings).max_rows == 0
    assert intent(ModelConfig(batching=True), settings).max_rows == 64


def test_the_most_rows_come_from_the_configuration_else_the_settings():
    settings, _ = load_settings({"batching.max_rows": "9"}, None, {})
    assert intent(ModelConfig(), settings).max_rows == 9
    assert intent(ModelConfig(max_batch_size=5), settings).max_rows == 5


def test_what_is_open_is_tested_where_the_setting_says_so():
    assert not intent(ModelConfig(), Settings()).open_tested
    assert intent(ModelConfig(), TESTED).open_tested


# Real models and runs.


def judge(made, tmp_path, config=None, settings=None):
    place = graphs.write(tmp_path, made)
    return judge_at(place, config or ModelConfig(), settings or Settings())


def judge_at(place, config, settings):
    runner = load_runner(place, config, settings)
    graph = read_nodes((place / "model.onnx").read_bytes())
    subject = Subject(graph, tap_of(place, config, settings), graph_divides_integers(graph))
    meter = Meter(10**12)
    found = rehearse(runner.run, runner.signature, config, settings, (), meter, subject)
    return decide(intent(config, settings), found.analysis, found.evidence)


def test_independent_rows_are_proven(tmp_path):
    verdict = judge(graphs.softmax(), tmp_path)
    assert (verdict.batched, verdict.max_rows) == (True, 64)
    assert verdict.words == "batched, up to 64 rows: proven"


@pytest.mark.parametrize("kind", [FP16, BF16])
def test_narrow_floats_are_proven_within_their_rounding(tmp_path, kind):
    made = graphs.model(
        [node("Softmax", ["a"], ["y"])], [("a", kind, ["n", 3])], [("y", kind, ["n", 3])], ir=10
    )
    if kind == BF16:
        made = one("Identity", [("a", kind, ["n", 3])], [("y", kind, ["n", 3])])
    assert judge(made, tmp_path).words == "batched, up to 64 rows: proven"


def test_fault_91_shapes_that_forbid_batching_are_named(tmp_path):
    fixed = judge(one("Neg", [("a", FLOAT, [1, 3])], [("y", FLOAT, [1, 3])]), tmp_path)
    words = "unbatched: not batchable: input 'a' has no variable first dimension (shape [1, 3])"
    assert fixed.words == words
    scalar = judge(one("ReduceSum", [A], [("y", FLOAT, [])], keepdims=0), tmp_path)
    assert scalar.words == "unbatched: not batchable: output 'y' has no dimensions"


def test_a_proof_needs_no_input_on_which_the_model_runs(tmp_path):
    """An empty table: no index fits."""
    values = [("i", INT64, ["n"])], [("y", FLOAT, ["n"])]
    made = one("Gather", *values, {"d": np.ones(0, np.float32)}, ["d", "i"])
    assert judge(made, tmp_path).words == "batched, up to 64 rows: proven"


def open_model(operator=None, constants=None, **attributes):
    """A graph that the rules lose, before or behind one more operator."""
    place = {"z_place": np.array(0, np.int64), **(constants or {})}
    if operator is None:
        return graphs.model(
            [*graphs.unfollowed("a", "z"), node("Neg", ["z"], ["y"])], [A], [Y], place
        )
    more = node(operator, ["z", *(constants or {})], ["y"], **attributes)
    return graphs.model([*graphs.unfollowed("a", "z"), more], [A], [Y], place)


def test_what_is_open_runs_alone_until_a_test_is_asked_for(tmp_path):
    alone = judge(open_model(), tmp_path)
    assert not alone.batched
    assert "open: output 'y': node of 'z_list' (SequenceConstruct)" in alone.words
    tested = judge(open_model(), tmp_path, settings=TESTED)
    assert (tested.batched, tested.may_cut) == (True, False)
    asked = judge(open_model(), tmp_path, ModelConfig(batching=True))
    assert (asked.batched, asked.may_cut) == (True, True)


@pytest.mark.parametrize(
    ("operator", "constants", "attributes"),
    [
        ("CumSum", {"axis": np.asarray(0, np.int64)}, {}),
        ("Softmax", {}, {"axis": 0}),
        ("LpNormalization", {}, {"axis": 0}),
    ],
)
def test_a_test_shows_rows_that_meet(tmp_path, operator, constants, attributes):
    made = open_model(operator, constants, **attributes)
    verdict = judge(made, tmp_path, ModelConfig(batching=True), TESTED)
    assert (verdict.batched, verdict.surprising) == (False, True)
    assert "a row's answer changes" in verdict.words


def test_a_test_shows_rows_that_meet_only_beside_an_outlier(tmp_path):
    """A scale of the batch that only a value above 1,000 moves; the answer is a flag."""
    nodes = [
        *graphs.unfollowed("a", "z"),
        node("ReduceMax", ["z"], ["m"], keepdims=0),
        node("Max", ["m", "thousand"], ["scale"]),
        node("Div", ["z", "scale"], ["small"]),
        node("Greater", ["small", "bound"], ["y"]),
    ]
    constants = {
        "z_place": np.array(0, np.int64),
        "thousand": np.float32(1000),
        "bound": np.float32(0.0002),
    }
    made = graphs.model(nodes, [A], [("y", graphs.BOOL, ["n", 3])], constants)
    assert not judge(made, tmp_path, settings=TESTED).batched


@pytest.mark.parametrize("config", [ModelConfig(), ModelConfig(batching=True)])
def test_a_test_shows_one_scale_for_the_whole_batch_behind_what_the_rules_lost(tmp_path, config):
    """Quantised by the batch's range; an integer step and a division come on top."""
    nodes = [
        *graphs.unfollowed("a", "z"),
        node("DynamicQuantizeLinear", ["z"], ["q", "scale", "zero"]),
        node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    made = graphs.model(nodes, [A], [Y], {"z_place": np.array(0, np.int64)})
    verdict = judge(made, tmp_path, config, TESTED)
    assert not verdict.batched
    assert "a row's answer changes with the rows beside it" in verdict.words


@pytest.mark.parametrize("least", [1, 50, 5000])
def test_a_test_shows_a_division_by_the_largest_of_the_batch(tmp_path, least):
    """To the graph's eye the division may be one of integers."""
    nodes = [
        *graphs.unfollowed("a", "z"),
        node("ReduceMax", ["z"], ["m"], keepdims=0),
        node("Max", ["m", "least"], ["by"]),
        node("Div", ["z", "by"], ["y"]),
    ]
    constants = {"z_place": np.array(0, np.int64), "least": np.float32(least)}
    assert not judge(graphs.model(nodes, [A], [Y], constants), tmp_path, settings=TESTED).batched


def test_rows_that_multiply_are_found_out(tmp_path):
    made = graphs.model([node("Concat", ["a", "a"], ["y"], axis=0)], [A], [("y", FLOAT, ["m", 3])])
    assert "coupled: output 'y': node of 'y' (Concat)" in judge(made, tmp_path).words


def test_a_wish_accepts_rows_that_influence_each_other_and_the_status_says_so(tmp_path):
    made = one("ReduceMean", [A], [Y], axes=[0], keepdims=1)
    made.graph.node.append(node("Sub", ["a", "mean"], ["y"]))
    made.graph.node[0].output[0] = "mean"
    assert not judge(made, tmp_path, ModelConfig(max_batch_size=8)).batched
    verdict = judge(made, tmp_path, ModelConfig(batching=True))
    assert verdict.batched
    assert "accepted by configuration, rows may influence each other" in verdict.words


def test_rounding_before_a_step_is_no_meeting_of_rows(tmp_path, monkeypatch):
    """A label that jumps with the last digit of what it is made from."""
    made = graphs.model(
        [
            node("ReduceSum", ["a", "ax"], ["s"], name="sum"),
            node("Floor", ["s"], ["y"], name="cut"),
        ],
        [A],
        [("y", FLOAT, ["n", 1])],
        {"ax": np.array([1], np.int64)},
    )
    place = graphs.write(tmp_path, made)
    config, settings = ModelConfig(), Settings()
    runner = load_runner(place, config, settings)
    inside = tap_of(place, config, settings)

    def jumps(names, feeds):
        """Together, ordinary rows answer one step higher."""
        outputs = [np.array(array) for array in runner.run(names, feeds)]
        if len(feeds["a"]) > 1:
            outputs[0] += 1
        return outputs

    graph = read_nodes(made.SerializeToString())
    subject = Subject(graph, inside)
    meter = Meter(10**12)
    found = rehearse(jumps, runner.signature, config, settings, (), meter, subject)
    assert found.evidence == Evidence(rounding="cut")
    without = Subject(graph, None)
    found = rehearse(jumps, runner.signature, config, settings, (), meter, without)
    assert "may change behind 's', a step's input" in found.evidence.disproved


def test_a_proof_that_a_test_contradicts_is_not_believed(tmp_path):
    made = graphs.softmax()
    place = graphs.write(tmp_path, made)
    runner = load_runner(place, ModelConfig(), Settings())

    def shifted(names, feeds):
        outputs = [np.array(array) for array in runner.run(names, feeds)]
        return [array + float((np.abs(feeds["x"]) > 1e4).any()) for array in outputs]

    subject = Subject(read_nodes(made.SerializeToString()))
    found = rehearse(
        shifted, runner.signature, ModelConfig(), Settings(), (), Meter(10**12), subject
    )
    assert found.analysis.kind == "proven"
    assert "a row's answer changes" in found.evidence.disproved


def test_the_users_tolerance_may_be_wider(tmp_path):
    place = graphs.write(tmp_path, graphs.softmax())
    runner = load_runner(place, ModelConfig(), Settings())

    def coarse(names, feeds):
        return [np.array(a) * (1 + 2e-3 * (len(feeds["x"]) > 1)) for a in runner.run(names, feeds)]

    subject = Subject(read_nodes(graphs.softmax().SerializeToString()))
    for tolerance, disproved in ((Tolerance(), True), (Tolerance(rtol=0.01), False)):
        config = ModelConfig(tolerance=tolerance)
        found = rehearse(coarse, runner.signature, config, Settings(), (), Meter(10**12), subject)
        assert bool(found.evidence.disproved) == disproved


def test_why_never_has_words_for_a_model_without_inputs():
    signature = Signature((), (Tensor("y", "FP32", (-1,)),))
    assert why_never(signature) == "the model has no inputs"


@pytest.mark.real_model
@pytest.mark.parametrize("name", ["magika", "ocr_cls"])
def test_fault_29_real_models_with_a_batch_axis_are_proven(tmp_path, real_model, name):
    verdict = judge_at(_lay(tmp_path, real_model(name)), ModelConfig(), Settings())
    assert verdict.words == "batched, up to 64 rows: proven"


@pytest.mark.real_model
@pytest.mark.parametrize("name", ["silero_vad", "silero_vad_16k_sequence"])
def test_real_models_whose_axis_0_is_not_the_batch_are_unbatched(tmp_path, real_model, name):
    verdict = judge_at(_lay(tmp_path, real_model(name)), ModelConfig(), Settings())
    assert not verdict.batched
    assert "first dimension" in verdict.words


def _lay(folder, file):
    place = folder / "m" / "1"
    place.mkdir(parents=True)
    (place / "model.onnx").write_bytes(file.read_bytes())
    return place
