"""The judge and its child, on real models."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from serving.cancellation import Cancellation
from serving.execution.isolation.parent.process import Child, ChildDiedError
from serving.execution.isolation.parent.starting import use_template
from serving.gates.case import Case, Subject, data_of
from serving.gates.child import Host
from serving.gates.judge import FIRST, MODULE, CalledOffError, Judge, NotNowError
from serving.gates.recorded import Answered, Recorded
from serving.gates.replaying import Request
from serving.gates.running import Running
from serving.gates.said import Timed
from serving.gates.terms import Terms
from serving.gates.verdict import Verdict
from serving.model_config.gates import EvaluationConfig, GatesConfig, Threshold
from serving.model_config.schema import ModelConfig
from serving.settings import Settings
from serving.settings.gates import GatesSettings
from tests import small_models
from tests.bad_versions.models import coupled
from tests.crash_models import divide_by_input, divide_constants
from tests.unit.gates import dies_timed, odd_reader

RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(4, 3)).astype(np.float32)
X = RNG.normal(size=(300, 4)).astype(np.float32)
Y = np.argmax(X @ WEIGHTS, axis=1)
SET = EvaluationConfig(data="e.npz", thresholds=(Threshold("agreement", 0.9),), slices=("side",))


def softmax(weights: Any) -> Any:
    model = small_models.tiny()
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "w"))
    return model


@pytest.fixture(scope="module", autouse=True)
def template() -> Iterator[None]:
    """Children are forked, as a gateway's are: their imports are paid for once."""
    close = use_template([MODULE, odd_reader.__name__, dies_timed.__name__])
    yield
    close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    small_models.write(tmp_path, "m", softmax(WEIGHTS), 1)
    home = tmp_path / "m"
    np.savez(home / "e.npz", x=X, y=Y, side=np.where(X[:, 0] > 1, "right", "left"))
    return home


def subject(home: Path, version: int, evaluation: EvaluationConfig | None = None) -> Subject:
    config = ModelConfig(gates=GatesConfig(evaluation=evaluation))
    return Subject(version, home / str(version), home, config, (), 1000, 10**9, 16)


def recorded(count: int = 8) -> list[Recorded]:
    answered = (Answered("y", "float32", (1, 3), True),)
    inputs = [(("x", "FP32", (1, 4), X[at].tobytes()),) for at in range(count)]
    return [Recorded(1, one, answered) for one in inputs]


def case(home: Path, model: Any, evaluation: EvaluationConfig | None = None, **facts: Any) -> Case:
    if not (home / "2").exists():
        small_models.write(home.parent, "m", model, 2)
    terms = Terms(True, facts.pop("factor", 0.0), evaluation, facts.pop("least", 100))
    candidate = subject(home, 2, evaluation)
    base = subject(home, 1, evaluation)
    known = {"base": base, "base_version": 1, "requests": recorded(), **facts}
    return data_of(Case("m", candidate, terms, **known), "")


def judged(one: Case, **gates: Any) -> Verdict:
    return Judge(Settings(gates=GatesSettings(**gates)))(one, Cancellation())


def failed(verdict: Verdict) -> list[str]:
    return [f"{check.name} {check.slice}".strip() for check in verdict.checks if not check.passed]


def test_a_version_as_good_as_the_answering_one_is_blessed(home: Path) -> None:
    verdict = judged(case(home, softmax(WEIGHTS * 1.01), SET, factor=1000.0))
    assert (verdict.word, failed(verdict)) == ("BLESSED", [])
    assert (verdict.base, verdict.requests, verdict.examples) == (1, 8, 300)
    assert verdict.lasting
    names = {check.name for check in verdict.checks}
    assert names >= {"runs", "finite", "memory_bytes", "p99_s", "examples", "agreement"}


def test_one_that_fails_on_a_slice_is_not(home: Path) -> None:
    """The first feature counts the other way: that shows where there is much of it."""
    bent = WEIGHTS.copy()
    bent[0] *= -3
    asked = replace(SET, thresholds=(Threshold("agreement", 0.5),))
    verdict = judged(case(home, softmax(bent), asked))
    assert failed(verdict) == ["agreement side=right"]


@pytest.mark.parametrize("with_base", [True, False])
def test_one_that_answers_nan_is_not(home: Path, with_base: bool) -> None:
    weights = WEIGHTS.copy()
    weights[0, 0] = np.nan
    found = case(home, softmax(weights))
    if not with_base:
        found = replace(found, base=None, no_base="the files are others")
    verdict = judged(found)
    assert failed(verdict) == ["finite"]
    assert with_base or "not timed: the files are others" in verdict.notes


@pytest.mark.parametrize(("rows", "expected"), [(3, ["rows"]), (1, [])])
def test_one_whose_rows_are_coupled_is_not_where_requests_have_several(
    home: Path, rows: int, expected: list[str]
) -> None:
    inputs = (("x", "FP32", (rows, 4), X[:rows].tobytes()),)
    some = [Recorded(1, inputs, (Answered("y", "float32", (rows, 3), True),))]
    assert failed(judged(case(home, coupled(), requests=some))) == expected


def test_one_whose_rows_are_coupled_is_where_those_of_the_answering_one_are_too(
    home: Path,
) -> None:
    inputs = (("x", "FP32", (3, 4), X[:3].tobytes()),)
    some = [Recorded(1, inputs, (Answered("y", "float32", (3, 3), True),))]
    small_models.write(home.parent, "m", coupled(), 3)
    found = case(home, coupled(), requests=some, base=subject(home, 3), base_version=3)
    assert failed(judged(found)) == []


def test_one_is_not_blamed_for_the_answering_version_that_ends_on_a_row_alone(home: Path) -> None:
    """No client ever sent it alone: beside others the division is another (fact C1)."""
    values = {"A": np.iinfo(np.int32).min, "B": -1}
    inputs = tuple(
        (name, "INT32", (4, 1), np.full((4, 1), value, np.int32).tobytes())
        for name, value in values.items()
    )
    some = [Recorded(3, inputs, (Answered("Y", "int32", (4, 1), True),))]
    small_models.write(home.parent, "m", divide_by_input("INT32"), 3)
    subtract = divide_by_input("INT32")
    subtract.graph.node[0].op_type = "Sub"
    found = case(home, subtract, requests=some, base=subject(home, 3), base_version=3)
    verdict = judged(found)
    assert failed(verdict) == []
    assert "the process ended with SIGFPE" in verdict.notes[0]


def test_one_of_another_shape_is_not_by_generated_input_either(home: Path) -> None:
    wide = softmax(RNG.normal(size=(4, 5)).astype(np.float32))
    wide.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "k"
    verdict = judged(case(home, wide, requests=()))
    assert failed(verdict) == ["shapes and datatypes"]
    assert "no request of version 1 is recorded yet" in verdict.notes[0]


def test_one_that_kills_its_process_is_not(home: Path) -> None:
    verdict = judged(case(home, divide_constants(), requests=(), base=None, first=True))
    assert verdict.words == "runs: the process ended with SIGFPE while version 2 was run"


@pytest.mark.parametrize("good", [True, False])
def test_one_is_not_blamed_for_the_answering_version_that_kills_its_process(
    home: Path, good: bool
) -> None:
    """It is held against the answers that were recorded."""
    found = case(home, softmax(WEIGHTS if good else np.full_like(WEIGHTS, np.nan)))
    small_models.write(home.parent, "m", divide_constants(), 3)
    verdict = judged(replace(found, base=subject(home, 3), base_version=3))
    assert failed(verdict) == ([] if good else ["finite"])
    assert (verdict.base, verdict.requests) == (3, 8)
    assert verdict.notes == (
        "not timed: version 3 could not be run beside it: the process ended with SIGFPE",
    )


def test_a_verdict_says_how_many_requests_failed_on_the_answering_version(home: Path) -> None:
    narrow = softmax(WEIGHTS[:3])
    narrow.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 3
    small_models.write(home.parent, "m", narrow, 3)
    found = case(home, softmax(WEIGHTS))
    verdict = judged(replace(found, base=subject(home, 3), base_version=3))
    assert verdict.blessed
    assert verdict.notes == ("8 of 8 requests failed on version 3: they prove nothing",)


def test_the_first_version_passes_on_being_safe_alone(home: Path) -> None:
    bad = case(home, softmax(-WEIGHTS), SET, base=None, base_version=None, requests=(), first=True)
    verdict = judged(bad)
    assert verdict.blessed
    assert FIRST in verdict.notes
    assert verdict.examples == 0


def test_a_set_that_is_not_there_or_too_small_blesses_nothing(home: Path) -> None:
    verdict = judged(case(home, softmax(WEIGHTS), replace(SET, data="none.npz")))
    assert "cannot be judged: there is no such file" in verdict.words
    found = case(home, softmax(WEIGHTS), replace(SET, data=""))
    assert "neither its gates nor its manifest names a set" in judged(found).words
    found = data_of(found, "../e.npz")
    assert "outside its folder" in judged(found).words


def test_a_set_that_no_reader_expected_blesses_nothing_and_is_not_read_again(
    home: Path,
) -> None:
    """A trouble that lasts is a verdict, not one to be tried again and again."""
    (home / "e.odd").write_bytes(b"1")
    verdict = judged(case(home, softmax(WEIGHTS), replace(SET, data="e.odd", slices=())))
    assert "it cannot be judged: an unexpected error" in verdict.words
    assert verdict.lasting


def test_too_few_examples_bless_nothing(home: Path) -> None:
    assert failed(judged(case(home, softmax(WEIGHTS), SET, least=301))) == ["examples"]


def test_without_scikit_learn_a_version_cannot_be_judged(home: Path) -> None:
    asked = replace(SET, label="y", thresholds=(Threshold("accuracy", 0.5),))
    child = partial(Child, "tests.unit.gates.without_sklearn", name="gates")
    verdict = Judge(Settings(), child)(case(home, softmax(WEIGHTS), asked), Cancellation())
    assert failed(verdict) == ["evaluation"]
    assert "cannot be judged: its metrics need scikit-learn" in verdict.words
    assert "install 'serving[evaluation]'" in verdict.words
    assert not verdict.lasting


def test_one_that_takes_too_long_is_not(home: Path) -> None:
    verdict = judged(case(home, softmax(WEIGHTS), SET), timeout_s=0.001)
    assert verdict.words == "time: its gates took longer than 0.001 s"
    assert not verdict.lasting


def test_what_the_moment_refuses_is_no_verdict(home: Path) -> None:
    def refuses() -> Any:
        raise OSError("no process")

    with pytest.raises(NotNowError, match="no process could be started"):
        Judge(Settings(), refuses)(case(home, softmax(WEIGHTS)), Cancellation())
    called_off = Cancellation()
    called_off.cancel()
    with pytest.raises((CalledOffError, NotNowError)):
        Judge(Settings())(case(home, softmax(WEIGHTS)), called_off)


class ScriptedChild:
    """Answers each step as it was told, and well otherwise."""

    def __init__(self, **answers: Any) -> None:
        self.answers, self.asked = answers, list[dict[str, Any]]()

    def ask(self, message: dict[str, Any], fds: Any = (), timeout: float | None = None) -> Any:
        del fds, timeout
        self.asked.append(message)
        usual = {"checks": []} if message["do"] == "rows" else {"ok": True}
        answer = self.answers.get(message["do"], usual)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def kill(self) -> None:
        """It has no process."""

    def close(self) -> None:
        """As ``kill``."""


REPLAYED = {"checks": [], "counts": {"recorded": 1, "own": 0, "generated": 0}}
SHORT = {"reason": "there is not enough memory for it", "retry": "later", "for_memory": True}


def giving(child: ScriptedChild) -> Any:
    """In place of what starts a child."""
    return lambda: child


def scripted(home: Path, child: ScriptedChild, **facts: Any) -> Verdict:
    return Judge(Settings(), giving(child))(case(home, softmax(WEIGHTS), **facts), Cancellation())


@pytest.mark.parametrize(
    "answers",
    [
        {"replay": ChildDiedError("SIGKILL", 9, None)},
        {"ready": ChildDiedError("SIGSEGV", 11, None)},
        {"replay": {"checks": [{"gate": "none"}], "counts": {}}},
        {"load": {"refused": {"reason": "the disk refused", "retry": "later"}}},
        {"load": {"refused": {"nonsense": 1}}},
    ],
)
def test_what_says_nothing_of_the_version_is_no_verdict(
    home: Path, answers: dict[str, Any]
) -> None:
    with pytest.raises(NotNowError):
        scripted(home, ScriptedChild(**answers))


def test_one_that_needs_more_memory_than_it_may_have_is_not_blessed(home: Path) -> None:
    verdict = scripted(home, ScriptedChild(load={"refused": SHORT}), base=None)
    assert verdict.words == "loads: there is not enough memory for it"


def test_what_could_end_its_process_gets_no_generated_input(home: Path) -> None:
    for isolated in (False, True):
        child = ScriptedChild(replay=REPLAYED)
        found = case(home, softmax(WEIGHTS))
        found = replace(found, candidate=replace(found.candidate, isolated=isolated))
        assert Judge(Settings(), giving(child))(found, Cancellation()).blessed
        said = [one["generates"] for one in child.asked if one["do"] == "replay"]
        assert said == [not isolated] * 2


class FailsLater:
    """A version that runs ``good`` times, and then no more."""

    def __init__(self, good: float) -> None:
        self.good = good

    def run(self, feeds: Any) -> object:
        self.good -= 1
        if self.good < 0:
            raise RuntimeError("out of luck")
        return feeds


@pytest.mark.parametrize(("base", "new"), [(3, 2), (1, 3)])
def test_who_ends_the_process_while_both_are_timed_is_told_from_the_other(
    home: Path, base: int, new: int
) -> None:
    small_models.write(home.parent, "m", softmax(WEIGHTS), 3)
    found = case(home, softmax(WEIGHTS), factor=1000.0)
    found = replace(
        found, candidate=subject(home, new), base=subject(home, base), base_version=base
    )
    spawn = partial(Child, dies_timed.__name__, name="gates")
    verdict = Judge(Settings(), spawn)(found, Cancellation())
    ended = "the process ended with SIGFPE"
    if new == 3:
        assert verdict.words == f"runs: {ended} while version 3 was run"
    else:
        assert verdict.blessed
        assert verdict.notes == (f"not timed: version 3 could not be run beside it: {ended}",)


@pytest.mark.parametrize(("base", "candidate"), [(math.inf, 3), (3, math.inf)])
def test_one_that_fails_only_while_it_is_timed_is_found_out(base: float, candidate: float) -> None:
    host = Host()
    versions = {"base": FailsLater(base), "candidate": FailsLater(candidate)}
    host._versions = versions  # type: ignore[assignment]  # stand-ins
    host._requests, host._base = [Request("own", "it", {})], [{}]
    running = Running()
    said = host.handle({"do": "time", "factor": 2.0}, [os.dup(running.fd)])
    # Who ran last, whatever came of it.
    assert running.which == ("base" if base < candidate else "candidate")
    running.close()
    timed = Timed.of(said)
    if base < candidate:
        assert timed.checks == ()
        assert timed.untimed
    else:
        (check,) = timed.checks
        assert (check.name, check.passed) == ("runs", False)
        assert check.words.startswith("it failed while it was timed: ")


def test_what_can_not_be_timed_is_told_of(home: Path) -> None:
    said = {"checks": [], "untimed": "it failed"}
    verdict = scripted(home, ScriptedChild(replay=REPLAYED, time=said), factor=2.0)
    assert "not timed: version 1 failed meanwhile: it failed" in verdict.notes
    short = scripted(home, ScriptedChild(replay=REPLAYED, time={"refused": SHORT}), factor=2.0)
    assert short.words == "runs: it failed while it was timed: there is not enough memory for it"


@pytest.mark.parametrize(
    ("answers", "broken"),
    [
        ({"replay": ChildDiedError("SIGKILL", 9, None)}, True),
        ({"ready": ChildDiedError("SIGSEGV", 11, None)}, False),
        ({"replay": {"checks": [{"gate": "none"}], "counts": {}}}, True),
        ({"load": {"refused": {"reason": "the disk refused", "retry": "later"}}}, False),
        ({"load": {"refused": {"nonsense": 1}}}, True),
    ],
)
def test_what_the_version_may_be_to_blame_for_is_told_from_the_moment(
    home: Path, answers: dict[str, Any], broken: bool
) -> None:
    with pytest.raises(NotNowError) as error:
        scripted(home, ScriptedChild(**answers))
    assert error.value.broken is broken
