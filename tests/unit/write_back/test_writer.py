"""The thread that writes back: what it is told is kept, tried again, and told of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from serving.gates.verdict import Verdict
from serving.mlflow_rest import MlflowError, OneError, RefusedError
from serving.models.state import Slot, SlotKey, State
from serving.models.views import ModelView, VersionView
from serving.registry.mlflow.answers import RegisteredVersion
from serving.registry.snapshot import Origin
from serving.rollout.canary import Phase, Rollout
from serving.rollout.route import Split
from serving.settings.registry import MOST_TAGS, WriteBackSettings
from serving.state_dir import StateDir
from serving.write_back.book import MOST_JUDGEMENTS, Book
from serving.write_back.kept import FOLDER, Kept
from serving.write_back.terms import Terms, terms_of
from serving.write_back.writer import Registry, WriteBack

OURS, OTHER = cast("Origin", object()), cast("Origin", object())
TERMS = Terms("champion", {"stage": "production"}, verdicts=True, verdict_tag="validation_status")


class FakeCalls:
    """A registry in memory. ``trouble``: raised by the next calls, the last one for ever."""

    def __init__(self) -> None:
        self.named: dict[str, int | None] = {"champion": 2}
        self.tagged: dict[int, dict[str, str]] = {2: {}, 3: {}}
        self.logged: list[tuple[str, Mapping[str, object]]] = []
        self.trouble: dict[str, MlflowError] = {}
        self.asked: list[str] = []

    def close(self) -> None:
        pass

    def aliases(self, model: str) -> Mapping[str, int]:
        self._ask("aliases")
        return {alias: version for alias, version in self.named.items() if version is not None}

    def set_alias(self, model: str, alias: str, version: int | None) -> None:
        self._ask("set_alias")
        self.named[alias] = version

    def tags(self, model: str, version: int) -> Mapping[str, str]:
        self._ask(f"tags {model}")
        return dict(self.tagged[version])

    def set_tag(self, model: str, version: int, key: str, value: str | None) -> None:
        self._ask("set_tag")
        if value is None:
            self.tagged[version].pop(key, None)
        else:
            self.tagged[version][key] = value

    def log_metrics(self, run: str, metrics: Sequence[Mapping[str, object]]) -> None:
        self._ask("log_metrics")
        self.logged += [(run, one) for one in metrics]

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        for part, error in self.trouble.items():
            if part in what:
                raise error


class World:
    """Version 2 answers, 3 is to; all of it is kept in a folder."""

    def __init__(self, folder: Path, terms: Terms = TERMS) -> None:
        self.folder, self.terms = folder, terms
        self.calls = FakeCalls()
        self.now = 0.0
        self.hints = 0
        self.origins: dict[int, Origin] = {}
        self.begin_anew()

    def begin_anew(self, state: StateDir | None = None) -> WriteBack:
        self.state = state or StateDir(self.folder)
        registry = Registry(
            "http://m", lambda: self.calls, self._registered, self._named, self._hint
        )
        self.back = WriteBack(
            registry,
            self.terms,
            Book(Kept(self.state, "http://m"), self.terms),
            lambda model: self.view(),
            mono=lambda: self.now,
            wall=lambda: self.now,
        )
        return self.back

    def view(self, pinned: int | None = None, **weights: int) -> ModelView:
        versions = tuple(VersionView(n, State.READY, self.origins.get(n, OURS)) for n in (1, 2, 3))
        split = Split({int(one[1:]): weight for one, weight in weights.items()})
        return ModelView("m", versions, pinned=pinned, split=split)

    def _registered(self, model: str, number: int, origin: Origin) -> RegisteredVersion | None:
        return RegisteredVersion(number, run_id=f"run-{number}") if origin is OURS else None

    def _named(self, model: str, alias: str) -> int | None:
        return self.calls.named.get(alias)

    def _hint(self) -> None:
        self.hints += 1

    def promote(self) -> None:
        running = Rollout("m", 3, 2, phase=Phase.RUNNING)
        self.back.on_rollout(running, Rollout("m", 3, 2, phase=Phase.PROMOTED, changed=1.0))

    def route(self, pinned: int | None = None, **weights: int) -> None:
        self.back.on_change({"m": self.view(pinned, **weights), "gone": None})

    def judged(self, version: int, blessed: bool, origin: Origin = OURS, model: str = "m") -> None:
        slot = Slot(1, SlotKey(model, version, "", ""), origin, 0.0)
        self.back.on_verdict(slot, Verdict(blessed, 5.0))

    @property
    def counts(self) -> dict[str, int]:
        found = self.back.outcomes.snapshot()
        return {"/".join(key): count for key, count in found.items() if count}


def test_a_promotion_is_written_and_taken_back_after_a_restart(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.promote()
    world.back.attempt()
    assert world.calls.named == {"champion": 3}
    assert world.calls.tagged[3] == {"stage": "production"}
    assert world.counts == {"alias/written": 1, "tags/written": 1}
    assert world.hints == 1
    world.route(v3=100)
    world.begin_anew()
    assert world.back.status().waiting == 0
    world.back.attempt()
    assert world.counts == {}
    world.route(pinned=2)
    assert world.back.status().waiting == 1
    world.begin_anew()
    world.back.attempt()
    assert world.calls.named == {"champion": 2}
    assert world.calls.tagged[3] == {}
    asked = len(world.calls.asked)
    world.back.attempt()
    assert len(world.calls.asked) == asked


def test_as_many_tags_as_may_be_set_outlive_a_restart(tmp_path: Path) -> None:
    words = [f"key{at}=value" for at in range(MOST_TAGS)]
    settings = WriteBackSettings(tags=tuple(words))
    world = World(tmp_path, terms_of(settings, ()))
    world.promote()
    world.begin_anew()
    assert world.back.status().waiting == 1
    world.back.attempt()
    assert [f"{key}={value}" for key, value in world.calls.tagged[3].items()] == words


def test_only_versions_of_the_registry_are_told_of(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.origins = {3: OTHER}
    world.promote()
    world.judged(3, True, OTHER)
    world.back.attempt()
    assert world.calls.asked == []
    assert world.back.status().waiting == 0


def test_a_rollout_that_is_rolled_back_changes_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    running = Rollout("m", 3, 2, phase=Phase.RUNNING)
    world.back.on_rollout(running, Rollout("m", 3, 2, phase=Phase.ROLLED_BACK))
    done = Rollout("m", 3, 2, phase=Phase.PROMOTED)
    world.back.on_rollout(done, done)
    assert world.back.status().promotions == ()


def test_it_is_tried_again_more_and_more_seldom_while_the_registry_is_down(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.calls.trouble = {"": MlflowError("no answer: connection refused")}
    world.promote()
    world.judged(3, True)
    waits = [world.back.attempt() for _ in range(8)]
    assert all(1 / 2 <= wait <= 30 for wait in waits)
    assert waits[-1] >= 15
    status = world.back.status()
    assert (status.waiting, status.failures, status.error) == (
        2,
        8,
        "no answer: connection refused",
    )
    # After each a server that does not answer is asked no second question.
    assert len(world.calls.asked) == 8
    world.begin_anew()
    assert world.back.status().waiting == 1  # the verdict was kept by the thread, which never ran
    world.calls.trouble = {}
    world.judged(3, True)
    world.back.attempt()
    assert world.calls.named == {"champion": 3}
    assert world.back.status().waiting == 0


def test_what_one_is_refused_keeps_no_other_back(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.calls.trouble = {"alias": RefusedError(404, "RESOURCE_DOES_NOT_EXIST", ": gone")}
    world.promote()
    world.back.attempt()
    assert world.counts == {"alias/refused": 1, "tags/written": 1}
    (one,) = world.back.status().promotions
    assert one.said.startswith("alias 'champion' could not be written: MLflow refused with")
    world.calls.trouble = {"tags a": OneError("answered status 403")}
    world.judged(3, False, model="a")
    world.judged(3, True, model="b")
    assert world.back.attempt() < 31
    assert world.calls.tagged[3]["validation_status"] == "BLESSED"
    assert world.back.status().waiting == 1


def test_what_the_server_never_answers_keeps_no_other_back_for_ever(tmp_path: Path) -> None:
    """It may be the one thing that it fails on."""
    world = World(tmp_path)
    error = MlflowError("answered status 500, INTERNAL_ERROR")
    world.calls.trouble = {"tags a": error, "tags c": error}
    for model, version in (("a", 2), ("b", 3), ("c", 2)):
        world.judged(version, True, model=model)
    for _ in range(3):
        world.back.attempt()
    assert world.calls.tagged[3]["validation_status"] == "BLESSED"
    assert world.back.status().waiting == 2
    world.calls.trouble = {}
    assert world.back.attempt() == float("inf")
    assert world.back.status().waiting == 0


def test_verdicts_are_a_tag_and_metrics_and_the_last_one_counts(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.judged(3, False)
    world.judged(3, True)
    world.back.attempt()
    assert world.calls.tagged[3] == {"validation_status": "BLESSED"}
    logged = [(run, one["key"], one["value"], one["timestamp"]) for run, one in world.calls.logged]
    assert ("run-3", "gates/blessed", 1.0, 5000) in logged
    assert world.counts == {"verdict/written": 1}


def test_verdicts_that_wait_are_kept_and_bounded(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.calls.trouble = {"": MlflowError("down")}
    for number in range(MOST_JUDGEMENTS + 5):
        world.judged(number + 1, True)
    world.back.stop()
    assert world.counts == {"verdict/dropped": 5}
    assert len(world.state.names(FOLDER)) == MOST_JUDGEMENTS
    world.begin_anew()
    assert world.back.status().waiting == MOST_JUDGEMENTS


def test_what_changes_while_it_is_written_is_written_anew(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.promote()
    set_alias = world.calls.set_alias

    def meanwhile(model: str, alias: str, version: int | None) -> None:
        set_alias(model, alias, version)
        world.calls.set_alias = set_alias  # type: ignore[method-assign]  # once
        world.route(pinned=2)

    world.calls.set_alias = meanwhile  # type: ignore[method-assign]  # what comes in between
    world.back.attempt()
    assert world.back.status().waiting == 1
    world.back.attempt()
    assert world.calls.named == {"champion": 2}


def test_documents_that_are_none_of_ours_are_passed_over(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.promote()
    world.state.write(f"{FOLDER}/p-odd", {"form": 1, "registry": "http://m", "more": 1})
    other: dict[str, Any] = {"form": 1, "registry": "http://other"}
    world.state.write(f"{FOLDER}/p-other", other)
    world.begin_anew()
    assert [one.model for one in world.back.status().promotions] == ["m"]


def test_nothing_of_promotions_is_kept_where_neither_alias_nor_tags_are_set(tmp_path: Path) -> None:
    world = World(tmp_path, Terms(verdicts=False))
    world.promote()
    world.judged(3, True)
    assert world.back.status().waiting == 0
    assert not world.state.names(FOLDER)


def test_promotions_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.write_back.book.MOST_PROMOTIONS", 3)
    world = World(tmp_path)
    for number in range(6):
        done = Rollout(f"m{number}", 3, 2, phase=Phase.PROMOTED, changed=float(number))
        world.back.on_rollout(None, done)
    for back in (world.back, world.begin_anew()):
        assert [one.model for one in back.status().promotions] == ["m3", "m4", "m5"]


def test_a_tag_that_is_not_written_is_told_of_where_there_would_be_one(tmp_path: Path) -> None:
    world = World(tmp_path, Terms(verdicts=True, note="no tag is written"))
    with capture_logs() as logs:
        for version in (2, 3):
            world.judged(version, True)
    assert [one["reason"] for one in logs] == ["no tag is written"]
    world.back.attempt()
    assert world.calls.tagged == {2: {}, 3: {}}
    assert world.calls.logged


def test_an_error_of_ours_keeps_no_other_back_and_ends_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.promote()
    world.judged(3, True)
    world.calls.aliases = None  # type: ignore[method-assign,assignment]  # a bug
    assert world.back.attempt() <= 1
    assert world.calls.tagged[3]["validation_status"] == "BLESSED"
    assert world.back.status().error == "an internal error"
    del world.calls.aliases  # type: ignore[method-assign]  # it is mended
    assert world.back.attempt() == float("inf")
    assert world.calls.named == {"champion": 3}


def test_a_verdict_s_tag_that_somebody_else_set_stays(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.calls.tagged[3] = {"validation_status": "approved"}
    world.judged(3, False)
    with capture_logs() as logs:
        world.back.attempt()
    assert world.calls.tagged[3] == {"validation_status": "approved"}
    assert world.calls.logged
    assert world.counts == {"verdict/left_alone": 1}
    (said,) = (one["reason"] for one in logs if one["event"] == "write_back")
    assert said == (
        "NOT_BLESSED; tag 'validation_status' is 'approved': somebody else set it, and it stays"
    )


def test_what_the_settings_ask_for_no_more_is_not_written(tmp_path: Path) -> None:
    """Of a promotion of an earlier life, which a rollback takes back."""
    world = World(tmp_path)
    world.promote()
    world.back.attempt()
    world.terms = Terms(verdicts=True)
    world.begin_anew()
    world.route(pinned=2)
    world.back.attempt()
    assert world.calls.named == {"champion": 3}
    assert world.calls.tagged[3] == {"stage": "production"}
    world.terms = Terms("other", {"stage": "production"})
    world.begin_anew()
    world.route(pinned=2)
    world.back.attempt()
    assert world.calls.named == {"champion": 3}
    assert world.calls.tagged[3] == {}


def test_what_another_gateway_left_is_gone_on_with(tmp_path: Path) -> None:
    """It was promoted there, and is taken back here; what was decided here is kept there."""
    theirs = World(tmp_path)
    theirs.promote()
    theirs.back.attempt()
    ours = World(tmp_path)
    ours.calls = theirs.calls
    ours.begin_anew(StateDir(None))
    ours.judged(2, True)
    ours.back.take_state(StateDir(tmp_path))
    ours.back._take()
    ours.route(pinned=2)
    ours.back.stop()
    third = World(tmp_path)
    third.calls = theirs.calls
    assert third.back.status().waiting == 2
    third.back.attempt()
    assert third.calls.named == {"champion": 2}
    assert third.calls.tagged[2] == {"validation_status": "BLESSED"}
