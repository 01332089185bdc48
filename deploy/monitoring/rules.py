"""The alert rules, as data. Thresholds that depend on what is served stand at the top."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# Seconds that 99 of 100 requests should need at most.
SLOW_S = 1.0
# Shares of a version's requests.
ERRORS = 0.01
REFUSED = 0.05
LATE = 0.05
# Of a limit, from which on there is little left.
NEARLY = 0.9
# How old the last look at the model directories may be, in seconds.
UNSEEN_S = 60
# Part of a shadow's answers that may differ.
SHADOW_DIFFERS = 0.01
# How much longer than a step has to last a rollout may stay in it, in seconds.
STUCK_S = 6 * 3600
# Of the samples for statistics, that may be left out.
DROPPED = 0.1
# How long a version may wait for the verdict of its gates, in seconds.
UNJUDGED_S = 1800
# Changes of the default version in a quarter of an hour.
FLAPPING = 6

# Codes of requests that are told to come again: TensorFlow Serving's and MLflow's paths say 429 for
# a full queue, where others say 503.
REFUSALS = "RESOURCE_EXHAUSTED|UNAVAILABLE|429|503"

INSTANCE = "job, instance"
VERSION = "job, instance, model, version"


@dataclass(frozen=True)
class Alert:
    """``expr`` holds for ``wait`` before it fires. ``summary`` says what is wrong, ``advice``
    what it means and where to look; both may name labels as ``{{ $labels.model }}``."""

    name: str
    expr: str
    wait: str
    severity: str
    summary: str
    advice: str

    def rule(self) -> dict[str, Any]:
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.wait,
            "labels": {"severity": self.severity},
            "annotations": {"summary": self.summary, "description": self.advice},
        }


def share_of_requests(codes: str, labels: str = "", window: str = "5m") -> str:
    """Of each version's requests those with these codes. ``labels``: a selector's inside."""
    coded = ",".join(filter(None, [labels, f'code=~"{codes}"']))
    some = f"sum by ({VERSION}) (rate(serving_request_total{{{coded}}}[{window}]))"
    return f"{some} / sum by ({VERSION}) (rate(serving_request_total{{{labels}}}[{window}]))"


_AT = "{{ $labels.instance }}"
_MODEL = "{{ $labels.model }}"
_WHICH = "{{ $labels.model }} version {{ $labels.version }} on {{ $labels.instance }}"

SERVICE = (
    Alert(
        "ServingDown",
        'up{job="serving"} == 0',
        "1m",
        "critical",
        f"{_AT} can't be scraped",
        "The process has ended, hangs, or its admin port can't be reached.",
    ),
    Alert(
        "ServingNotReady",
        "serving_ready == 0",
        "5m",
        "critical",
        f"{_AT} is not ready",
        "It is still loading what it found at its start, or it is draining. `serving models status`"
        " says what it waits for.",
    ),
    Alert(
        "ServingConnectionsNearLimit",
        f"serving_connections / serving_connections_limit > {NEARLY}",
        "5m",
        "warning",
        f"{_AT} has nearly as many connections as it accepts",
        "Beyond `limits.max_connections` new ones are closed at once.",
    ),
    Alert(
        "ServingConnectionsRefused",
        "increase(serving_connection_refused_total[5m]) > 0",
        "0m",
        "warning",
        f"{_AT} closed connections over its limit",
        "See `limits.max_connections`, and whether clients use their connections again.",
    ),
    Alert(
        "ServingBufferNearlyFull",
        f"serving_buffered_bytes / serving_buffered_bytes_limit > {NEARLY}",
        "2m",
        "warning",
        f"{_AT} holds nearly as many bytes of requests as it may",
        "Beyond the limit requests are refused. Large tensors wait in queues, or clients read their"
        " answers slowly.",
    ),
    Alert(
        "ServingOpenFilesNearLimit",
        'process_open_fds{job="serving"} / process_max_fds{job="serving"} > 0.9',
        "5m",
        "warning",
        f"{_AT} has nearly as many files open as it may",
        "Every connection is one. Raise the limit, or lower `limits.max_connections`.",
    ),
    Alert(
        "ServingLogRecordsLost",
        "increase(serving_event_dropped_total[10m]) > 0",
        "0m",
        "info",
        f"{_AT} lost log records",
        "More was to be logged than could be written: often a flood of errors, or a slow reader of"
        " the log.",
    ),
)

REQUESTS = (
    Alert(
        "ServingErrors",
        f"{share_of_requests('INTERNAL|500')} > {ERRORS}",
        "5m",
        "critical",
        f"{_WHICH} fails requests",
        "These are the model's faults, or the gateway's: the log has the reason of each under its"
        " request id.",
    ),
    Alert(
        "ServingRefusing",
        f"{share_of_requests(REFUSALS)} > {REFUSED}",
        "5m",
        "warning",
        f"{_WHICH} refuses requests",
        "Its queue is full, or the version can't be reached. See the queue's depth beside its"
        " limits, and the version's state.",
    ),
    Alert(
        "ServingDeadlinesMissed",
        f"{share_of_requests('DEADLINE_EXCEEDED|504')} > {LATE}",
        "5m",
        "warning",
        f"{_WHICH} answers too late",
        "Deadlines pass while requests wait or run. More replicas, larger batches, or longer"
        " deadlines.",
    ),
    Alert(
        "ServingSlow",
        f"histogram_quantile(0.99, sum by ({VERSION}, le)"
        f" (rate(serving_request_duration_seconds_bucket[5m]))) > {SLOW_S:g}",
        "10m",
        "warning",
        f"{_WHICH} is slow",
        "One request of a hundred takes too long. Queue and compute time say where.",
    ),
    Alert(
        "ServingQueueNearlyFull",
        f"serving_queue_requests / serving_queue_limit_requests > {NEARLY}",
        "2m",
        "warning",
        f"The queue of {_WHICH} is nearly full",
        "It gets more than it can do: requests are refused beyond the limit.",
    ),
)

VERSIONS = (
    Alert(
        "ServingVersionFailed",
        'serving_model_state{state="FAILED"} == 1',
        "5m",
        "warning",
        f"{_WHICH} could not be loaded",
        "`serving models status` says why. The versions before it go on answering.",
    ),
    Alert(
        "ServingModelWithoutVersion",
        f"count by ({INSTANCE}, model) (serving_model_state)"
        f" unless on ({INSTANCE}, model) serving_model_default_version",
        "5m",
        "critical",
        f"No version of {_MODEL} answers on {_AT}",
        "Requests for it get 503 or 404. `serving models status` says what became of its versions.",
    ),
    Alert(
        "ServingLoadsFailing",
        'increase(serving_model_load_total{outcome="failed"}[30m]) > 3',
        "0m",
        "warning",
        f"Loads of {_MODEL} fail again and again on {_AT}",
        "They are tried again as long as that may help. `serving models history` has the reasons.",
    ),
    Alert(
        "ServingDefaultVersionFlapping",
        f"increase(serving_default_version_change_total[15m]) > {FLAPPING}",
        "0m",
        "warning",
        f"The version of {_MODEL} that answers keeps changing on {_AT}",
        "Two publishers, or commands against each other.",
    ),
    Alert(
        "ServingRolledBack",
        'increase(serving_rollout_ended_total{outcome="rolled_back"}[15m]) > 0',
        "0m",
        "warning",
        f"A new version of {_MODEL} was rolled back on {_AT}",
        "The version before answers on, and no request failed for it. `serving rollout status` says"
        " what the judge saw.",
    ),
    Alert(
        "ServingRolloutStuck",
        f"serving_rollout_overdue_seconds > {STUCK_S}",
        "5m",
        "info",
        f"The rollout of {_WHICH} does not go on",
        "`serving rollout status` says what it waits for: traffic, a proof, the version itself, or"
        " somebody who paused it.",
    ),
    Alert(
        "ServingShadowDiffers",
        f"increase(serving_shadow_different_total[15m]) > {SHADOW_DIFFERS} *"
        " increase(serving_shadow_compared_total[15m])",
        "5m",
        "info",
        f"{_WHICH} answers otherwise, as a shadow, than the version that is asked",
        "`serving rollout differences` has rate and size by output, and examples.",
    ),
    Alert(
        "ServingVersionNotBlessed",
        'increase(serving_gate_verdicts_total{verdict="NOT_BLESSED"}[15m]) > 0',
        "0m",
        "warning",
        f"A new version of {_MODEL} did not pass its gates on {_AT}",
        "It answers nobody, and the version before answers on. `serving models status` says what it"
        " failed; who lets it in all the same says `serving models bless`.",
    ),
    Alert(
        "ServingVerdictWaits",
        f"serving_gate_waiting_seconds > {UNJUDGED_S}",
        "5m",
        "info",
        f"A new version of {_MODEL} waits for the verdict of its gates on {_AT}",
        "`serving models status` says whether its turn has not come (`gates.parallel`), or why it"
        " could not be judged.",
    ),
    Alert(
        "ServingWriteBackFailing",
        "serving_write_back_waiting > 0 and increase(serving_write_back_failure_total[15m]) > 3",
        "15m",
        "info",
        f"What was decided on {_AT} can't be written to MLflow's registry",
        "It is kept and tried again; what serves does not depend on it. `serving track` says why.",
    ),
    Alert(
        "ServingProcessCrashing",
        "increase(serving_isolated_process_crash_total[10m]) > 3",
        "0m",
        "warning",
        f"The child process of {_WHICH} keeps ending",
        "Requests, or the model itself, crash it. The log says which, by request id; those requests"
        " are answered UNAVAILABLE.",
    ),
    Alert(
        "ServingProcessDown",
        "serving_isolated_process_up == 0",
        "2m",
        "critical",
        f"The child process of {_WHICH} is gone",
        "It could not be started again: see the log for how it ends.",
    ),
    Alert(
        "ServingMemoryNearlyFull",
        f"serving_models_memory_bytes / serving_models_memory_limit_bytes > {NEARLY}",
        "10m",
        "info",
        f"Models on {_AT} take nearly all the memory that they may",
        "The next version may not find room beside the one that it replaces.",
    ),
)

FEATURES = (
    Alert(
        "ServingFeatureAnomaly",
        f"sum by ({VERSION}, type) (serving_feature_anomalies_active) > 0",
        "0m",
        "warning",
        f"What {_WHICH} gets or gives is not as expected: {{{{ $labels.type }}}}",
        "Features don't fit the model's schema, or are far from its training data. `GET"
        " /api/v1/models/NAME/versions/VERSION/anomalies` on the admin port names them.",
    ),
    Alert(
        "ServingStatisticsDropped",
        f"sum by ({INSTANCE}) (rate(serving_statistics_dropped_total[10m]))"
        f" > {DROPPED} * sum by ({INSTANCE}) (rate(serving_statistics_samples_total[10m]))",
        "10m",
        "info",
        f"Statistics on {_AT} leave out many of their samples",
        "The thread that makes them does not get on, or they have no memory left: see"
        " `serving_statistics_dropped_total` by its reason, and `statistics.memory_bytes`.",
    ),
)

REGISTRY = (
    Alert(
        "ServingRegistryNotRead",
        f"time() - serving_registry_last_scan_timestamp_seconds > {UNSEEN_S}",
        "1m",
        "warning",
        f"{_AT} has not looked at its models for a while",
        "The directories hang: most often a network file system. New versions are not seen.",
    ),
    Alert(
        "ServingRegistryUnreadable",
        "serving_registry_unreadable > 0",
        "5m",
        "warning",
        f"{_AT} can't list a model directory",
        "What was loaded from it goes on answering. The log has the reason.",
    ),
    Alert(
        "ServingLoopFailing",
        "increase(serving_reconcile_failed_total[10m]) > 0",
        "0m",
        "critical",
        f"{_AT} can't bring its models to where they should be",
        "An error in the gateway itself. What is loaded goes on answering; the log has the error.",
    ),
)

GROUPS = {
    "serving-service": SERVICE,
    "serving-requests": REQUESTS,
    "serving-versions": VERSIONS,
    "serving-features": FEATURES,
    "serving-registry": REGISTRY,
}


def document() -> dict[str, Any]:
    """What Prometheus reads."""
    groups = [
        {"name": name, "rules": [alert.rule() for alert in alerts]}
        for name, alerts in GROUPS.items()
    ]
    return {"groups": groups}
