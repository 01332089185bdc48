"""Models that nobody asks: what they cost a scrape, and threads."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tests.clients import oip
from tests.clients.gateway import Gateway, wait_until
from tests.clients.triton import channel, stub
from tests.small_models import tiny, write

X = np.ones((1, 4), np.float32)
BODY = {"inputs": [oip.json_input("x", X)]}
# Sessions have no threads of their own then: what is left is the gateway's.
ALONE = {"threads.intra_op": "1"}
MODELS = 30


def _gateway(start_gateway: Any, repository: Path, models: int) -> Gateway:
    for number in range(models):
        write(repository, f"model-{number:03}", tiny())
    gateway: Gateway = start_gateway(repository, ALONE)
    return gateway


def _threads(gateway: Gateway) -> int:
    return int(psutil.Process(gateway.process.pid).num_threads())


def _series(gateway: Gateway) -> set[str]:
    lines = gateway.metrics_text().splitlines()
    return {line.rpartition(" ")[0] for line in lines if not line.startswith("#")}


def _of(series: set[str], model: str) -> set[str]:
    return {one for one in series if f'model="{model}"' in one}


def test_each_costs_a_scrape_a_few_lines_and_no_thread_until_it_is_asked(
    start_gateway: Any, repository: Path
) -> None:
    gateway = _gateway(start_gateway, repository, MODELS)
    before = _series(gateway)
    lines = [line for line in gateway.metrics_text().splitlines() if 'model="' in line]
    each = Counter(line.partition('model="')[2].partition('"')[0] for line in lines)
    assert len(each) == MODELS
    assert max(each.values()) <= 12
    assert sum(len(line) + 1 for line in lines) < 1000 * MODELS
    # Loads end in threads of theirs, which may take a moment to go.
    wait_until(lambda: _threads(gateway) < MODELS, 20, "no thread for each")
    idle = _threads(gateway)

    request = oip.grpc_request("model-003", {"x": X})
    with channel(gateway) as one:
        stub(one).ModelInfer(request, timeout=20)
    over_grpc = _series(gateway)
    new = over_grpc - before
    assert new == _of(new, "model-003")
    assert any('protocol="grpc"' in one for one in new)
    assert not any('protocol="http"' in one for one in new)
    assert {
        "nv_inference_count",
        "serving_queue_limit_rows",
        "serving_compute_duration_seconds_sum",
    } <= {one.partition("{")[0] for one in new}

    assert gateway.infer("model-003", BODY).status == 200
    both = _series(gateway)
    assert over_grpc < both
    assert all('protocol="http"' in one for one in both - over_grpc)
    assert _threads(gateway) <= idle + 1

    path = "/api/v1/models/model-003/unload"
    assert gateway.get(path, b"{}", "POST", port=gateway.admin_port).status in (200, 202)
    after = wait_until(lambda: _without_versions(gateway, "model-003"), 20, "it is gone")
    assert after < before, "its series have gone with it, and no other's"


def _without_versions(gateway: Gateway, model: str) -> set[str] | None:
    series = _series(gateway)
    return None if any("version=" in one for one in _of(series, model)) else series


def test_a_stop_needs_no_thread_for_each_and_ends_at_once(
    start_gateway: Any, repository: Path
) -> None:
    gateway = _gateway(start_gateway, repository, MODELS)
    for number in range(MODELS // 2):
        assert gateway.infer(f"model-{number:03}", BODY).status == 200
    assert gateway.stop() == 0
    assert not gateway.events("close_failed")
    assert not gateway.events("close_cut_off")
