"""The sections of the tree of settings: every key, its default and what it means."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
)

from serving.settings.hosts import checked_hosts, checked_origins


def _not_bool(value: object) -> object:
    """Pydantic takes ``true`` for 1; in a settings file it is a mistake."""
    if isinstance(value, bool):
        raise ValueError("expected a number, got a boolean")
    return value


def _words(value: object) -> object:
    """A list may be written as one string with commas (environment, flags)."""
    if isinstance(value, str):
        return tuple(word.strip() for word in value.split(",") if word.strip())
    return value


def _without_password(address: str) -> str:
    head, at, tail = address.rpartition("@")
    user = head.partition("://")
    return f"{user[0]}://**********@{tail}" if at else address


Port = Annotated[int, BeforeValidator(_not_bool), Field(ge=0, le=65535)]
Count = Annotated[int, BeforeValidator(_not_bool), Field(ge=1, le=2**53)]
CountOrAuto = Annotated[int, BeforeValidator(_not_bool), Field(ge=0, le=2**53)]
Seconds = Annotated[float, BeforeValidator(_not_bool), Field(gt=0, le=1e9)]
SecondsOrZero = Annotated[float, BeforeValidator(_not_bool), Field(ge=0, le=1e9)]
Factor = Annotated[float, BeforeValidator(_not_bool), Field(ge=0, le=1e9)]
Share = Annotated[float, BeforeValidator(_not_bool), Field(ge=0, le=1)]
Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
# It may hold a password, which is not shown.
Address = Annotated[str, PlainSerializer(_without_password, when_used="json")]
Text = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severe records that are written."
    )
    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="`auto`: console on a terminal, JSON lines otherwise."
    )
    access_rate: Share = Field(
        default=0.0, description="Share of the answered requests that get a line (0 to 1)."
    )


class LimitSettings(Section):
    max_message_bytes: Count = Field(
        default=64 * 1024 * 1024,
        description="Largest request or answer, decompressed, on both doors;"
        " a larger answer is refused before it is written (bytes).",
    )
    max_head_bytes: Annotated[Count, Field(ge=8192, le=16 * 1024 * 1024)] = Field(
        default=65536, description="Largest request head or header list (bytes)."
    )
    max_connections: Count = Field(
        default=10000,
        description="Open connections, both doors together; fewer where few files may be open.",
    )
    max_streams: Annotated[Count, Field(le=2**31 - 1)] = Field(
        default=1024, description="Concurrent HTTP/2 streams of one connection."
    )
    head_timeout_s: Seconds = Field(
        default=10.0, description="For a request head to arrive (seconds)."
    )
    body_timeout_s: Seconds = Field(
        default=30.0,
        description="For more of a request body to arrive, and for a client to take more of an"
        " answer (seconds).",
    )
    idle_timeout_s: Seconds = Field(
        default=300.0, description="Until a connection without requests is closed (seconds)."
    )
    max_connection_age_s: SecondsOrZero = Field(
        default=0.0, description="Until a connection is asked to end (seconds; 0: never)."
    )
    stream_in_flight: Count = Field(
        default=64, description="Unanswered requests of one `ModelStreamInfer` stream."
    )
    process_bytes: CountOrAuto = Field(
        default=0,
        description="Bytes that all requests and answers may hold at once"
        " (0: a quarter of the memory the process may use).",
    )
    connection_share: Annotated[Share, Field(gt=0)] = Field(
        default=0.5,
        description="Part of `limits.process_bytes` that one connection may hold (at least four"
        " messages of `limits.max_message_bytes`).",
    )
    address_share: Annotated[Share, Field(gt=0)] = Field(
        default=0.75,
        description="The same of all connections from one client address (an IPv6 /64 counts as"
        " one).",
    )
    max_string_elements: Count = Field(
        default=1048576,
        description="Elements of one BYTES tensor, which become Python objects, and of all that a"
        " batch gathers.",
    )
    run_timeout_s: SecondsOrZero = Field(
        default=300.0,
        description="How long one run of a model may take before it is ended (seconds; 0: for"
        " ever).",
    )
    request_timeout_s: SecondsOrZero = Field(
        default=60.0, description="Deadline of a request that brings none or a later one (0: none)."
    )


class HttpSettings(Section):
    pages: bool = Field(
        default=True,
        description="Whether the HTTP port has `/docs` and `/openapi.json`, and sends browsers"
        " there from `/`.",
    )
    allowed_hosts: Annotated[Words, AfterValidator(checked_hosts)] = Field(
        default=(),
        description="Names by which the admin port and these pages are known beside `localhost`"
        " and the addresses that are listened on, without a port (`*.example.com`: all below;"
        " `*`: any). Control without a token is taken under names written in full alone.",
    )
    cors_origins: Annotated[Words, AfterValidator(checked_origins)] = Field(
        default=(),
        description="Origins whose pages may read answers of the HTTP port"
        " (`https://ui.example.com`; `*`: any).",
    )


class GrpcSettings(Section):
    compression: Literal["auto", "none", "gzip", "deflate"] = Field(
        default="auto", description="Of gRPC answers. `auto`: as the request came."
    )


class ThreadSettings(Section):
    io: CountOrAuto = Field(default=0, description="I/O threads of the core (0: by the CPUs).")
    intra_op: CountOrAuto = Field(
        default=0,
        description="onnxruntime's threads within an operator, of each model (0: the CPUs; one for"
        " a version whose trial showed that no run of it uses more).",
    )
    inter_op: Count = Field(
        default=1, description="onnxruntime's threads across operators, of each model."
    )
    shared_pool: bool = Field(
        default=False,
        description="Share the threads of `intra_op` and `inter_op` among all models: fewer"
        " threads, but idle ones spin for a while after each run.",
    )
    permits: CountOrAuto = Field(
        default=0, description="Batches that may run at once (0: the CPUs)."
    )
    lend_permit_s: SecondsOrZero = Field(
        default=1.0,
        description="How long a run keeps another model waiting for its permit before that may"
        " run beside it (seconds; 0: to its end); one whose runs are short waits less.",
    )
    load: CountOrAuto = Field(
        default=0,
        description="Versions that are loaded at once, and as many slow ones beside them (0: the"
        " CPUs, at most 4).",
    )
    calls: Count = Field(default=2, description="Threads for metadata, statistics and other calls.")
    switch_interval_s: Annotated[Seconds, Field(le=1.0)] = Field(
        default=0.0001,
        description="How long one Python thread may keep the others waiting (seconds).",
    )


class BatchingSettings(Section):
    enabled: bool = Field(
        default=True, description="Batch models that are proven right when batched."
    )
    open: Literal["alone", "tested"] = Field(
        default="alone",
        description="What to do with models whose graph leaves open whether rows influence"
        " each other. `alone`: run each request alone; `tested`: batch them after a test.",
    )
    max_rows: Count = Field(
        default=64, description="Most rows of a batch where the model's configuration names none."
    )
    delay_us: CountOrAuto = Field(
        default=0, description="How long an idle instance waits for more rows (microseconds)."
    )
    max_queue_requests: Count = Field(default=1024, description="Requests waiting, per version.")
    max_queue_rows: Count = Field(default=65536, description="Rows waiting, per version.")
    max_queue_bytes: Count = Field(default=268435456, description="Bytes waiting, per version.")


class ControlSettings(Section):
    uploads: bool = Field(
        default=False,
        description="Take model files that a repository load call brings along (`file:`).",
    )


class SharedMemorySettings(Section):
    enabled: bool = Field(
        default=False,
        description="Let clients on this machine register shared memory for tensors to come from"
        " and go to.",
    )
    max_regions: Count = Field(
        default=256, description="Regions that are registered at once, a descriptor each."
    )
    max_bytes: Count = Field(default=1073741824, description="Of all regions together (bytes).")


class TensorFlowServingSettings(Section):
    config_file: Path | None = Field(
        default=None,
        description="A model config list in TensorFlow Serving's text format"
        " (`--model_config_file` there): the models that it names are served, beside those of the"
        " directories.",
    )
    config_poll_s: SecondsOrZero = Field(
        default=1.0,
        description="Between two looks at that file (seconds; 0: it is read at the start and at"
        " SIGHUP only), no more often than `registry.scan_interval_s`.",
    )
    metrics: bool = Field(
        default=False,
        description="Tell metrics under TensorFlow Serving's names at"
        " `/monitoring/prometheus/metrics` of the HTTP port, too.",
    )


class ScoringSettings(Section):
    default_model: str = Field(
        default="",
        description="The model of `/invocations` and `/ping`, MLflow's scoring protocol; empty: the"
        " only one there is.",
    )
    strict: bool = Field(
        default=False,
        description="Refuse scoring requests with inputs that the model does not have.",
    )
    lossy_casts: bool = Field(
        default=False,
        description="Take values in scoring requests that the model's datatypes change: fractions"
        " are cut off, large integers rounded.",
    )
    schema_details: bool = Field(
        default=True,
        description="Tell scoring requests that do not fit the model's signature what it is; false:"
        " that they do not fit, and no more (MLflow's `MLFLOW_DISABLE_SCHEMA_DETAILS`).",
    )


class LoadingSettings(Section):
    trial: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Load, warm and measure a new version in a child process first."
        " `auto`: on the CPU, not on a GPU.",
    )
    trial_timeout_s: Seconds = Field(
        default=300.0, description="For a trial to end, before the version fails (seconds)."
    )
    slow_after_s: Seconds = Field(
        default=1.0,
        description="How long a trial keeps others waiting: from then on it counts as slow, goes"
        " on beside `threads.load` others, and gives way to other slow ones after five times as"
        " long (seconds).",
    )
    warmup_timeout_s: Seconds = Field(
        default=5.0,
        description="For warming batch sizes and measuring them; for repeating logged requests"
        " after the trial, as long again (seconds).",
    )
    memory_bytes: CountOrAuto = Field(
        default=0,
        description="Memory of all loaded versions together"
        " (bytes; 0: three quarters of the memory the process may use).",
    )
    model_memory_bytes: CountOrAuto = Field(
        default=0,
        description="Memory of one version, where the model's configuration names none"
        " (bytes; 0: as much as all together).",
    )
    retry_first_s: Seconds = Field(
        default=2.0,
        description="Until a load that may heal is tried again; twice as long each time (seconds).",
    )
    retry_max_s: Seconds = Field(
        default=60.0, description="The longest wait between two tries of a load (seconds)."
    )


class IsolationSettings(Section):
    mode: Literal["auto", "process", "none"] = Field(
        default="auto",
        description="Where a model runs whose configuration does not say. `auto`: in a child"
        " process if it is able to crash, else in the server's own.",
    )
    memory_bytes: CountOrAuto = Field(
        default=0,
        description="Memory that a child's runs may take beyond what it has once loaded; a request"
        " that needs more is refused (bytes; 0: half of the memory the process may use).",
    )
    texts: CountOrAuto = Field(
        default=4096,
        description="From how many texts, in or out, a run of a model in the server's own process"
        " goes to a child beside it; 256 bytes of text that come in count as one (0: never).",
    )
    restart_first_s: Seconds = Field(
        default=0.2,
        description="Until a child that died again is started anew; twice as long each time"
        " (seconds).",
    )
    restart_max_s: Seconds = Field(
        default=30.0, description="The longest wait before a child is started anew (seconds)."
    )


class RolloutSettings(Section):
    keep_previous_s: SecondsOrZero = Field(
        default=300.0,
        description="How long the version that answered before stays loaded, ready for a"
        " rollback (seconds).",
    )
    hold_signature_changes: bool = Field(
        default=True,
        description="Hold a version back from requests that name none while its signature"
        " breaks callers of the one that answered, until it is accepted.",
    )
    forced_version: bool = Field(
        default=False,
        description="Take the header (metadata key) `x-serving-version`: a tester's request that"
        " names neither a version nor an alias is answered by the version, or the alias, that it"
        " says, whatever weights and pins do. Anyone who can ask can send it.",
    )
    patience_s: SecondsOrZero = Field(
        default=5.0,
        description="How long a version that gets a part of a model's requests may take for one of"
        " them before the default version is asked and it counts as late (seconds): less where the"
        " request's own time is short, and twenty times what the default version usually takes at"
        " least (0: it is never asked).",
    )


class StateSettings(Section):
    when_held: Literal["exit", "memory"] = Field(
        default="exit",
        description="What to do when another gateway has the state directory. `exit`: end, with"
        " status 75; `memory`: serve without it: what trials found out is read there, pins and"
        " what else was decided are not, and nothing is written, until that one has ended.",
    )


class MlflowSettings(Section):
    uri: Address = Field(
        default="",
        description="An MLflow tracking server; empty: none. May hold `user:password@`, which"
        " is not shown.",
    )
    token: SecretStr = Field(
        default=SecretStr(""), description="Sent to it as `Authorization: Bearer`; never shown."
    )
    experiment: Text = Field(default="serving", description="The experiment that gets the runs.")
    timeout_s: Seconds = Field(default=2.0, description="For an answer of the server (seconds).")
    run_age_s: Seconds = Field(
        default=86400.0, description="Until a run is followed by a new one (seconds)."
    )


class JsonLinesSettings(Section):
    path: Path | None = Field(
        default=None, description="Folder for the windows as JSON Lines files; none: not written."
    )
    max_file_bytes: Count = Field(
        default=64 * 1024 * 1024, description="Size at which a file is followed by another."
    )
    max_files: Count = Field(default=10, description="Files kept, the newest ones.")


_HEADERS = (
    "Headers for the collector, `NAME=VALUE` with commas between several, values percent-encoded;"
    " never shown."
)


class OtlpMetricsSettings(Section):
    endpoint: str = Field(
        default="", description="An OTLP collector for the windows' figures; empty: none."
    )
    protocol: Literal["grpc", "http"] = Field(
        default="http", description="How the collector is spoken to."
    )
    headers: SecretStr = Field(default=SecretStr(""), description=_HEADERS)


class TrackingSettings(Section):
    window_s: Annotated[Seconds, Field(ge=1, le=3600)] = Field(
        default=15.0, description="What one point of every curve covers (seconds)."
    )
    buffer_bytes: Count = Field(
        default=16 * 1024 * 1024,
        description="Windows kept in the state directory while a target can't be reached, for"
        " each target (bytes).",
    )
    mlflow: MlflowSettings = MlflowSettings()
    jsonl: JsonLinesSettings = JsonLinesSettings()
    otlp: OtlpMetricsSettings = OtlpMetricsSettings()


class TracingSettings(Section):
    rate: Share = Field(
        default=0.0,
        description="Share of the requests without a sampled `traceparent` that are traced"
        " (0 to 1). Traced are also those whose caller says so, once there is an endpoint.",
    )
    endpoint: str = Field(
        default="",
        description="An OTLP collector for traces, or `mlflow` for the tracking server; empty:"
        " none.",
    )
    protocol: Literal["grpc", "http"] = Field(
        default="http", description="How the collector is spoken to."
    )
    headers: SecretStr = Field(default=SecretStr(""), description=_HEADERS)
    buffer_spans: Count = Field(
        default=8192, description="Spans that wait to be sent; more are dropped and counted."
    )


class RequestLogSettings(Section):
    path: Path | None = Field(
        default=None, description="Folder for sampled requests and answers; none: not written."
    )
    rate: Share = Field(
        default=0.01, description="Share of the requests that are kept, of models that say nothing."
    )
    format: Literal["jsonl", "parquet"] = Field(
        default="jsonl", description="`parquet` needs the extra `serving[parquet]`."
    )
    max_file_bytes: Count = Field(
        default=64 * 1024 * 1024, description="Size at which a file is followed by another."
    )
    max_bytes: Count = Field(
        default=1024 * 1024 * 1024, description="Of all files; the oldest go first."
    )
    max_request_bytes: Count = Field(
        default=1024 * 1024, description="Larger requests, with their answers, are not kept."
    )
    buffer_bytes: Count = Field(
        default=32 * 1024 * 1024,
        description="Samples that wait to be written; more are dropped and counted.",
    )
    replayed: bool = Field(
        default=False,
        description="Log requests that `serving replay` sends again (header `serving-replay`),"
        " too.",
    )
    redact: Words = Field(
        default=(), description="Tensors whose values are left out, by name (`*` for a part)."
    )


class ShutdownSettings(Section):
    drain_delay_s: SecondsOrZero = Field(
        default=5.0, description="Between readiness going false and closing the doors (seconds)."
    )
    drain_timeout_s: SecondsOrZero = Field(
        default=30.0, description="For requests in flight to end (seconds)."
    )


class ProviderSettings(Section):
    prefer: Words = Field(
        default=("CPUExecutionProvider",),
        description="Execution providers in order of preference, for models that name none.",
    )
    require: Words = Field(
        default=(), description="Execution providers without which a model fails to load."
    )
