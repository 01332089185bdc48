"""The families of metrics that Python knows: names, kinds, help, and how they are written.

Names and labels are kept from now on. Those of requests and batches are the core's
(``core/engine/src/metrics/families.rs``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Labels = Mapping[str, str]
Sample = tuple[Labels, float]


# By identity: they are keys of tables that every line goes through.
@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """``kind`` as Prometheus has it; ``text`` is one line for people."""

    name: str
    kind: Literal["gauge", "counter"]
    text: str

    @property
    def head(self) -> str:
        return f"# HELP {self.name} {self.text}\n# TYPE {self.name} {self.kind}\n"

    def line(self, pairs: str, value: float) -> str:
        """``pairs``: see ``pairs``."""
        return f"{self.name}{pairs} {number(value)}\n"

    def block(self, samples: Iterable[Sample]) -> str:
        """The whole family in Prometheus text format 0.0.4."""
        return self.head + "".join(self.line(pairs(labels), value) for labels, value in samples)


def pairs(labels: Labels) -> str:
    """``{model="m",version="1"}``; "" without any."""
    if not labels:
        return ""
    inner = ",".join(f'{key}="{escaped(label)}"' for key, label in labels.items())
    return f"{{{inner}}}"


def escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def number(value: float) -> str:
    if isinstance(value, int):
        return str(int(value))
    if math.isfinite(value):
        return repr(float(value))
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


BUILD = Family("serving_build_info", "gauge", "Versions of what is running.")

# Of one version, from its view.
STATE = Family(
    "serving_model_state",
    "gauge",
    "The state that a model's version is in (1 for the one it is in).",
)
READY_SINCE = Family(
    "serving_model_ready_timestamp_seconds", "gauge", "When a version became ready."
)
LOAD_SECONDS = Family(
    "serving_model_load_seconds",
    "gauge",
    "How long a version took from the start of its load until it was ready.",
)
MEMORY = Family(
    "serving_model_memory_bytes",
    "gauge",
    "Memory that a version takes, as its trial measured it or by its files' sizes.",
)
COST_FIXED = Family(
    "serving_model_cost_fixed_seconds",
    "gauge",
    "What a run costs however many rows it has, measured when the version was warmed.",
)
COST_PER_ROW = Family(
    "serving_model_cost_per_row_seconds",
    "gauge",
    "What each row of a run costs, measured when the version was warmed.",
)
BEST_ROWS = Family(
    "serving_model_best_batch_rows", "gauge", "Rows of the run in which a row is cheapest."
)
NODES = Family(
    "serving_model_provider_nodes", "gauge", "Graph nodes that an execution provider really got."
)
BATCH_LIMIT = Family(
    "serving_batch_limit_rows", "gauge", "Most rows of a batch; 0: every request runs alone."
)
QUEUE_LIMIT_REQUESTS = Family(
    "serving_queue_limit_requests", "gauge", "Requests that may wait in the queue."
)
QUEUE_LIMIT_ROWS = Family("serving_queue_limit_rows", "gauge", "Rows that may wait in the queue.")
QUEUE_LIMIT_BYTES = Family(
    "serving_queue_limit_bytes", "gauge", "Bytes of input that may wait in the queue."
)
ISOLATED = Family(
    "serving_model_isolated", "gauge", "1 for a version that runs in a child process of its own."
)
HELD_BACK = Family(
    "serving_model_held_back",
    "gauge",
    "1 for a version whose signature keeps it from requests that name no version.",
)
OF_VERSIONS = (
    STATE,
    READY_SINCE,
    LOAD_SECONDS,
    MEMORY,
    COST_FIXED,
    COST_PER_ROW,
    BEST_ROWS,
    NODES,
    BATCH_LIMIT,
    QUEUE_LIMIT_REQUESTS,
    QUEUE_LIMIT_ROWS,
    QUEUE_LIMIT_BYTES,
    ISOLATED,
    HELD_BACK,
)

# Of one model, from its view.
DEFAULT_VERSION = Family(
    "serving_model_default_version", "gauge", "The version that answers unnamed requests."
)
PINNED_VERSION = Family(
    "serving_model_pinned_version", "gauge", "The version that is to answer by command."
)
OF_MODELS = (DEFAULT_VERSION, PINNED_VERSION)

# Of a version's child process, read at each scrape.
PROCESS_UP = Family(
    "serving_isolated_process_up", "gauge", "Whether a version's child process runs."
)
PROCESS_CRASHES = Family(
    "serving_isolated_process_crash_total",
    "counter",
    "Times that a version's child process ended unasked.",
)
PROCESS_RESTARTS = Family(
    "serving_isolated_process_restart_total",
    "counter",
    "Times that a version's child process was started again.",
)

# What tracking does, by target.
TRACKING_SENT = Family(
    "serving_tracking_windows_sent_total", "counter", "Windows that a target took."
)
TRACKING_DROPPED = Family(
    "serving_tracking_windows_dropped_total",
    "counter",
    "Windows given up: the buffer was full, or the target refused them.",
)
TRACKING_FAILURES = Family(
    "serving_tracking_failure_total", "counter", "Attempts to reach a target that failed."
)
TRACKING_BUFFERED = Family(
    "serving_tracking_windows_buffered", "gauge", "Windows that wait to be sent."
)
TRACKING_BUFFERED_BYTES = Family(
    "serving_tracking_buffered_bytes", "gauge", "Size of the windows that wait to be sent."
)
TRACKING_LAST_SUCCESS = Family(
    "serving_tracking_last_success_timestamp_seconds", "gauge", "When a target last took windows."
)

# What happened to a model's versions.
LOADS = Family(
    "serving_model_load_total", "counter", "Loads that ended, by outcome: ready, failed, cancelled."
)
DEFAULT_CHANGES = Family(
    "serving_default_version_change_total",
    "counter",
    "Times that another version took over the requests that name none.",
)

# Of rollouts, those under way and those that ended.
ROLLOUT_SHARE = Family(
    "serving_rollout_share",
    "gauge",
    "Part of the requests that a version under rollout is to answer (0 to 1).",
)
ROLLOUT_PHASE = Family(
    "serving_rollout_phase",
    "gauge",
    "1 for the phase that each model's last rollout is in, or in which it ended.",
)
ROLLOUT_PROOF = Family(
    "serving_rollout_proof",
    "gauge",
    "How much of the proof there is that a version under rollout is sound (0 to 1).",
)
ROLLOUT_DRIFT = Family(
    "serving_rollout_drift",
    "gauge",
    "How far what it is asked and answers was from the other version's at the last look (0 to 1).",
)
ROLLOUT_OVERDUE = Family(
    "serving_rollout_overdue_seconds",
    "gauge",
    "How much longer than it has to a rollout has been where it is.",
)
ROLLOUT_ENDED = Family(
    "serving_rollout_ended_total",
    "counter",
    "Rollouts that ended, by outcome: promoted, rolled_back, aborted, ended.",
)

# Of what is written back to MLflow's registry, where one is followed.
WRITE_BACK = Family(
    "serving_write_back_total",
    "counter",
    "What came of aliases, tags and verdicts that were to be written to MLflow's registry: written,"
    " unchanged, left_alone, refused, dropped.",
)
WRITE_BACK_WAITING = Family(
    "serving_write_back_waiting",
    "gauge",
    "Promotions and verdicts that are still to be written to MLflow's registry.",
)
WRITE_BACK_FAILURES = Family(
    "serving_write_back_failure_total",
    "counter",
    "Attempts to write to MLflow's registry that failed.",
)

# Of the process, read at each scrape.
READY = Family("serving_ready", "gauge", "Whether requests should be sent here.")
PERMITS = Family("serving_permits_limit", "gauge", "Batches that may run at once.")
PERMITS_HELD = Family("serving_permits", "gauge", "Batches that hold the right to run now.")
CONNECTIONS_LIMIT = Family(
    "serving_connections_limit", "gauge", "Connections that may be open on the data ports."
)
MODELS_MEMORY = Family(
    "serving_models_memory_bytes",
    "gauge",
    "Memory set aside for all versions, loaded or being loaded.",
)
MODELS_MEMORY_LIMIT = Family(
    "serving_models_memory_limit_bytes", "gauge", "Memory that all versions may take together."
)
TRIALS = Family(
    "serving_trial_total",
    "counter",
    "Trials of new versions by outcome: passed, died, refused, failed, kept.",
)
LAST_SCAN = Family(
    "serving_registry_last_scan_timestamp_seconds",
    "gauge",
    "When the model directories were last looked at.",
)
UNREADABLE = Family(
    "serving_registry_unreadable", "gauge", "Model directories that can't be listed."
)
IGNORED = Family(
    "serving_registry_ignored",
    "gauge",
    "Entries of the model directories that could not be made out.",
)
LOOP_FAILURES = Family(
    "serving_reconcile_failed_total",
    "counter",
    "Errors of the loop that makes what is served match what is wanted.",
)

# Of traces, where they are sent somewhere.
SPANS_EXPORTED = Family(
    "serving_span_exported_total", "counter", "Spans that the collector of traces took."
)
SPANS_DROPPED = Family(
    "serving_span_export_dropped_total",
    "counter",
    "Spans that the collector did not take.",
)

# Of the log.
LOG_LINES_DROPPED = Family(
    "serving_log_line_dropped_total",
    "counter",
    "Lines for stderr and stdout that were lost because nobody read them.",
)

# Of gates, of models that have any.
GATE_VERDICTS = Family(
    "serving_gate_verdicts_total",
    "counter",
    "Verdicts of gates, and blessings by command: BLESSED, NOT_BLESSED.",
)
GATE_SECONDS = Family(
    "serving_gate_judging_seconds_total", "counter", "Time that verdicts of gates took."
)
GATE_WAITING = Family(
    "serving_gate_waiting_seconds",
    "gauge",
    "For how long the oldest version without a verdict has waited for it.",
)
GATE_RUNNING = Family("serving_gate_judging", "gauge", "Versions that are being judged now.")

# Of gates, where any asks for requests.
REPLAY_REQUESTS = Family(
    "serving_gates_replay_requests",
    "gauge",
    "Requests of the answering version that are kept for new ones to run.",
)

# Of statistics, where they are made.
STATISTICS_SAMPLES = Family(
    "serving_statistics_samples_total", "counter", "Requests that statistics were made of."
)
STATISTICS_DROPPED = Family(
    "serving_statistics_dropped_total",
    "counter",
    "Sampled requests that no statistics were made of, by reason: queue, memory, error.",
)
STATISTICS_MEMORY = Family(
    "serving_statistics_memory_bytes",
    "gauge",
    "Memory of all windows of statistics, and of what they are held against.",
)
REQUEST_ANOMALIES = Family(
    "serving_request_anomalies_total",
    "counter",
    "Features of requests that were not as the model's schema says, by type, and by mode: log,"
    " reject.",
)
ANOMALIES_BEGUN = Family(
    "serving_feature_anomalies_total",
    "counter",
    "Anomalies of a version's features that began, by TFX's type of them.",
)
ANOMALIES = Family(
    "serving_feature_anomalies_active",
    "gauge",
    "Features of a version that have an anomaly now, by TFX's type of it.",
)
FEATURE_DISTANCE = Family(
    "serving_feature_distance_max",
    "gauge",
    "How far a version's feature is that is farthest, by kind: skew, drift, versions (0 to 1).",
)

# Of the request log, where it is on.
REQUEST_LOG_WRITTEN = Family(
    "serving_request_log_written_total", "counter", "Sampled requests written to the request log."
)
REQUEST_LOG_DROPPED = Family(
    "serving_request_log_dropped_total",
    "counter",
    "Sampled requests that were not written, by reason: buffer, too_large, write, error.",
)
REQUEST_LOG_BYTES = Family(
    "serving_request_log_bytes", "gauge", "Bytes of the request log's files, all together."
)
