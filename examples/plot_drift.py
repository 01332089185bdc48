"""Draw what Prometheus and MLflow recorded of `examples/drift.py` while it ran, as SVG.

python examples/drift.py --keep --folder DIR      # and meanwhile:
python examples/plot_drift.py DIR prometheus.svg [mlflow.svg]
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from local_services import StoryError, ask
from plot_tracked_run import GAP, LEFT, PANEL, TOP, WIDTH, Point, history, newest_run, panel, text

# As far back as is drawn, and from point to point.
SECONDS, STEP = 75, 1
PAYMENTS = 'model="payments",version="1"'
# Each panel's title; its expressions, or keys of MLflow's curves, by the label of their curves.
PROMETHEUS = {
    "Requests a second, by answer": {
        "OK": f'sum(rate(serving_request_total{{{PAYMENTS},code="OK"}}[5s]))',
        "any other": f'sum(rate(serving_request_total{{{PAYMENTS},code!="OK"}}[5s])) or vector(0)',
    },
    "serving_feature_distance_max": {
        kind: f'serving_feature_distance_max{{{PAYMENTS},kind="{kind}"}}'
        for kind in ("skew", "drift")
    },
    "serving_feature_anomalies_active, all types": {
        "features": f"sum(serving_feature_anomalies_active{{{PAYMENTS}}}) or vector(0)",
    },
    "Alert ServingFeatureAnomaly": {
        "firing": 'count(ALERTS{alertname="ServingFeatureAnomaly",alertstate="firing"})'
        " or vector(0)",
    },
}
MLFLOW = {
    "request_rate, errors": {"request_rate": "request_rate", "errors": "errors"},
    "feature_distance": {kind: f"feature_distance/{kind}" for kind in ("skew", "drift")},
    "feature_anomalies": {"features": "feature_anomalies"},
}


@dataclass(frozen=True)
class Span:
    """Seconds since the epoch."""

    start: float
    end: float


def from_prometheus(url: str, expression: str, span: Span) -> list[Point]:
    """Raises StoryError."""
    query = {"query": expression, "start": str(span.start), "end": str(span.end), "step": str(STEP)}
    found = ask(f"{url}/api/v1/query_range", query)["data"]["result"]
    return [(at, float(value)) for at, value in found[0]["values"]] if found else []


def from_mlflow(url: str, key: str, span: Span) -> list[Point]:
    """Raises LookupError without a run of the model."""
    points = history(url, newest_run(url, "payments", 1), key)
    found = [(point["timestamp"] / 1e3, float(point["value"])) for point in points]
    return sorted(point for point in found if span.start <= point[0] <= span.end)


def draw(title: str, panels: Mapping[str, Mapping[str, Sequence[Point]]], span: Span) -> str:
    """Below each other, over the same time. Raises LookupError where there is nothing to draw."""
    if not any(points for curves in panels.values() for points in curves.values()):
        raise LookupError(f"{title}: nothing was recorded in the last {SECONDS} s")
    height = TOP + len(panels) * (PANEL + GAP)
    box = f'viewBox="0 0 {WIDTH} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        text(LEFT, 22, title, size=15),
    ]
    for place, (name, curves) in enumerate(panels.items()):
        moved = {
            label: [(at - span.start, value) for at, value in points]
            for label, points in curves.items()
        }
        parts += panel(TOP + place * (PANEL + GAP), name, moved, span.end - span.start)
    return "\n".join((*parts, "</svg>", ""))


def main() -> int:
    if len(sys.argv) not in (3, 4):
        print(__doc__, file=sys.stderr)
        return 2
    now = time.time()
    span = Span(now - SECONDS, now)
    try:
        urls = json.loads((Path(sys.argv[1]) / "addresses.json").read_text())
        sources = (
            ("prometheus", PROMETHEUS, from_prometheus, "What Prometheus recorded"),
            ("mlflow", MLFLOW, from_mlflow, "What MLflow recorded"),
        )
        for (name, wanted, read, title), out in zip(sources, sys.argv[2:], strict=False):
            if name not in urls:
                raise LookupError(f"the example runs without {name}")
            panels = {
                each: {label: read(urls[name], what, span) for label, what in curves.items()}
                for each, curves in wanted.items()
            }
            Path(out).write_text(draw(title, panels, span))
            print(f"the last {SECONDS} s of {name} drawn in {out}")
    except (LookupError, OSError, ValueError, StoryError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
