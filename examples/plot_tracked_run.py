"""Draw what a tracked version did, window by window, as an SVG file.

python examples/plot_tracked_run.py WINDOWS MODEL VERSION OUT.svg

WINDOWS: the folder of `tracking.jsonl.path`, or the address of an MLflow tracking server
(http://...), whose newest run of the version is drawn. Nothing else is needed than Python.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

# Each panel: title, unit, and figure -> label.
PANELS: tuple[tuple[str, str, Mapping[str, str]], ...] = (
    ("Requests", "1/s", {"request_rate": "requests"}),
    (
        "Latency",
        "ms",
        {"total_ms/p50": "p50", "total_ms/p90": "p90", "total_ms/p99": "p99"},
    ),
    (
        "Where the time goes, p50",
        "ms",
        {"queue_ms/p50": "queue", "compute_ms/p50": "compute"},
    ),
    ("Rows of a run", "rows", {"batch_rows": "mean"}),
    ("Not answered well", "a window", {"errors": "errors", "refusals": "of them refused"}),
)
COLOURS = ("#1f77b4", "#d95f02", "#2a9d5c", "#7a5195")
WIDTH, PANEL, GAP, LEFT, RIGHT, TOP = 760, 110, 44, 62, 120, 52

Point = tuple[float, float]


@dataclass(frozen=True)
class Window:
    """``at``: its end, in seconds since the epoch."""

    at: float
    figures: Mapping[str, float]


def from_files(folder: Path, model: str, version: int) -> list[Window]:
    """The version's windows, oldest first."""
    found = []
    for path in folder.glob("*.jsonl"):
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            if (entry["model"], entry["version"]) == (model, version):
                found.append(Window(entry["end"], entry["figures"]))
    return sorted(found, key=lambda window: window.at)


def from_mlflow(uri: str, model: str, version: int) -> list[Window]:
    """The windows of the newest run that is tagged with the version."""
    run = newest_run(uri, model, version)
    figures: dict[float, dict[str, float]] = {}
    for _, _, lines in PANELS:
        for key in lines:
            for point in history(uri, run, key):
                figures.setdefault(point["timestamp"] / 1e3, {})[key] = point["value"]
    return [Window(at, figures[at]) for at in sorted(figures)]


def newest_run(uri: str, model: str, version: int) -> str:
    """Raises LookupError without one."""
    experiments = ask(uri, "experiments/search", {"max_results": 1000}).get("experiments", [])
    wanted = f"tags.`serving.model` = '{model}' and tags.`serving.version` = '{version}'"
    body = {
        "experiment_ids": [one["experiment_id"] for one in experiments],
        "filter": wanted,
        "order_by": ["attributes.start_time DESC"],
        "max_results": 1,
    }
    runs = ask(uri, "runs/search", body).get("runs", [])
    if not runs:
        raise LookupError(f"no run of version {version} of {model} at {uri}")
    return str(runs[0]["info"]["run_id"])


def history(uri: str, run: str, key: str) -> list[dict[str, Any]]:
    query = urllib.parse.urlencode({"run_id": run, "metric_key": key, "max_results": 25000})
    found: list[dict[str, Any]] = ask(uri, f"metrics/get-history?{query}").get("metrics", [])
    return found


def ask(uri: str, path: str, body: object = None) -> Any:
    request = urllib.request.Request(
        f"{uri.rstrip('/')}/api/2.0/mlflow/{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json", **authorization()},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def authorization() -> dict[str, str]:
    """The token is taken from where MLflow's own client looks for it."""
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


# Drawing


def draw(windows: Sequence[Window], title: str) -> str:
    """Panels below each other, over the same time. Raises LookupError without two windows."""
    if len(windows) < 2:
        raise LookupError(f"{title}: {len(windows)} windows, which make no curve")
    start, end = windows[0].at, windows[-1].at
    height = TOP + len(PANELS) * (PANEL + GAP)
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        text(LEFT, 22, title, size=15),
    ]
    for place, (name, unit, lines) in enumerate(PANELS):
        curves = {
            label: [(w.at - start, w.figures[key]) for w in windows if key in w.figures]
            for key, label in lines.items()
        }
        top = TOP + place * (PANEL + GAP)
        parts += panel(top, f"{name} ({unit})", curves, end - start)
    return "\n".join((*parts, "</svg>", ""))


def panel(
    top: float, title: str, curves: Mapping[str, Sequence[Point]], seconds: float
) -> Iterable[str]:
    most = nice(max((y for curve in curves.values() for _, y in curve), default=0.0))
    right, bottom = WIDTH - RIGHT, top + PANEL

    def x_of(second: float) -> float:
        return LEFT + (right - LEFT) * second / seconds

    def y_of(value: float) -> float:
        return bottom - PANEL * value / most

    yield text(LEFT, top - 8, title, size=12)
    for share in (0.0, 0.5, 1.0):
        y = y_of(most * share)
        yield f'<path d="M{LEFT} {y:.1f}H{right}" stroke="#ddd" fill="none"/>'
        yield text(LEFT - 6, y + 4, f"{most * share:g}", anchor="end")
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        yield text(x_of(seconds * share), bottom + 14, clock(seconds * share), anchor="middle")
    for index, (label, points) in enumerate(curves.items()):
        colour = COLOURS[index % len(COLOURS)]
        path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in points)
        yield f'<polyline points="{path}" stroke="{colour}" stroke-width="1.5" fill="none"/>'
        yield text(right + 10, top + 12 + 15 * index, label, colour=colour)


def text(
    x: float, y: float, words: str, *, size: int = 11, anchor: str = "start", colour: str = "#333"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"'
        f' fill="{colour}">{escape(words)}</text>'
    )


def nice(most: float) -> float:
    """The next round number."""
    if most <= 0:
        return 1.0
    power = 10.0 ** len(str(int(most))) if most >= 1 else 1.0
    while power > most:
        power /= 10
    return next(power * step for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if power * step >= most)


def clock(seconds: float) -> str:
    return f"{int(seconds // 60)}:{int(seconds % 60):02d}"


def main() -> int:
    if len(sys.argv) != 5:
        print(__doc__, file=sys.stderr)
        return 2
    where, model, version, out = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
    try:
        if where.startswith(("http://", "https://")):
            windows = from_mlflow(where, model, version)
        else:
            windows = from_files(Path(where), model, version)
        out.write_text(draw(windows, f"{model}, version {version}"))
    except (LookupError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(windows)} windows drawn in {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
