"""The dashboard, as data: rows of panels, each a few expressions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rules import REFUSALS, share_of_requests

SOURCE = {"type": "prometheus", "uid": "${source}"}
# Grafana's grid is 24 wide.
WIDTH, HEIGHT = 24, 8


def ours(name: str, extra: str = "") -> str:
    """A family of the chosen instances."""
    return f'{name}{{instance=~"$instance"{_more(extra)}}}'


def chosen(name: str, extra: str = "") -> str:
    """A family of the chosen instances and models."""
    return f'{name}{{instance=~"$instance",model=~"$model"{_more(extra)}}}'


def _more(extra: str) -> str:
    return f",{extra}" if extra else ""


def rate(name: str, by: str = "model, version", extra: str = "") -> str:
    return f"sum by ({by}) (rate({chosen(name, extra)}[$__rate_interval]))"


def share(codes: str) -> str:
    """As the alerts have it, of the chosen."""
    labels = 'instance=~"$instance",model=~"$model"'
    return share_of_requests(codes, labels, "$__rate_interval")


def quantile(q: float, name: str) -> str:
    return f"histogram_quantile({q}, {rate(f'{name}_bucket', 'model, version, le')})"


def quantiles(name: str, *which: float) -> dict[str, str]:
    return {quantile(q, name): f"{_V} p{q * 100:g}" for q in which}


def _part(name: str, limit: str) -> str:
    return f"{chosen(name)} / {chosen(limit)}"


def _increase(name: str, by: str) -> str:
    return f"sum by ({by}) (increase({chosen(name)}[5m]))"


def _or_none(expression: str) -> str:
    """0 where there are no series: those of requests appear with the first."""
    return f"{expression} or vector(0)"


def mean(name: str) -> str:
    return f"{rate(f'{name}_sum')} / {rate(f'{name}_count')}"


@dataclass(frozen=True)
class Panel:
    """``lines``: expression -> legend. ``unit`` by Grafana's names."""

    title: str
    lines: dict[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    text: str = ""

    def document(self, number: int, place: dict[str, int]) -> dict[str, Any]:
        targets = [
            {
                "datasource": SOURCE,
                "expr": expr,
                "legendFormat": legend,
                "refId": chr(ord("A") + index),
                **({"instant": True, "format": "table"} if self.kind == "table" else {}),
            }
            for index, (expr, legend) in enumerate(self.lines.items())
        ]
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.text,
            "datasource": SOURCE,
            "gridPos": place,
            "fieldConfig": {"defaults": {"unit": self.unit, "min": 0}, "overrides": []},
            "options": _OPTIONS[self.kind],
            "targets": targets,
        }


_OPTIONS: dict[str, dict[str, Any]] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom"},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "none"},
    "table": {"showHeader": True},
}
_FAILED = rate("serving_request_total", extra='code!~"OK|200"')
_V = "{{model}} {{version}}"
_I = "{{instance}}"

ROWS: dict[str, Sequence[Panel]] = {
    "Overview": (
        Panel("Ready instances", {f"sum({ours('serving_ready')})": "ready"}, kind="stat"),
        Panel(
            "Requests a second",
            {_or_none(f"sum({rate('serving_request_total')})"): "requests"},
            "reqps",
            "stat",
        ),
        Panel(
            "Share of errors",
            {f"({_or_none(f'sum({_FAILED})')}) / sum({rate('serving_request_total')})": "errors"},
            "percentunit",
            "stat",
        ),
        Panel(
            "Versions by state",
            {f"count by (state) ({chosen('serving_model_state')})": "{{state}}"},
            kind="stat",
        ),
    ),
    "Requests": (
        Panel("Requests by version", {rate("serving_request_total"): _V}, "reqps"),
        Panel(
            "Requests by code",
            {rate("serving_request_total", "protocol, code"): "{{protocol}} {{code}}"},
            "reqps",
        ),
        Panel(
            "Failed, refused, late",
            {
                share("INTERNAL|500"): f"{_V} failed",
                share(REFUSALS): f"{_V} refused",
                share("DEADLINE_EXCEEDED|504"): f"{_V} late",
            },
            "percentunit",
            text="Shares of each version's requests.",
        ),
        Panel(
            "Dropped from the queue",
            {
                rate("serving_dropped_expired_total"): f"{_V} expired",
                rate("serving_dropped_cancelled_total"): f"{_V} cancelled",
            },
            "reqps",
            text="Requests that were never run: their deadline passed, or their caller left.",
        ),
    ),
    "Latency": (
        Panel(
            "Request",
            quantiles("serving_request_duration_seconds", 0.5, 0.95, 0.99),
            "s",
        ),
        Panel(
            "Waiting in the queue",
            quantiles("serving_queue_duration_seconds", 0.5, 0.99),
            "s",
        ),
        Panel(
            "Running the model",
            quantiles("serving_compute_duration_seconds", 0.5, 0.99),
            "s",
        ),
    ),
    "Batches and queues": (
        Panel("Rows of a run, mean", {mean("serving_batch_size"): _V}),
        Panel("Rows a second", {rate("serving_inference_total"): _V}, "rowsps"),
        Panel(
            "Runs a second",
            {
                rate("serving_execution_total"): _V,
                rate("serving_execution_failed_total"): f"{_V} failed",
            },
            "ops",
        ),
        Panel(
            "How full the queues are",
            {_part("serving_queue_requests", "serving_queue_limit_requests"): _V},
            "percentunit",
            text="By number of requests.",
        ),
        Panel(
            "Requests in flight",
            {chosen("serving_in_flight_requests"): _V},
        ),
        Panel(
            "Permits",
            {
                ours("serving_permits"): f"{_I} held",
                ours("serving_permits_limit"): f"{_I} limit",
            },
            text="Batches that run at once.",
        ),
    ),
    "Versions": (
        Panel(
            "States",
            {chosen("serving_model_state"): ""},
            kind="table",
            text="What each version is doing now.",
        ),
        Panel("The version that answers", {chosen("serving_model_default_version"): "{{model}}"}),
        Panel(
            "Changes of it",
            {_increase("serving_default_version_change_total", "model"): "{{model}}"},
        ),
        Panel(
            "Loads",
            {_increase("serving_model_load_total", "model, outcome"): "{{model}} {{outcome}}"},
        ),
        Panel(
            "Verdicts of gates",
            {_increase("serving_gate_verdicts_total", "model, verdict"): "{{model}} {{verdict}}"},
        ),
        Panel(
            "Versions that wait for a verdict",
            {chosen("serving_gate_waiting_seconds"): "{{model}}"},
            "s",
        ),
        Panel("Seconds that a load took", {chosen("serving_model_load_seconds"): _V}, "s"),
        Panel("Memory by version", {chosen("serving_model_memory_bytes"): _V}, "bytes"),
        Panel(
            "Ends of child processes",
            {rate("serving_isolated_process_crash_total"): _V},
            "ops",
        ),
    ),
    "Rollouts": (
        Panel(
            "Share that a new version is to answer",
            {chosen("serving_rollout_share"): _V},
            "percentunit",
        ),
        Panel(
            "State",
            {chosen("serving_rollout_phase"): ""},
            kind="table",
            text="Of each model's last rollout.",
        ),
        Panel(
            "Proof that it is sound",
            {chosen("serving_rollout_proof"): _V},
            "percentunit",
            text="At 100 % it may be promoted.",
        ),
        Panel(
            "Ends",
            {_increase("serving_rollout_ended_total", "model, outcome"): "{{model}} {{outcome}}"},
        ),
        Panel(
            "Answers by version, and why it was that one",
            {rate("serving_route_total", "model, version, route"): f"{_V} {{{{route}}}}"},
            "reqps",
        ),
        Panel(
            "Failed there, and asked of the default version",
            {rate("serving_fallback_total"): _V},
            "reqps",
        ),
        Panel(
            "Answers with NaN or infinity",
            {
                f"{rate('serving_nonfinite_answers_total')}"
                f" / {rate('serving_inspected_answers_total')}": _V
            },
            "percentunit",
            text="Counted only while a rollout is under way.",
        ),
        Panel(
            "How far its outputs are from the others",
            {chosen("serving_rollout_drift"): f"{_V} {{{{of}}}}"},
            "percentunit",
            text="Distances of the distributions in this step, where canary.drift asks for them.",
        ),
        Panel(
            "Longer in its step than that has to last",
            {chosen("serving_rollout_overdue_seconds"): _V},
            "s",
        ),
    ),
    "Shadows": (
        Panel(
            "Copies",
            {
                rate("serving_shadow_copies_total"): f"{_V} made",
                rate(
                    "serving_shadow_dropped_total", "model, version, reason"
                ): f"{_V} {{{{reason}}}}",
                rate("serving_shadow_failed_total"): f"{_V} failed",
            },
            "ops",
            text="Of requests for shadows: made, dropped by reason, and failed.",
        ),
        Panel(
            "Different answers",
            {
                f"{rate('serving_shadow_different_total')}"
                f" / {rate('serving_shadow_compared_total')}": _V
            },
            "percentunit",
            text="Part of a shadow's answers that differ from those given.",
        ),
    ),
    "Features": (
        Panel(
            "Features with an anomaly",
            {chosen("serving_feature_anomalies_active"): f"{_V} {{{{type}}}}"},
            text="What does not fit the model's schema, or is far from its training data.",
        ),
        Panel(
            "Distance of the farthest feature",
            {chosen("serving_feature_distance_max"): f"{_V} {{{{kind}}}}"},
            text="From the baseline (skew), the window before (drift), another version (versions).",
        ),
    ),
    "Process": (
        Panel("CPU", {f"rate({ours('process_cpu_seconds_total')}[$__rate_interval])": _I}, "short"),
        Panel(
            "Resident memory",
            {ours("process_resident_memory_bytes"): _I},
            "bytes",
        ),
        Panel(
            "Bytes of requests held",
            {
                ours("serving_buffered_bytes"): _I,
                ours("serving_buffered_bytes_limit"): f"{_I} limit",
            },
            "bytes",
        ),
        Panel(
            "Connections",
            {
                ours("serving_connections"): _I,
                ours("serving_connections_limit"): f"{_I} limit",
            },
        ),
        Panel(
            "Memory set aside for models",
            {
                ours("serving_models_memory_bytes"): _I,
                ours("serving_models_memory_limit_bytes"): f"{_I} limit",
            },
            "bytes",
        ),
        Panel(
            "Lost on the way to observers",
            {
                f"rate({ours(f'serving_{what}_dropped_total')}[$__rate_interval])": f"{_I} {what}s"
                for what in ("event", "span", "sample")
            },
            "ops",
            text="Log records, spans and sampled requests that nobody took in time.",
        ),
    ),
}


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }


def variables() -> list[dict[str, Any]]:
    models = 'label_values(serving_model_state{instance=~"$instance"}, model)'
    return [
        {"name": "source", "label": "Data source", "type": "datasource", "query": "prometheus"},
        _variable("instance", "Instance", "label_values(serving_ready, instance)"),
        _variable("model", "Model", models),
    ]


def document() -> dict[str, Any]:
    """What Grafana imports."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS.items():
        place = {"h": 1, "w": WIDTH, "x": 0, "y": top}
        panels.append(
            {"id": len(panels) + 1, "type": "row", "title": title, "gridPos": place, "panels": []}
        )
        across = min(len(row), 4) if len(row) != 6 else 3
        width = WIDTH // across
        for index, panel in enumerate(row):
            down, right = divmod(index, across)
            place = {"h": HEIGHT, "w": width, "x": right * width, "y": top + 1 + down * HEIGHT}
            panels.append(panel.document(len(panels) + 1, place))
        top += 1 + HEIGHT * -(-len(row) // across)
    return {
        "uid": "serving",
        "title": "Model serving",
        "tags": ["serving"],
        "timezone": "browser",
        "schemaVersion": 39,
        "version": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": variables()},
        "panels": panels,
    }
