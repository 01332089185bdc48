"""A real Prometheus scrapes a gateway, with the rules and the scrape that we ship."""

from __future__ import annotations

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.clients import oip
from tests.clients.gateway import Gateway, free_ports, wait_until
from tests.monitoring.tools import FOLDER, alerts, tool

pytestmark = pytest.mark.prometheus


class Prometheus:
    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def ask(self, path: str, **query: str) -> Any:
        url = f"{self._url}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def value(self, expression: str) -> float:
        """The one value of an expression; NaN without one."""
        found = self.ask("/api/v1/query", query=expression)["result"]
        return float(found[0]["value"][1]) if len(found) == 1 else float("nan")

    def is_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Prometheus]:
    """With the scrape of deploy/monitoring, at this target and more often."""
    config = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(FOLDER / "alerts.yaml")]
    (scrape,) = config["scrape_configs"]
    scrape["static_configs"] = [{"targets": [target]}]
    path = folder / "prometheus.yaml"
    path.write_text(yaml.safe_dump(config))
    (port,) = free_ports(1)
    command = [
        tool("prometheus"),
        f"--config.file={path}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    log = folder / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
    try:
        one = Prometheus(port)
        wait_until(one.is_up, 30, "Prometheus is up")
        yield one
    finally:
        process.terminate()
        process.wait(20)


def test_prometheus_reads_what_the_gateway_counts(gateway: Gateway, tmp_path: Path) -> None:
    x = np.ones((1, 4), np.float32)
    for _ in range(7):
        answer = gateway.infer("tiny", {"inputs": [oip.json_input("x", x)]})
        assert answer.status == 200
    with prometheus(tmp_path, gateway.admin) as one:
        wait_until(lambda: one.value('up{job="serving"}') == 1, 30, "a first scrape")
        (target,) = one.ask("/api/v1/targets")["activeTargets"]
        assert (target["health"], target["lastError"]) == ("up", "")

        selector = '{model="tiny",protocol="http",code="200"}'
        counted = gateway.metric("serving_request_total", model="tiny", protocol="http", code="200")
        assert counted >= 7
        assert one.value(f"sum(serving_request_total{selector})") == counted
        buckets = 'serving_request_duration_seconds_bucket{model="tiny",protocol="http"}'
        assert 0 < one.value(f"histogram_quantile(0.99, sum by (le) ({buckets}))") < 60

        lines = [line for line in gateway.metrics_text().splitlines() if line[0] != "#"]
        assert one.value("scrape_samples_scraped") == len(lines)
        kinds = {
            row["metric"]: row["type"]
            for row in one.ask("/api/v1/targets/metadata", match_target='{job="serving"}')
        }
        assert kinds["serving_request_total"] == "counter"
        assert kinds["serving_request_duration_seconds"] == "histogram"
        assert kinds["serving_ready"] == "gauge"

        def evaluated() -> list[dict[str, Any]]:
            groups = one.ask("/api/v1/rules")["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
            return rules if all(rule["health"] == "ok" for rule in rules) else []

        rules = wait_until(evaluated, 30, "every rule was evaluated")
        assert {rule["name"] for rule in rules} == {rule["alert"] for rule in alerts()}
        # The common repository has one model that can't be loaded.
        failed = wait_until(
            lambda: [r for r in evaluated() if r["name"] == "ServingVersionFailed" and r["alerts"]],
            30,
            "a version that failed is told",
        )
        assert [alert["labels"]["model"] for alert in failed[0]["alerts"]] == ["broken"]
