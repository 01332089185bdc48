"""Where `examples/drift.py` sees the alarm: the console's figures, Prometheus, MLflow.

Each waits for it, says what it sees, and raises StoryError where it does not come.
"""

from __future__ import annotations

import time
import urllib.request
from typing import Any

import local_services as local
from drift_story import Story, chapter, say, tell
from local_services import StoryError
from plot_tracked_run import ask, history, newest_run

# What one window of the new release's payments shows.
EXPECTED = {
    "COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH",
    "COMPARATOR_L_INFTY_HIGH",
    "ENUM_TYPE_UNEXPECTED_STRING_VALUES",
    "FEATURE_TYPE_NOT_PRESENT",
}


def see_console(story: Story) -> None:
    began = time.monotonic()
    local.wait_for(story.anomalies, story.patience_s, "the gateway tells of an anomaly")
    chapter(f"The alarm, {time.monotonic() - began:.0f} s after the first such payment")

    def of_a_whole_window() -> list[dict[str, Any]]:
        found = story.anomalies()
        return found if {one["type"] for one in found} >= EXPECTED else []

    standing = local.wait_for(of_a_whole_window, story.patience_s, f"anomalies: {EXPECTED}")
    say(f"Console, {story.admin}/#/models/payments, below Features:")
    tell(standing)
    say("In words, with all figures: serving stats live payments --window minute")


def see_prometheus(story: Story) -> None:
    metrics = text_of(f"{story.admin}/metrics")
    lines = [one for one in metrics.splitlines() if one.startswith("serving_feature_")]
    shown = [one for one in lines if "_active" in one and not one.endswith(" 0")]
    if not shown:
        raise StoryError("no metric tells of an anomaly")
    say(f"{story.admin}/metrics has:")
    for line in [*shown, *(one for one in lines if "distance_max" in one)]:
        say(f"  {line}")
    if not story.prometheus:
        return
    if not local.ALERTS.exists():
        say(f"Prometheus, {story.prometheus}: recorded; no alert rules are beside this example")
        return
    alerts = local.wait_for(lambda: firing(story), story.patience_s, "Prometheus fires the alert")
    say(f"Prometheus, {story.prometheus}/alerts, fires:")
    for one in alerts:
        say(f"  {one['labels']['alertname']}: {one['annotations']['summary']}")


def firing(story: Story) -> list[dict[str, Any]] | None:
    """Those of features, once there is one of each type that is expected."""
    alerts = local.ask(f"{story.prometheus}/api/v1/alerts")["data"]["alerts"]
    found = [
        one
        for one in alerts
        if one["labels"]["alertname"] == "ServingFeatureAnomaly" and one["state"] == "firing"
    ]
    return found if {one["labels"]["type"] for one in found} >= EXPECTED else None


def text_of(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read().decode())
    except OSError as error:
        raise StoryError(f"{url}: {error}") from None


def check_mlflow(uri: str) -> None:
    """Raises StoryError where no tracking server answers."""
    try:
        ask(uri, "experiments/search", {"max_results": 1})
    except (OSError, ValueError) as error:
        raise StoryError(f"--tracking-uri {uri}: no MLflow server answers: {error}") from None


def see_mlflow(story: Story) -> None:
    if not story.mlflow:
        return

    def recorded() -> tuple[str, dict[str, list[float]]] | None:
        try:
            run = newest_run(story.mlflow, "payments", 1)
        except LookupError:
            return None
        curves = {
            key: since(story.began, history(story.mlflow, run, key))
            for key in ("feature_anomalies", "feature_distance/skew")
        }
        anomalies = curves["feature_anomalies"]
        return (run, curves) if anomalies and anomalies[-1] >= 3 else None

    try:
        run, curves = local.wait_for(recorded, story.patience_s, "MLflow has the anomalies")
    except (OSError, ValueError) as error:
        raise StoryError(f"{story.mlflow}: {error}") from None
    say(f"MLflow, {story.mlflow}, experiment 'serving', run {run}, has as curves:")
    for key, values in curves.items():
        say(f"  {key}: {values[0]:.3g} in the first window, {values[-1]:.3g} in the last")


def since(began: float, points: list[dict[str, Any]]) -> list[float]:
    """The values of a curve in their order, without those of an earlier story on the same
    server. ``began``: seconds since the epoch."""
    ours = [(one["timestamp"], one["value"]) for one in points if one["timestamp"] >= began * 1e3]
    return [value for _, value in sorted(ours)]
