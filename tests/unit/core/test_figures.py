"""What the core counts, as arrays, held against what it tells Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving import _core
from serving.errors import ErrorCode
from serving.observe.figures import counters_of
from tests.clients.gateway import wait_until
from tests.unit.core.test_observe import Grpc, Http, World
from tests.unit.rollout import simulated

ECHO = ("echo", 3)
HISTOGRAMS = {
    "total": "serving_request_duration_seconds",
    "queue": "serving_queue_duration_seconds",
    "compute": "serving_compute_duration_seconds",
    "batch": "serving_batch_size",
}
AS_SHADOW = {
    name: f"serving_{name}_total"
    for name in ("shadow_copies", "shadow_failed", "shadow_compared", "shadow_different")
}
COUNTS = {
    "rows": "serving_inference_total",
    "runs": "serving_execution_total",
    "runs_failed": "serving_execution_failed_total",
    "runs_abandoned": "serving_execution_abandoned_total",
    "expired": "serving_dropped_expired_total",
    "cancelled": "serving_dropped_cancelled_total",
    "queue_requests": "serving_queue_requests",
    "queue_rows": "serving_queue_rows",
    "queue_bytes": "serving_queue_bytes",
    "in_flight_requests": "serving_in_flight_requests",
    "executing_batches": "serving_executing_batches",
    "fell_back": "serving_fallback_total",
    "inspected": "serving_inspected_answers_total",
    "nonfinite": "serving_nonfinite_answers_total",
}


@pytest.fixture
def world() -> Iterator[World]:
    with closing(World()) as made:
        yield made


@pytest.fixture
def busy(world: World) -> World:
    for words in (["a"], ["b", "c"], ["bad"]):
        Grpc().ask(world, words)
        Http().ask(world, words)
    Http().ask(world, ["d"] * 5)
    Http().ask(world, model="absent")
    wait_until(lambda: _is_at_rest(world), 10, "all is counted")
    return world


def _is_at_rest(world: World) -> bool:
    figures = world.server.figures()
    running = figures.counts["in_flight_requests"] + figures.counts["executing_batches"]
    return figures.outcomes.sum() == 8 and not running.any()


def _queue(model: str, version: int) -> _core.Queue:
    x = [_core.TensorSpec("x", "BYTES", [-1])]
    return _core.Queue(model=model, version=version, inputs=x, outputs=x)


def _publish(world: World, *versions: tuple[str, int]) -> None:
    queues = {(model, number): _queue(model, number) for model, number in versions}
    routes = {model: {n: q for (m, n), q in queues.items() if m == model} for model, _ in versions}
    world.server.publish([_core.Route(model, of, None) for model, of in routes.items()], ["echo"])


class Told:
    """What Prometheus is told of each version, by the names of samples."""

    def __init__(self, world: World) -> None:
        families = text_string_to_metric_families(world.server.metrics().decode())
        self._samples = [sample for family in families for sample in family.samples]

    def values(self, name: str, key: tuple[str, int], **labels: str) -> list[float]:
        """In the text's order."""
        wanted = {"model": key[0], "version": str(key[1] or ""), **labels}.items()
        return [
            one.value for one in self._samples if one.name == name and wanted <= one.labels.items()
        ]

    def bounds(self, family: str) -> list[float]:
        return sorted(
            {float(one.labels["le"]) for one in self._samples if one.name == f"{family}_bucket"}
        )


def test_the_counts_are_what_prometheus_is_told(busy: World) -> None:
    told, figures = Told(busy), busy.server.figures()
    assert figures.versions == [("", 0), ECHO]
    assert figures.counts.keys() == COUNTS.keys() | AS_SHADOW.keys()
    for name, family in AS_SHADOW.items():
        # Of versions that ran no copies the page has no sample.
        assert figures.counts[name].tolist() == [0, 0]
        assert [told.values(family, key) for key in figures.versions] == [[], []]
    for name, family in COUNTS.items():
        expected = [told.values(family, key) for key in figures.versions]
        assert [[one] for one in figures.counts[name].tolist()] == expected, name
    assert figures.counts["rows"].tolist() == [0, 11]


def test_the_outcomes_are_what_prometheus_is_told(busy: World) -> None:
    told, figures = Told(busy), busy.server.figures()
    for key, of_version in zip(figures.versions, figures.outcomes, strict=True):
        for protocol, codes, counts in zip(_core.PROTOCOLS, _core.CODES, of_version, strict=True):
            for code in set(codes):
                count = sum(int(n) for one, n in zip(codes, counts, strict=True) if one == code)
                given = told.values("serving_request_total", key, protocol=protocol, code=code)
                assert sum(given) == count, (key, protocol, code)
    bad = _core.OUTCOMES.index("bad_data")
    assert figures.outcomes[1, :, 0].tolist() == [2, 3]
    assert figures.outcomes[1, :, bad].tolist() == [1, 1]
    assert figures.outcomes.sum() == 8


@pytest.mark.parametrize("name", HISTOGRAMS)
def test_the_histograms_are_what_prometheus_is_told(busy: World, name: str) -> None:
    told, family = Told(busy), HISTOGRAMS[name]
    figures = busy.server.figures()
    assert figures.histograms.keys() == HISTOGRAMS.keys()
    found = figures.histograms[name]
    for row, key in enumerate(figures.versions):
        # A protocol is told from its first request on.
        asked = figures.outcomes[row].any(axis=1) if name == "total" else np.array([True])
        counts = told.values(f"{family}_bucket", key)
        assert found.counts[row, asked].flatten().tolist() == counts
        assert found.sums[row, asked].tolist() == told.values(f"{family}_sum", key)
        assert found.counts[row, asked, -1].tolist() == told.values(f"{family}_count", key)
        assert not found.counts[row, ~asked].any()
    assert found.counts[1, :, -1].sum() > 0
    assert [*found.bounds.tolist(), float("inf")] == told.bounds(family)


def test_shapes_and_types_are_those_that_the_seam_promises(world: World) -> None:
    protocols, outcomes = len(_core.PROTOCOLS), len(_core.OUTCOMES)
    _publish(world, ("m", 1), ("m", 2))
    for versions in (0, 1, 2):
        figures = world.server.figures([("m", 1), ("m", 2)][:versions])
        assert len(figures.versions) == versions
        assert figures.outcomes.shape == (versions, protocols, outcomes)
        assert figures.outcomes.dtype == np.uint64
        for column in figures.counts.values():
            assert (column.shape, column.dtype) == ((versions,), np.uint64)
        for name, one in figures.histograms.items():
            series = protocols if name == "total" else 1
            assert one.bounds.dtype == one.sums.dtype == np.float64
            assert (np.diff(one.bounds) > 0).all()
            assert one.counts.dtype == np.uint64
            assert one.counts.shape == (versions, series, len(one.bounds) + 1)
            assert one.sums.shape == (versions, series)


def test_outcomes_are_the_error_words_and_each_has_a_code_on_each_door() -> None:
    assert ("ok", *(word.value for word in ErrorCode)) == _core.OUTCOMES
    assert _core.PROTOCOLS == ("grpc", "http")
    assert [len(codes) for codes in _core.CODES] == [len(_core.OUTCOMES)] * 2
    assert [codes[0] for codes in _core.CODES] == ["OK", "200"]


def test_only_the_versions_named_are_there_each_once_and_in_order(world: World) -> None:
    _publish(world, ("b", 10), ("b", 9), ("a", 1))
    named = [("b", 10), ("a", 1), ("b", 10), ("a", 2), ("c", 1), ("", 0)]
    assert world.server.figures(named).versions == [("a", 1), ("b", 10)]
    assert world.server.figures([]).versions == []


def test_without_names_all_that_were_asked_are_there(world: World) -> None:
    """What nobody asked costs nothing, unless it is named."""
    assert world.server.figures().versions == []
    assert world.server.figures([ECHO]).versions == [ECHO]
    assert world.server.figures([ECHO]).outcomes.sum() == 0
    Http().ask(world)
    assert world.server.figures().versions == [ECHO]
    Http().ask(world, model="absent")
    assert world.server.figures().versions == [("", 0), ECHO]


def test_figures_stay_as_they_were_when_they_were_taken(world: World) -> None:
    before = world.server.figures([ECHO])
    Http().ask(world)
    assert before.counts["rows"].tolist() == [0]
    before.counts["rows"][0] = 9
    assert before.counts["rows"].tolist() == [0], "an array is the caller's own"
    assert world.server.figures([ECHO]).counts["rows"].tolist() == [1]


def test_a_versions_counters_are_its_row(busy: World) -> None:
    ((key, found),) = counters_of(busy.server.figures()).items()
    assert key == ECHO
    assert found.outcomes == {
        ("grpc", "OK"): 2,
        ("grpc", "INVALID_ARGUMENT"): 1,
        ("http", "200"): 3,
        ("http", "400"): 1,
    }
    told = Told(busy)
    family = "serving_request_duration_seconds"
    assert found.total.count == sum(told.values(f"{family}_count", ECHO)) == 7
    assert found.total.total == pytest.approx(sum(told.values(f"{family}_sum", ECHO)))
    assert found.batch.counts[:4] == (2, 4, 4, 5)
    assert found.batch.total == 11
    assert found.simple["rows"] == 11
    assert len(found.queue.counts) == len(found.queue.bounds) + 1


def test_looking_again_finds_what_changed_and_what_did_not(world: World) -> None:
    before = counters_of(world.server.figures([ECHO]))[ECHO]
    assert counters_of(world.server.figures([ECHO]))[ECHO] == before
    Http().ask(world)
    now = counters_of(world.server.figures())[ECHO]
    assert (before.queue.count, now.queue.count) == (0, 1)
    assert now.simple["rows"] - before.simple["rows"] == 1


def test_requests_for_unknown_names_are_nobodys_window(world: World) -> None:
    Http().ask(world, model="absent")
    assert counters_of(world.server.figures()).keys() == set()
    Http().ask(world)
    assert counters_of(world.server.figures()).keys() == {ECHO}


def test_without_versions_there_are_no_counters(world: World) -> None:
    world.publish([])
    assert counters_of(world.server.figures()) == {}
    assert counters_of(world.server.figures([])) == {}


def test_times_are_counted_finely_of_those_that_are_named_and_no_others(world: World) -> None:
    Http().ask(world, ["a"])
    before = world.server.figures([ECHO]).fine_times
    assert before.counts.shape == (1, 2, len(before.bounds) + 1)
    assert not before.counts.any()
    assert np.all(np.diff(before.bounds) / before.bounds[:-1] <= 1 / 16)
    assert (before.bounds[0], before.bounds[-1]) == (2**-15, 64)
    assert tuple(before.bounds) == simulated.BOUNDS
    world.server.count_outputs([], [], [ECHO])
    for _ in range(3):
        Http().ask(world, ["a"])
    wait_until(lambda: world.server.figures().outcomes.sum() == 4, 10, "all is counted")
    found = world.server.figures([ECHO]).fine_times
    assert found.counts[0, :, -1].tolist() == [3, 0]
    assert np.all(np.diff(found.counts[0].astype(np.int64)) >= 0)
    assert 0 < found.sums[0, 0] < 30
    world.server.count_outputs([], [], [])
    Http().ask(world, ["a"])
    wait_until(lambda: world.server.figures().outcomes.sum() == 5, 10, "all is counted")
    assert world.server.figures([ECHO]).fine_times.counts[0, 0, -1] == 3
