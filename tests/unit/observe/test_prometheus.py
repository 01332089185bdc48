"""The scrape's Python part: names, labels, and what leaves with a model."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving import __version__, _core
from serving.loading.batching.cost import CostCurve
from serving.loading.facts import VersionFacts
from serving.model_config.schema import ModelConfig
from serving.models.state import State, Transition
from serving.models.views import ModelView, Route, VersionView
from serving.observe import families
from serving.observe.families import number
from serving.observe.prometheus import CONTENT_TYPE, Exposition
from serving.observe.version_counters import VersionCounters
from serving.registry.folder_origin import FolderOrigin
from serving.settings import Settings


class _Stats:
    """A version's counters, as far as it is looked at here."""

    def __init__(self, asked: bool) -> None:
        self.asked = asked


def _version(
    number: int, state: State = State.READY, *, load_seconds: float | None = 0.25, **more: Any
) -> VersionView:
    return VersionView(
        number=number,
        state=state,
        origin=FolderOrigin(Path("/models/m/1")),
        facts=VersionFacts(
            max_rows=64,
            provider="CPUExecutionProvider",
            provider_nodes={"CPUExecutionProvider": 12, "CUDAExecutionProvider": 3},
            threads=2,
            instances=1,
            load_seconds=load_seconds,
            **more,
        ),
    )


def _samples(text: bytes, name: str) -> list[tuple[dict[str, str], float]]:
    return [
        (sample.labels, sample.value)
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name == name
    ]


def test_a_version_has_one_for_the_state_it_is_in() -> None:
    views = (ModelView("m", (_version(1, State.FAILED), _version(2)), Route(2)),)
    assert _samples(Exposition().render(b"", views), "serving_model_state") == [
        ({"model": "m", "version": "1", "state": "FAILED"}, 1.0),
        ({"model": "m", "version": "2", "state": "READY"}, 1.0),
    ]


def test_fault_92_the_providers_that_got_the_nodes_are_told() -> None:
    text = Exposition().render(b"", (ModelView("m", (_version(1),), Route(1)),))
    assert _samples(text, "serving_model_provider_nodes") == [
        ({"model": "m", "version": "1", "provider": "CPUExecutionProvider"}, 12.0),
        ({"model": "m", "version": "1", "provider": "CUDAExecutionProvider"}, 3.0),
    ]


def test_load_seconds_are_told_once_known() -> None:
    versions = (_version(1), _version(2, State.LOADING, load_seconds=None))
    text = Exposition().render(b"", (ModelView("m", versions, Route(1)),))
    assert _samples(text, "serving_model_load_seconds") == [({"model": "m", "version": "1"}, 0.25)]


class _Read(VersionView):
    """A version that counts how often anything of it is read."""

    count = 0

    def __getattribute__(self, name: str) -> Any:
        _Read.count += 1
        return super().__getattribute__(name)


def _reads(view: ModelView) -> ModelView:
    fields = {
        one.name: getattr(view.versions[0], one.name) for one in dataclasses.fields(VersionView)
    }
    return dataclasses.replace(view, versions=(_Read(**fields),))


def test_a_scrape_reads_only_the_models_that_changed_since_the_last() -> None:
    exposition = Exposition()
    views = tuple(_reads(ModelView(f"m{i}", (_version(1),), Route(1))) for i in range(100))
    first = exposition.render(b"", views)
    each, _Read.count = _Read.count // 100, 0
    assert each > 0
    assert _stable(exposition.render(b"", views)) == _stable(first)
    assert _Read.count == 0
    changed = (*views[:-1], _reads(ModelView("m99", (_version(2),), Route(2))))
    _Read.count = 0
    text = exposition.render(b"", changed)
    assert _Read.count == each
    assert ({"model": "m99"}, 2.0) in _samples(text, "serving_model_default_version")


# What a version's requests may cost, and what bounds them.
_BESIDE_REQUESTS = {
    "serving_model_cost_fixed_seconds",
    "serving_model_cost_per_row_seconds",
    "serving_model_best_batch_rows",
    "serving_batch_limit_rows",
    "serving_queue_limit_requests",
    "serving_queue_limit_rows",
    "serving_queue_limit_bytes",
}


def _unused(name: str) -> ModelView:
    """A model that serves, with all that can be known of it."""
    config = ModelConfig(max_queue_requests=1024, max_queue_rows=65536, max_queue_bytes=256 << 20)
    cost = CostCurve(0.00012345678901234567, 1.2345678901234567e-05, 8)
    known = _version(1, config=config, cost=cost, memory_bytes=12345678, load_seconds=1 / 3)
    version = dataclasses.replace(known, ready_since=1700000000.123456, stats=_Stats(False))
    return ModelView(name, (version,), Route(1))


def _names_told(text: bytes, model: str) -> set[str]:
    return {
        sample.name
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.labels.get("model") == model
    }


def test_what_stands_beside_requests_is_told_from_the_first_of_them_on() -> None:
    exposition, views = Exposition(), (_reads(_unused("a")), _reads(_unused("b")))
    before = exposition.render(b"", views)
    assert not _names_told(before, "a") & _BESIDE_REQUESTS
    assert {"serving_model_state", "serving_model_memory_bytes"} <= _names_told(before, "a")
    views[0].versions[0].stats.asked = True
    after = exposition.render(b"", views)
    assert _names_told(after, "a") == _names_told(before, "a") | _BESIDE_REQUESTS
    assert _names_told(after, "b") == _names_told(before, "b")
    _Read.count = 0
    assert _stable(exposition.render(b"", views)) == _stable(after)
    assert _Read.count == 0
    views[1].versions[0].stats.asked = True
    _Read.count = 0
    exposition.render(b"", views)
    one, _Read.count = _Read.count, 0
    Exposition().render(b"", views)
    assert 0 < one < _Read.count, "only the one that was asked is read again"


def test_an_unused_model_costs_a_scrape_less_than_a_thousand_bytes() -> None:
    tally = VersionCounters()
    exposition = Exposition()
    exposition.add(families.LOADS, tally.loads)
    exposition.add(families.DEFAULT_CHANGES, tally.default_changes)
    server = _core.Server(Settings(http_port=0, grpc_port=0).core())
    nothing = len(exposition.render(server.metrics(), ()))
    views = tuple(_unused(f"some-model-{number:04}") for number in range(100))
    server.publish([_core.Route(view.name, {1: _queue(view.name)}, 1) for view in views])
    for view in views:
        tally.on_event(Transition(1.0, view.name, 1, State.READY, ""))
    tally.on_change({view.name: view for view in views})
    text = exposition.render(server.metrics(), views)
    assert 200 < (len(text) - nothing) / len(views) < 1000


def _queue(model: str) -> _core.Queue:
    x = [_core.TensorSpec("x", "FP32", [-1])]
    return _core.Queue(model=model, version=1, inputs=x, outputs=x)


def test_a_family_whose_samples_are_the_same_tuple_is_written_once() -> None:
    tally, exposition = VersionCounters(), Exposition()
    exposition.add(families.LOADS, tally.loads)
    tally.on_event(Transition(1.0, "m", 1, State.READY, ""))
    assert tally.loads() is tally.loads()
    name, ready = "serving_model_load_total", {"model": "m", "outcome": "ready"}
    assert (ready, 1.0) in _samples(exposition.render(b"", ()), name)
    tally.on_event(Transition(2.0, "m", 2, State.READY, ""))
    assert (ready, 2.0) in _samples(exposition.render(b"", ()), name)


def _stable(text: bytes) -> list[bytes]:
    """Without what the system says of the process."""
    return [line for line in text.splitlines() if not line.startswith(b"process_")]


class _Process:
    def __init__(self, pid: int | None, crashes: int) -> None:
        self.pid, self.crashes, self.restarts = pid, crashes, crashes


def test_a_versions_child_is_looked_at_in_every_scrape() -> None:
    process = _Process(7, 0)
    version = dataclasses.replace(_version(1, isolated="asked for"), process=process)
    views = (ModelView("m", (version,), Route(1)),)
    exposition = Exposition()

    def told(name: str) -> float:
        ((labels, value),) = _samples(exposition.render(b"", views), name)
        assert labels == {"model": "m", "version": "1"}
        return value

    assert told("serving_isolated_process_up") == 1
    assert told("serving_isolated_process_crash_total") == 0
    process.pid, process.crashes = None, 3
    assert told("serving_isolated_process_up") == 0
    assert told("serving_isolated_process_crash_total") == 3


def test_limits_and_times_of_a_ready_version_are_told() -> None:
    config = ModelConfig(max_queue_requests=5, max_queue_rows=6, max_queue_bytes=7 * 10**10)
    version = dataclasses.replace(
        _version(3, config=config), ready_since=1700000000.25, held_back=True, stats=_Stats(True)
    )
    text = Exposition().render(b"", (ModelView("m", (version,), Route(3), pinned=3),))
    expected = {
        "serving_queue_limit_requests": 5,
        "serving_queue_limit_rows": 6,
        "serving_queue_limit_bytes": 7 * 10**10,
        "serving_batch_limit_rows": 64,
        "serving_model_isolated": 0,
        "serving_model_held_back": 1,
        "serving_model_ready_timestamp_seconds": 1700000000.25,
    }
    for name, value in expected.items():
        assert _samples(text, name) == [({"model": "m", "version": "3"}, value)], name
    for name in ("serving_model_default_version", "serving_model_pinned_version"):
        assert _samples(text, name) == [({"model": "m"}, 3.0)]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (True, "1"),
        (2**62, "4611686018427387904"),
        (0.1, "0.1"),
        (1e-9, "1e-09"),
        (float("inf"), "+Inf"),
        (float("-inf"), "-Inf"),
        (float("nan"), "NaN"),
    ],
)
def test_numbers_are_written_exactly(value: float, text: str) -> None:
    assert number(value) == text


def test_fault_76_series_go_with_their_model() -> None:
    exposition = Exposition()
    empty = exposition.render(b"", ())
    for i in range(200):
        exposition.render(b"", (ModelView(f"m{i}", (_version(i + 1),), Route(i + 1)),))
    again = exposition.render(b"", ())
    assert "m199" not in again.decode()
    assert len(again) < len(empty) + 200  # the process's own numbers get longer


def test_any_models_name_makes_a_valid_label() -> None:
    name = 'quote " back\\slash \n line'
    text = Exposition().render(b"", (ModelView(name, (_version(1),), Route(1)),))
    ((labels, _),) = _samples(text, "serving_model_state")
    assert labels["model"] == name


def test_the_cores_families_come_first_and_unchanged() -> None:
    core = b"# TYPE serving_request_total counter\nserving_request_total 5"
    text = Exposition().render(core, ())
    assert text.startswith(core + b"\n")
    assert _samples(text, "serving_request_total") == [({}, 5.0)]


def test_build_and_process_are_told() -> None:
    text = Exposition().render(b"", ())
    ((labels, value),) = _samples(text, "serving_build_info")
    assert value == 1
    assert labels["version"] == __version__
    assert {"onnxruntime", "python"} <= set(labels)
    assert _samples(text, "process_resident_memory_bytes")[0][1] > 1e6
    assert "version=0.0.4" in CONTENT_TYPE


def test_what_else_lives_in_the_process_stays_out() -> None:
    counter = prometheus_client.Counter("someone_elses_total", "Not ours.")
    try:
        assert b"someone_elses" not in Exposition().render(b"", ())
    finally:
        prometheus_client.REGISTRY.unregister(counter)


def test_fault_80_prometheus_client_may_be_imported_first() -> None:
    program = (
        "import prometheus_client\n"
        "from serving.observe.prometheus import Exposition\n"
        "text = Exposition().render(b'', ()).decode()\n"
        "assert text.count('\\nprocess_resident_memory_bytes ') == 1, text\n"
        "assert text.count('serving_build_info{') == 1, text\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
