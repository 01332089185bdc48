"""Each alert rule fires on what it is for, and only then (``promtool test rules``)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring.tools import FOLDER, alerts, run, tool

pytestmark = pytest.mark.prometheus

INSTANCE = {"job": "serving", "instance": "one:8082"}
MODEL = {**INSTANCE, "model": "m"}
VERSION = {**MODEL, "version": "3"}
# promtool's notation: a start, what is added each minute, and how often.
LASTING = "x40"
Series = dict[str, str]
Case = tuple[dict[str, str], Series, Series]


def _inside(labels: dict[str, str]) -> str:
    return ",".join(f'{key}="{value}"' for key, value in labels.items())


def _series(name: str, labels: dict[str, str], **more: str) -> str:
    return f"{name}{{{_inside({**labels, **more})}}}"


def _level(name: str, labels: dict[str, str], loud: float, quiet: float, **more: str) -> Case:
    """A gauge that stands at one value."""
    series = _series(name, labels, **more)
    return {**labels, **more}, {series: f"{loud}{LASTING}"}, {series: f"{quiet}{LASTING}"}


def _of_limit(name: str, limit: str, labels: dict[str, str], **more: str) -> Case:
    """A gauge beside its limit of 100."""
    bound = {_series(limit, labels, **more): f"100{LASTING}"}
    loud = {_series(name, labels, **more): f"95{LASTING}", **bound}
    quiet = {_series(name, labels, **more): f"80{LASTING}", **bound}
    return {**labels, **more}, loud, quiet


def _growth(name: str, labels: dict[str, str], loud: str, quiet: str, **more: str) -> Case:
    """A counter; minutes' values by promtool's notation."""
    series = _series(name, labels, **more)
    return {**labels, **more}, {series: loud}, {series: quiet}


def _not_written() -> Case:
    """What waits to be written back, while attempts to do so fail."""
    waits = _series("serving_write_back_waiting", INSTANCE)
    failures = {_series("serving_write_back_failure_total", INSTANCE): f"0+1{LASTING}"}
    return (
        INSTANCE,
        {waits: f"1{LASTING}", **failures},
        {waits: f"0{LASTING}", **failures},
    )


def _share(code: str, loud: int, quiet: int) -> Case:
    """Of a thousand requests a minute, so many with this code."""

    def series(bad: int) -> Series:
        return {
            _series("serving_request_total", VERSION, code="OK", protocol="grpc"): (
                f"0+{1000 - bad}{LASTING}"
            ),
            _series("serving_request_total", VERSION, code=code, protocol="grpc"): (
                f"0+{bad}{LASTING}"
            ),
        }

    return VERSION, series(loud), series(quiet)


def _slow() -> Case:
    def series(quick: int) -> Series:
        name = "serving_request_duration_seconds_bucket"
        counts = {"0.5": quick, "1.0": quick, "2.5": 1000, "+Inf": 1000}
        return {
            _series(name, VERSION, protocol="http", le=bound): f"0+{count}{LASTING}"
            for bound, count in counts.items()
        }

    return VERSION, series(900), series(1000)


def _no_version() -> Case:
    state = {_series("serving_model_state", VERSION, state="FAILED"): f"1{LASTING}"}
    other = {_series("serving_model_state", {**VERSION, "version": "2"}, state="READY"): "1x40"}
    answers = {_series("serving_model_default_version", MODEL): f"2{LASTING}"}
    return MODEL, state, {**state, **other, **answers}


def _differs(loud: int, quiet: int) -> Case:
    """Of a hundred answers of a shadow a minute, so many."""
    compared = {_series("serving_shadow_compared_total", VERSION): f"0+100{LASTING}"}
    name = _series("serving_shadow_different_total", VERSION)
    return (
        VERSION,
        {**compared, name: f"0+{loud}{LASTING}"},
        {**compared, name: f"0+{quiet}{LASTING}"},
    )


def _left_out(loud: str, quiet: str) -> Case:
    """Of a hundred samples a minute, so many."""
    made = {_series("serving_statistics_samples_total", INSTANCE): f"0+100{LASTING}"}

    def series(dropped: str) -> Series:
        name = _series("serving_statistics_dropped_total", INSTANCE, reason="queue")
        return {**made, name: f"0+{dropped}{LASTING}"}

    return INSTANCE, series(loud), series(quiet)


STEADY = f"7{LASTING}"
# Alert -> (labels it fires with, series that make it fire, series that don't).
CASES: dict[str, Case] = {
    "ServingDown": _level("up", INSTANCE, 0, 1),
    "ServingNotReady": _level("serving_ready", INSTANCE, 0, 1),
    "ServingConnectionsNearLimit": _of_limit(
        "serving_connections", "serving_connections_limit", INSTANCE
    ),
    "ServingConnectionsRefused": _growth(
        "serving_connection_refused_total", INSTANCE, f"0+2{LASTING}", STEADY
    ),
    "ServingBufferNearlyFull": _of_limit(
        "serving_buffered_bytes", "serving_buffered_bytes_limit", INSTANCE
    ),
    "ServingOpenFilesNearLimit": _of_limit("process_open_fds", "process_max_fds", INSTANCE),
    "ServingLogRecordsLost": _growth(
        "serving_event_dropped_total", INSTANCE, f"0+5{LASTING}", STEADY
    ),
    "ServingErrors": _share("INTERNAL", 20, 5),
    "ServingRefusing": _share("RESOURCE_EXHAUSTED", 100, 20),
    "ServingDeadlinesMissed": _share("504", 100, 20),
    "ServingSlow": _slow(),
    "ServingQueueNearlyFull": _of_limit(
        "serving_queue_requests", "serving_queue_limit_requests", VERSION
    ),
    "ServingVersionFailed": _level("serving_model_state", VERSION, 1, 0, state="FAILED"),
    "ServingModelWithoutVersion": _no_version(),
    "ServingLoadsFailing": _growth(
        "serving_model_load_total", MODEL, f"0+1{LASTING}", STEADY, outcome="failed"
    ),
    "ServingDefaultVersionFlapping": _growth(
        "serving_default_version_change_total", MODEL, f"0+1{LASTING}", f"0x20 1{LASTING}"
    ),
    "ServingRolledBack": _growth(
        "serving_rollout_ended_total", MODEL, f"0x25 1{LASTING}", STEADY, outcome="rolled_back"
    ),
    "ServingVersionNotBlessed": _growth(
        "serving_gate_verdicts_total", MODEL, f"0x25 1{LASTING}", STEADY, verdict="NOT_BLESSED"
    ),
    "ServingVerdictWaits": _level("serving_gate_waiting_seconds", MODEL, 2000, 60),
    "ServingWriteBackFailing": _not_written(),
    "ServingRolloutStuck": _level("serving_rollout_overdue_seconds", VERSION, 30_000, 60),
    "ServingShadowDiffers": _differs(5, 0),
    "ServingProcessCrashing": _growth(
        "serving_isolated_process_crash_total", VERSION, f"0+1{LASTING}", f"0x25 1{LASTING}"
    ),
    "ServingProcessDown": _level("serving_isolated_process_up", VERSION, 0, 1),
    "ServingMemoryNearlyFull": _of_limit(
        "serving_models_memory_bytes", "serving_models_memory_limit_bytes", INSTANCE
    ),
    "ServingFeatureAnomaly": _level(
        "serving_feature_anomalies_active", VERSION, 1, 0, type="FEATURE_TYPE_NOT_PRESENT"
    ),
    "ServingStatisticsDropped": _left_out("30", "3"),
    # promtool's clock begins at 0: a look at minute 5 is old by minute 31.
    "ServingRegistryNotRead": _growth(
        "serving_registry_last_scan_timestamp_seconds", INSTANCE, f"300{LASTING}", "0+60x40"
    ),
    "ServingRegistryUnreadable": _level("serving_registry_unreadable", INSTANCE, 1, 0),
    "ServingLoopFailing": _growth(
        "serving_reconcile_failed_total", INSTANCE, f"0+1{LASTING}", STEADY
    ),
}
EVAL_TIME = "31m"


def test_every_alert_has_its_cases() -> None:
    assert set(CASES) == {rule["alert"] for rule in alerts()}


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_on_what_it_is_for_and_only_then(name: str, tmp_path: Path) -> None:
    labels, loud, quiet = CASES[name]
    (rule,) = [one for one in alerts() if one["alert"] == name]
    expected = {
        "exp_labels": {**labels, **rule["labels"]},
        "exp_annotations": {
            key: _filled(text, labels) for key, text in rule["annotations"].items()
        },
    }
    tests = [_test(name, loud, [expected]), _test(name, quiet, [])]
    document = {
        "rule_files": [str(FOLDER / "alerts.yaml")],
        "evaluation_interval": "1m",
        "tests": tests,
    }
    path = tmp_path / "test.yaml"
    path.write_text(yaml.safe_dump(document))
    run(tool("promtool"), "test", "rules", path)


def _test(name: str, series: Series, expected: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "interval": "1m",
        "input_series": [{"series": one, "values": values} for one, values in series.items()],
        "alert_rule_test": [{"eval_time": EVAL_TIME, "alertname": name, "exp_alerts": expected}],
    }


def _filled(text: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels[found[1]], text)
