"""What deploy/monitoring holds is what its script writes, and asks only for what there is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.observe import windows
from tests.clients.gateway import Gateway
from tests.monitoring.tools import FOLDER, alerts, metric_names, run, tool

DASHBOARD = FOLDER / "grafana-dashboard.json"


def _panels() -> list[dict[str, Any]]:
    return list(json.loads(DASHBOARD.read_text())["panels"])


def _expressions() -> list[str]:
    return [target["expr"] for panel in _panels() for target in panel.get("targets", ())]


def test_the_files_are_what_their_script_writes() -> None:
    done = subprocess.run(
        [sys.executable, FOLDER / "generate.py", "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_and_panels_ask_only_for_metrics_that_there_are(gateway: Gateway) -> None:
    known = set(re.findall(r"^# TYPE (\S+)", gateway.metrics_text(), re.MULTILINE))
    asked = {rule["alert"]: rule["expr"] for rule in alerts()}
    asked |= {expression: expression for expression in _expressions()}
    for what, expression in asked.items():
        names = metric_names(expression)
        assert names or "up{" in expression, what
        assert names <= known, (what, names - known)


def test_every_figure_of_rollouts_has_its_panel(gateway: Gateway) -> None:
    known = set(re.findall(r"^# TYPE (\S+)", gateway.metrics_text(), re.MULTILINE))
    shown = {name for expression in _expressions() for name in metric_names(expression)}
    ours = {name for name in known if name.startswith("serving_rollout_")}
    assert len(ours) == 6
    also = {"serving_fallback_total", "serving_nonfinite_answers_total", "serving_route_total"}
    assert ours | also <= shown


def test_every_code_that_is_a_refusal_to_tracking_is_one_to_the_alert_and_the_panel() -> None:
    alert = next(rule["expr"] for rule in alerts() if rule["alert"] == "ServingRefusing")
    panel = next(text for text in _expressions() if "RESOURCE_EXHAUSTED" in text)
    for expression in (alert, panel):
        (codes,) = re.findall(r'code=~"([^"]+)"', expression)
        assert set(codes.split("|")) == {code for _, code in windows.REFUSED}


def test_every_alert_says_what_is_wrong_and_what_it_means() -> None:
    rules = alerts()
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"]["summary"] != rule["annotations"]["description"]


def test_panels_lie_beside_and_below_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in _panels():
        place = panel["gridPos"]
        across = range(place["x"], place["x"] + place["w"])
        cells = {(x, y) for x in across for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    numbers = [panel["id"] for panel in _panels()]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.prometheus
def test_prometheus_accepts_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    texts = [
        expression.replace("$__rate_interval", "5m").replace("$instance", ".*")
        for expression in _expressions()
    ]
    rules = [{"record": f"panel:{i}", "expr": text} for i, text in enumerate(texts)]
    path = tmp_path / "panels.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    run(tool("promtool"), "check", "rules", path)


@pytest.mark.prometheus
def test_prometheus_accepts_the_rules_and_the_scrape() -> None:
    run(tool("promtool"), "check", "rules", FOLDER / "alerts.yaml")
    run(tool("promtool"), "check", "config", FOLDER / "prometheus.yaml")
