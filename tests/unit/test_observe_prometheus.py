"""The scrape's Python part: names, labels, and what leaves with a model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import prometheus_client
from prometheus_client.parser import text_string_to_metric_families

from serving import __version__
from serving.models.state import State
from serving.models.views import ModelView, VersionView
from serving.observe.prometheus import CONTENT_TYPE, Exposition


def _version(
    number: int, state: State = State.READY, *, load_seconds: float | None = 0.25
) -> VersionView:
    return VersionView(
        number=number,
        state=state,
        reason="",
        signature=None,
        config=None,
        max_rows=64,
        batching_words="",
        provider="CPUExecutionProvider",
        provider_nodes={"CPUExecutionProvider": 12, "CUDAExecutionProvider": 3},
        threads=2,
        instances=1,
        ready_since=None,
        stats=None,
        queue=None,
        path=Path("/models/m/1"),
        left_out=(),
        load_seconds=load_seconds,
    )


def _samples(text: bytes, name: str) -> list[tuple[dict[str, str], float]]:
    return [
        (sample.labels, sample.value)
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name == name
    ]


def test_a_version_has_one_for_the_state_it_is_in() -> None:
    views = (ModelView("m", (_version(1, State.FAILED), _version(2)), 2, ""),)
    assert _samples(Exposition().render(b"", views), "serving_model_state") == [
        ({"model": "m", "version": "1", "state": "FAILED"}, 1.0),
        ({"model": "m", "version": "2", "state": "READY"}, 1.0),
    ]


def test_fault_92_the_providers_that_got_the_nodes_are_told() -> None:
    text = Exposition().render(b"", (ModelView("m", (_version(1),), 1, ""),))
    assert _samples(text, "serving_model_provider_nodes") == [
        ({"model": "m", "version": "1", "provider": "CPUExecutionProvider"}, 12.0),
        ({"model": "m", "version": "1", "provider": "CUDAExecutionProvider"}, 3.0),
    ]


def test_load_seconds_are_told_once_known() -> None:
    versions = (_version(1), _version(2, State.LOADING, load_seconds=None))
    text = Exposition().render(b"", (ModelView("m", versions, 1, ""),))
    assert _samples(text, "serving_model_load_seconds") == [({"model": "m", "version": "1"}, 0.25)]


def test_fault_76_series_go_with_their_model() -> None:
    exposition = Exposition()
    empty = exposition.render(b"", ())
    for i in range(200):
        exposition.render(b"", (ModelView(f"m{i}", (_version(i + 1),), i + 1, ""),))
    again = exposition.render(b"", ())
    assert "m199" not in again.decode()
    assert len(again) < len(empty) + 200  # the process's own numbers get longer


def test_any_models_name_makes_a_valid_label() -> None:
    name = 'quote " back\\slash \n line'
    text = Exposition().render(b"", (ModelView(name, (_version(1),), 1, ""),))
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
