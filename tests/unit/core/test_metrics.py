"""The core's families as a scraper reads them."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving import _core
from tests.clients.gateway import wait_until
from tests.unit.core.test_observe import SERVICE, Grpc, Http, World, grpc_message

REASONS = {"REJECTED", "CANCELED", "BACKEND", "OTHER"}


@pytest.fixture
def world() -> Iterator[World]:
    with closing(World()) as made:
        yield made


def value(world: World, name: str, **labels: str) -> float:
    """The sum of the samples with these labels. The parser ends every counter in _total."""
    found = [
        sample.value
        for family in text_string_to_metric_families(world.server.metrics().decode())
        for sample in family.samples
        if sample.name.removesuffix("_total") == name.removesuffix("_total")
        and labels.items() <= sample.labels.items()
    ]
    return sum(found)


def test_the_exposition_parses_and_keeps_openmetrics_rules(world: World) -> None:
    Http().ask(world)
    Grpc().ask(world, ["bad"])
    text = world.server.metrics().decode()
    assert text.endswith("\n")
    heads = [line.split(" ")[:3:2] for line in text.splitlines() if line.startswith("# ")]
    assert max(Counter(map(tuple, heads)).values()) == 2  # HELP and TYPE, once a family
    series: Counter[tuple[str, frozenset[tuple[str, str]]]] = Counter()
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        assert family.type in ("counter", "gauge", "histogram"), family.name
        for sample in family.samples:
            assert sample.name.startswith(family.name), "no family comes in two pieces"
            series[sample.name, frozenset(sample.labels.items())] += 1
        if family.type == "histogram":
            assert family.name.endswith(("_seconds", "_size"))
    assert max(series.values()) == 1
    kinds = dict(line.split(" ")[2:] for line in text.splitlines() if line.startswith("# TYPE "))
    ours = {name: kind for name, kind in kinds.items() if name.startswith("serving_")}
    assert len(ours) > 15
    assert [n for n, kind in ours.items() if n.endswith("_total") != (kind == "counter")] == []
    assert [n for n in ours if n.endswith(("_us", "_ms", "_ns", "_kb", "_mb"))] == []


def test_a_histogram_ends_in_its_count(world: World) -> None:
    for _ in range(3):
        Http().ask(world)
    name = "serving_request_duration_seconds"
    labels = {"model": "echo", "version": "3", "protocol": "http"}
    assert value(world, f"{name}_count", **labels) == 3
    assert value(world, f"{name}_bucket", le="+Inf", **labels) == 3
    assert value(world, f"{name}_bucket", le="60", **labels) == 3
    assert 0 < value(world, f"{name}_sum", **labels) < 30


def test_tritons_families_count_what_ours_do(world: World) -> None:
    mine = {"model": "echo", "version": "3"}
    for words in (["a"], ["b", "c"], ["bad"]):
        Grpc().ask(world, words)
    assert value(world, "nv_inference_request_success", **mine) == 2
    assert value(world, "nv_inference_count", **mine) == 3
    assert value(world, "nv_inference_exec_count", **mine) == 2
    assert value(world, "nv_inference_pending_request_count", **mine) == 0
    assert value(world, "nv_inference_request_failure", reason="BACKEND", **mine) == 1
    assert value(world, "nv_inference_request_duration_us", **mine) > 0
    seconds = value(world, "serving_queue_duration_seconds_sum", **mine)
    micros = value(world, "nv_inference_queue_duration_us", **mine)
    assert micros == pytest.approx(seconds * 1e6, abs=1)
    text = world.server.metrics().decode()
    assert {reason for reason in REASONS if f'version="3",reason="{reason}"' in text} == REASONS


def test_refused_requests_count_for_the_version_that_they_name(world: World) -> None:
    """Triton counts neither."""
    mine = {"model": "echo", "version": "3"}
    host, port = world.server.http_address
    for body in (b"no json", b'{"inputs": []}'):
        request = urllib.request.Request(f"http://{host}:{port}/v2/models/echo/infer", body)
        with suppress(urllib.error.HTTPError):
            urllib.request.urlopen(request, timeout=10).close()
    assert value(world, "nv_inference_request_failure", reason="OTHER", **mine) == 2
    assert value(world, "serving_request_total", code="400", **mine) == 2
    wrong = grpc_message(["a"]).replace(b"BYTES", b"INT32")
    host, port = world.server.grpc_address
    with grpc.insecure_channel(f"{host}:{port}") as channel, suppress(grpc.RpcError):
        channel.unary_unary(SERVICE + "ModelInfer")(wrong, timeout=10)
    assert value(world, "serving_request_total", code="INVALID_ARGUMENT", **mine) == 1


def test_a_full_line_counts_as_rejected(world: World) -> None:
    full = _core.Queue(
        model="full",
        version=1,
        inputs=[_core.TensorSpec("x", "BYTES", [-1])],
        outputs=[_core.TensorSpec("y", "BYTES", [-1])],
        max_queue_requests=0,
    )
    world.server.publish([_core.Route("full", {1: full}, 1)])
    assert Http().ask(world, model="full").code == "503"
    labels = {"model": "full", "version": "1"}
    assert value(world, "nv_inference_request_failure", reason="REJECTED", **labels) == 1
    assert value(world, "serving_request_total", code="503", **labels) == 1


def test_fault_95_names_that_nobody_has_share_one_series(world: World) -> None:
    Http().ask(world, model="absent")
    Grpc().ask(world, model="absent")
    size = len(world.server.metrics())
    for i in range(50):
        Http().ask(world, model=f"absent{i}")
        Grpc().ask(world, model=f"absent{i}")
    assert value(world, "serving_request_total", model="", version="", code="404") == 51
    assert value(world, "nv_inference_request_failure", model="", reason="OTHER") == 102
    assert "absent" not in world.server.metrics().decode()
    assert len(world.server.metrics()) < size + 200  # longer numbers, and one more code


def _series(world: World) -> set[str]:
    lines = world.server.metrics().decode().splitlines()
    return {line.rpartition(" ")[0] for line in lines if 'model="echo"' in line}


def test_series_appear_with_the_first_request_and_those_of_a_protocol_with_its_own(
    world: World,
) -> None:
    assert _series(world) == set()
    Grpc().ask(world)
    first = _series(world)
    assert first
    assert not any('protocol="http"' in one for one in first)
    Http().ask(world, ["bad"])
    both = _series(world)
    assert first < both
    assert all('protocol="http"' in one for one in both - first)
    Http().ask(world)
    assert both <= _series(world), "what was there stays"


def test_a_first_request_that_still_runs_is_told(world: World) -> None:
    """Whoever waits is seen to wait, also where nothing was answered yet."""
    slow = _core.Queue(
        model="slow",
        version=1,
        inputs=[_core.TensorSpec("x", "BYTES", [-1])],
        outputs=[_core.TensorSpec("y", "BYTES", [-1])],
    )
    world.server.publish([_core.Route("slow", {1: slow}, 1)])
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(Http().ask, world, model="slow")
        wait_until(lambda: value(world, "serving_queue_requests", model="slow") == 1, 10, "queued")
        assert value(world, "serving_in_flight_requests", model="slow") == 1
        slow.abort("unavailable", "that is enough")
        assert asked.result(20).code == "503"


def test_fault_76_the_series_of_a_version_go_with_it(world: World) -> None:
    Http().ask(world)
    assert 'model="echo"' in world.server.metrics().decode()
    world.publish([])
    assert 'model="echo"' not in world.server.metrics().decode()
    world.publish([world.queue])
    assert value(world, "nv_inference_request_success", model="echo") == 1
