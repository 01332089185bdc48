"""What happens to versions, counted by model."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.counters import Counters
from serving.models.actual.disk import Sight
from serving.models.state import State, Transition
from serving.models.views import ModelView, Route
from serving.observe.process_metrics import add_process_metrics
from serving.observe.prometheus import Exposition
from serving.observe.version_counters import VersionCounters
from serving.settings import Settings
from tests.unit.manager_world import World


def _view(model: str, default: int | None) -> ModelView:
    return ModelView(model, (), Route(default))


def _changes(tally: VersionCounters) -> dict[str, float]:
    return {labels["model"]: count for labels, count in tally.default_changes()}


def _loads(tally: VersionCounters) -> dict[tuple[str, str], float]:
    return {(labels["model"], labels["outcome"]): count for labels, count in tally.loads()}


@pytest.mark.parametrize(
    ("answered", "changes"),
    [
        ([], {}),
        ([None], {}),
        ([1], {"m": 0}),
        ([None, 1, 1], {"m": 0}),
        ([1, 2], {"m": 1}),
        ([1, None, 1], {"m": 0}),
        ([1, None, 2], {"m": 1}),
        ([1, 2, 1, 2], {"m": 3}),
    ],
)
def test_a_change_of_the_default_is_one_version_taking_over(
    answered: list[int | None], changes: dict[str, float]
) -> None:
    tally = VersionCounters()
    for default in answered:
        tally.on_change({"m": _view("m", default)})
    assert _changes(tally) == changes


@pytest.mark.parametrize(
    ("state", "cancelled", "outcome"),
    [
        (State.READY, False, "ready"),
        (State.FAILED, False, "failed"),
        (State.FAILED, True, "cancelled"),
        (State.NEW, False, None),
        (State.LOADING, False, None),
        (State.DRAINING, False, None),
        (State.GONE, True, None),
    ],
)
def test_a_load_ends_ready_failed_or_cancelled(
    state: State, cancelled: bool, outcome: str | None
) -> None:
    tally = VersionCounters()
    tally.on_event(Transition(1.0, "m", 1, state, "", cancelled))
    counted = {key: count for key, count in _loads(tally).items() if count}
    assert counted == ({("m", outcome): 1} if outcome else {})
    if outcome:
        assert len(_loads(tally)) == 3, "a rate needs all outcomes from the start"


def test_fault_76_counts_of_a_model_go_with_it() -> None:
    tally = VersionCounters()
    for number in range(50):
        name = f"m{number}"
        tally.on_event(Transition(1.0, name, 1, State.READY, ""))
        tally.on_change({"stays": _view("stays", 1), name: _view(name, 1)})
    tally.on_change({"stays": _view("stays", 2), **{f"m{number}": None for number in range(50)}})
    assert _changes(tally) == {"stays": 1}
    assert _loads(tally) == {}


class _Server:
    def counters(self) -> dict[str, int]:
        return {"permits_held": 2}


class _Loader:
    trials = Counters([("passed",), ("died",)])
    held_bytes = 5


def _text(world: World, settings: Settings) -> str:
    exposition = Exposition()
    add_process_metrics(exposition, settings, _Server(), world.manager, _Loader(), lambda: True)
    world.settle()
    world.settle(10.0)
    return exposition.render(b"", world.manager.views()).decode()


def test_what_the_manager_does_is_counted(tmp_path: Path) -> None:
    world = World(tmp_path, registry={"settle_s": 0.0})
    world.errors["bad/1"] = OSError("gone")
    for model in ("bad", "m"):
        world.write(model, 1)
    lines = set(_text(world, Settings(threads={"permits": 7})).splitlines())
    assert {
        'serving_model_load_total{model="m",outcome="ready"} 1',
        'serving_default_version_change_total{model="m"} 0',
        'serving_trial_total{outcome="passed"} 0',
        "serving_ready 1",
        "serving_permits 2",
        "serving_permits_limit 7",
        "serving_models_memory_bytes 5",
        "serving_registry_unreadable 0",
        "serving_reconcile_failed_total 0",
    } <= lines
    failed = [line for line in lines if 'model="bad",outcome="failed"' in line]
    assert failed
    assert not failed[0].endswith(" 0")
    assert any(line.startswith("serving_registry_last_scan_timestamp_seconds ") for line in lines)


def test_a_directory_that_cannot_be_listed_is_told(tmp_path: Path) -> None:
    world = World(tmp_path / "nowhere")
    world.tick()
    assert world.manager.sight == Sight(0.0, 1, 0)
    world.now += 0.5
    assert world.manager.sight.age_s == pytest.approx(0.5)


def test_a_family_is_added_once() -> None:
    from serving.observe import families

    exposition = Exposition()
    exposition.add(families.READY, lambda: [({}, 1)])
    with pytest.raises(ValueError, match="serving_ready is there already"):
        exposition.add(families.READY, list)
