"""The scrape of a real gateway: its form, its labels, and the page that describes it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as read_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families

from tests import crash_models
from tests.clients import oip
from tests.clients.gateway import ROOT, Gateway, wait_until
from tests.clients.triton import channel, refusal, stub
from tests.small_models import scale, slow, tiny, write

X = np.ones((1, 2), np.float32)


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A scrape of a gateway that has every family: models pinned, isolated and failed, and
    all that looks on."""
    folder = tmp_path_factory.mktemp("exposition")
    repository = folder / "repository"
    repository.mkdir()
    for version in (1, 2):
        write(repository, "m", scale(version), version, yaml="version_policy: {all: true}\n")
    write(repository, "tiny", tiny())
    write(repository, "div", crash_models.divide_by_input(), yaml="isolation: process\n")
    write(repository, "broken", b"not a model")
    on = {
        "tracking.jsonl.path": str(folder / "windows"),
        "tracking.window_s": "1",
        "request_log.path": str(folder / "requests"),
        # Nobody listens there: what can't be sent is counted all the same.
        "tracing.endpoint": "http://127.0.0.1:9/",
    }
    one = Gateway(repository, folder / "gateway", settings=on)
    try:
        one.wait_ready()
        one.get("/api/v1/models/m/default", b'{"version": 1}', "POST", port=one.admin_port)
        wait_until(lambda: one.metric("serving_model_pinned_version", model="m") == 1, 10, "pinned")
        shadow = b'{"shadows": {"2": 1.0}}'
        one.get("/api/v1/models/m/route", shadow, "POST", port=one.admin_port)
        for _ in range(3):
            assert one.infer("m", {"inputs": [oip.json_input("X", X)]}).status == 200
        sent = "serving_tracking_last_success_timestamp_seconds"
        wait_until(lambda: one.metric(sent) > 0, 20, "a window was written")
        yield one.metrics_text()
    finally:
        one.finish()


def _families(text: str) -> dict[str, tuple[str, set[str]]]:
    """Name as in the text -> (type, labels)."""
    found: dict[str, tuple[str, set[str]]] = {}
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if f"# TYPE {family.name}_total " in text else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        found[name] = (family.type, labels)
    return found


# The form


def test_every_family_is_one_block_with_help_and_type(scraped: str) -> None:
    lines = scraped.splitlines()
    for what in ("HELP", "TYPE"):
        named = Counter(line.split()[2] for line in lines if line.startswith(f"# {what} "))
        assert set(named.values()) == {1}, what
    current, closed = "", set()
    for line in lines:
        name = line.split()[2] if line.startswith("#") else re.split(r"[{ ]", line)[0]
        if name != current and not re.fullmatch(rf"{current}_(bucket|sum|count)", name):
            assert name not in closed, f"{name} comes back"
            closed.add(current)
            current = name
    samples = Counter(line.rpartition(" ")[0] for line in lines if not line.startswith("#"))
    assert set(samples.values()) == {1}, "a series comes twice"


def test_names_and_values_follow_the_rules_of_openmetrics(scraped: str) -> None:
    """Its reader is strict; Triton's names, whose counters don't end in _total, stay out."""
    lines = [line for line in scraped.splitlines() if "nv_inference" not in line]
    text = "\n".join(lines)
    text = re.sub(r"^(# \w+ \w+)_total ", r"\1 ", text, flags=re.MULTILINE)
    families = {family.name: family for family in read_openmetrics(f"{text}\n# EOF\n")}
    assert len(families) > 50
    for name, family in families.items():
        assert family.documentation, name
        if family.type == "counter":
            assert all(sample.name == f"{name}_total" for sample in family.samples), name


@pytest.mark.parametrize("unit", ["seconds", "bytes"])
def test_units_are_base_units_and_stand_last(scraped: str, unit: str) -> None:
    names = [name for name in _families(scraped) if name.startswith("serving_")]
    inside = [name for name in names if f"_{unit}_" in f"{name}_"]
    assert inside
    for name in inside:
        assert re.search(rf"_{unit}(_total|_limit)?$", name), name
    assert not [name for name in names if re.search(r"_(ms|us|millis\w*|kb|mb)(_|$)", name)]


# The page


def _described() -> dict[str, tuple[str, set[str]]]:
    text = (ROOT / "docs" / "observability.md").read_text()
    section = text[text.index("\n## Metrics") : text.index("\n## Tracking")]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([\w, ]*?) ?\| .+ \|$", section, re.MULTILINE)
    names = [name for name, _, _ in rows]
    assert len(set(names)) == len(names)
    return {
        name: (kind, set(filter(None, labels.replace(" ", "").split(","))))
        for name, kind, labels in rows
    }


def test_the_page_describes_every_family_and_no_other(scraped: str) -> None:
    assert set(_described()) == set(_families(scraped))


def test_the_page_has_the_types_and_labels_right(scraped: str) -> None:
    described = _described()
    for name, (kind, labels) in _families(scraped).items():
        assert described[name][0] == kind, name
        # Where nothing can be measured (a model so small) there is no sample to look at.
        assert described[name][1] == labels or not labels, name


# The labels


def _models_and_versions(text: str) -> set[tuple[str, str]]:
    return {
        (sample.labels["model"], sample.labels.get("version", "-"))
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if "model" in sample.labels
    }


def test_fault_95_names_from_requests_are_never_labels(
    start_gateway: Any, repository: Path
) -> None:
    write(repository, "m", scale(2))
    gateway = start_gateway(repository)
    body = {"inputs": [oip.json_input("X", X)]}
    assert _models_and_versions(gateway.metrics_text()) == {("m", "1"), ("m", "-")}
    assert gateway.infer("m", body).status == 200
    assert gateway.infer("evil", body).status == 404
    before = _models_and_versions(gateway.metrics_text())
    assert before == {("", ""), ("m", "1"), ("m", "-")}
    with channel(gateway) as one:
        infer = stub(one).ModelInfer
        infer(oip.grpc_request("m", {"X": X}), timeout=20)
        for number in range(20):
            name = f"evil-{number}"
            assert gateway.infer(name, body).status == 404
            assert gateway.infer("m", body, version=100 + number).status == 404
            unknown = refusal(infer, oip.grpc_request(name, {"X": X}))
            assert unknown.code().name == "NOT_FOUND"
        wrong = refusal(infer, oip.grpc_request("m", {"X": np.ones((1, 9), np.float32)}))
        assert wrong.code().name == "INVALID_ARGUMENT"
    text = gateway.metrics_text()
    assert _models_and_versions(text) == before
    assert "evil" not in text
    count = "serving_request_total"
    assert gateway.metric(count, model="", protocol="http", code="404") == 41
    assert gateway.metric(count, model="", protocol="grpc", code="NOT_FOUND") == 20
    assert gateway.metric(count, model="m", protocol="grpc", code="OK") == 1
    assert gateway.metric(count, model="m", protocol="http", code="200") == 1
    assert gateway.metric(count, model="m", protocol="grpc", code="INVALID_ARGUMENT") == 1


def test_fault_80_numbers_are_right_where_prometheus_client_came_first(
    start_gateway: Any, repository: Path, tmp_path: Path
) -> None:
    """Python imports ``sitecustomize`` before anything else."""
    first = tmp_path / "first"
    first.mkdir()
    (first / "sitecustomize.py").write_text(
        "import prometheus_client\n"
        "prometheus_client.Counter('serving_request_total', 'Not ours.').inc(99)\n"
    )
    write(repository, "m", scale(2))
    gateway = start_gateway(repository, environment={"PYTHONPATH": f"{first}:{ROOT}"})
    for _ in range(5):
        assert gateway.infer("m", {"inputs": [oip.json_input("X", X)]}).status == 200
    text = gateway.metrics_text()
    assert "Not ours" not in text
    assert text.count("# TYPE serving_request_total ") == 1
    assert text.count("\nprocess_resident_memory_bytes ") == 1
    assert gateway.metric("serving_request_total", model="m") == 5
    assert gateway.metric("serving_inference_total", model="m") == 5
    (resident,) = re.findall(r"^process_resident_memory_bytes (\S+)$", text, re.MULTILINE)
    assert float(resident) == pytest.approx(gateway.rss(), rel=0.2)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_fault_76_500_loads_and_unloads_leave_the_scrape_as_it_was(
    start_gateway: Any, repository: Path
) -> None:
    models = [f"m{number}" for number in range(10)]
    for model in models:
        write(repository, model, scale(2))
    write(repository, "stays", scale(3))
    settings = {"model_control": "explicit", "load_models": "stays", "rollout.keep_previous_s": "0"}
    gateway = start_gateway(repository, settings)
    body = {"inputs": [oip.json_input("X", X)]}

    def command(model: str, verb: str) -> None:
        answer = gateway.get(f"/v2/repository/models/{model}/{verb}", b"{}", "POST")
        assert answer.status == 200, answer

    def cycle(model: str) -> None:
        command(model, "load")
        assert gateway.infer(model, body).status == 200
        command(model, "unload")

    def unloaded() -> str:
        """A scrape, once nothing drains any more."""
        pattern = r'^serving_model_state\{model="m\d'
        wait_until(
            lambda: not re.search(pattern, gateway.metrics_text(), re.MULTILINE), 20, "all is gone"
        )
        return str(gateway.metrics_text())

    def series(text: str) -> set[str]:
        return {line.rpartition(" ")[0] for line in text.splitlines() if line[0] != "#"}

    for model in models:
        cycle(model)
    before = unloaded()
    for number in range(490):
        cycle(models[number % len(models)])
    after = unloaded()
    assert series(after) == series(before)
    assert abs(len(after) - len(before)) < 300, "only numbers grew longer"
    loaded = {model for model, version in _models_and_versions(after) if version != "-"}
    assert loaded == {"stays"}
    assert gateway.metric("serving_model_load_total", outcome="ready") == 501


def test_a_scrape_beside_a_slow_run_waits_for_nothing(start_gateway: Any, repository: Path) -> None:
    """What is in flight shows while it is."""
    write(repository, "slow", slow(0.5), config="max_batch_size: 0\n")
    gateway = start_gateway(repository)
    request = oip.grpc_request("slow", {"X": np.ones((1, 1), np.float32)})
    with channel(gateway) as one:

        def is_seen() -> bool:
            pending = stub(one).ModelInfer.future(request, timeout=60)
            seen = False
            while not (seen or pending.done()):
                in_flight = gateway.metric("serving_in_flight_requests", model="slow")
                seen = in_flight == 1 == gateway.metric("serving_permits")
            pending.result()
            return seen

        wait_until(is_seen, 60, "a scrape shows what is in flight")
    wait_until(lambda: gateway.metric("serving_permits") == 0, 10, "the permit is back")
