"""The operator's settings: parsed once, frozen, handed on in parts.

Precedence: defaults < YAML file < environment (``SERVING_LIMITS__MAX_STREAMS``) < flags.
Keys are written with dots (``limits.max_streams``). Every key is described here, once;
``docs/settings.md`` and ``serving check --settings`` show the same words.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    ValidationError,
)

from serving import __version__, machine
from serving.errors import ConfigError

PREFIX = "SERVING_"
# Variables that are read elsewhere than in the tree of settings.
_OTHER_VARIABLES = frozenset({"SERVING_CONFIG", "SERVING_ADMIN_URL"})
# What Kubernetes puts into every container's environment for a service of the same name.
_INJECTED = ("tcp://", "udp://", "sctp://")


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
Share = Annotated[float, BeforeValidator(_not_bool), Field(ge=0, le=1)]
Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
# It may hold a password, which is not shown.
Address = Annotated[str, PlainSerializer(_without_password, when_used="json")]
Text = Annotated[str, Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LogSettings(_Section):
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severe records that are written."
    )
    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="`auto`: console on a terminal, JSON lines otherwise."
    )
    access_rate: Share = Field(
        default=0.0, description="Share of the answered requests that get a line (0 to 1)."
    )


class LimitSettings(_Section):
    max_message_bytes: Count = Field(
        default=64 * 1024 * 1024,
        description="Largest request or answer, decompressed, on both doors (bytes).",
    )
    max_head_bytes: Annotated[Count, Field(ge=8192, le=16 * 1024 * 1024)] = Field(
        default=65536, description="Largest request head or header list (bytes)."
    )
    max_connections: Count = Field(
        default=10000, description="Open connections, both doors together."
    )
    max_streams: Annotated[Count, Field(le=2**31 - 1)] = Field(
        default=1024, description="Concurrent HTTP/2 streams of one connection."
    )
    head_timeout_s: Seconds = Field(
        default=10.0, description="For a request head to arrive (seconds)."
    )
    body_timeout_s: Seconds = Field(
        default=30.0, description="For more of a request body to arrive (seconds)."
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
    max_string_elements: Count = Field(
        default=1048576, description="Elements of one BYTES tensor, which become Python objects."
    )
    run_timeout_s: SecondsOrZero = Field(
        default=300.0,
        description="How long one run of a model may take before it is ended (seconds; 0: for"
        " ever).",
    )
    request_timeout_s: SecondsOrZero = Field(
        default=60.0, description="Deadline of a request that brings none or a later one (0: none)."
    )


class GrpcSettings(_Section):
    compression: Literal["auto", "none", "gzip", "deflate"] = Field(
        default="auto", description="Of gRPC answers. `auto`: as the request came."
    )


class ThreadSettings(_Section):
    io: CountOrAuto = Field(default=0, description="I/O threads of the core (0: by the CPUs).")
    intra_op: CountOrAuto = Field(
        default=0,
        description="onnxruntime's threads within an operator, of each model (0: the CPUs).",
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
    load: Count = Field(default=1, description="Versions that are loaded at once.")
    calls: Count = Field(default=2, description="Threads for metadata, statistics and other calls.")
    switch_interval_s: Annotated[Seconds, Field(le=1.0)] = Field(
        default=0.0001,
        description="How long one Python thread may keep the others waiting (seconds).",
    )


class BatchingSettings(_Section):
    enabled: bool = Field(
        default=True, description="Batch models that are proven right when batched."
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


class ControlSettings(_Section):
    uploads: bool = Field(
        default=False,
        description="Take model files that a repository load call brings along (`file:`).",
    )


class LoadingSettings(_Section):
    trial: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Load, warm and measure a new version in a child process first."
        " `auto`: on the CPU, not on a GPU.",
    )
    trial_timeout_s: Seconds = Field(
        default=300.0, description="For a trial to end, before the version fails (seconds)."
    )
    warmup_timeout_s: Seconds = Field(
        default=5.0, description="For warming batch sizes and measuring them (seconds)."
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


class IsolationSettings(_Section):
    mode: Literal["auto", "process", "none"] = Field(
        default="auto",
        description="Where a model runs whose configuration does not say. `auto`: in a child"
        " process if it is able to crash, else in the server's own.",
    )
    memory_bytes: CountOrAuto = Field(
        default=0,
        description="Memory that a child may take beyond what it has once loaded"
        " (bytes; 0: half of the memory the process may use).",
    )
    restart_first_s: Seconds = Field(
        default=0.2,
        description="Until a child that died again is started anew; twice as long each time"
        " (seconds).",
    )
    restart_max_s: Seconds = Field(
        default=30.0, description="The longest wait before a child is started anew (seconds)."
    )


class RolloutSettings(_Section):
    keep_previous_s: SecondsOrZero = Field(
        default=300.0,
        description="How long the version that answered before stays loaded, ready for a"
        " rollback (seconds).",
    )


class RegistrySettings(_Section):
    settle_s: SecondsOrZero = Field(
        default=3.0,
        description="A version counts as whole when nothing changed for so long (seconds).",
    )
    scan_interval_s: Seconds = Field(
        default=1.0, description="Between two looks at the model directories (seconds)."
    )
    watch: bool = Field(default=True, description="Look at once when the system reports a change.")
    follow_symlinks: bool = Field(
        default=False,
        description="Take model and version folders that are symbolic links (Kubernetes"
        " volumes, git-sync).",
    )


class MlflowSettings(_Section):
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


class JsonLinesSettings(_Section):
    path: Path | None = Field(
        default=None, description="Folder for the windows as JSON Lines files; none: not written."
    )
    max_file_bytes: Count = Field(
        default=64 * 1024 * 1024, description="Size at which a file is followed by another."
    )
    max_files: Count = Field(default=10, description="Files kept, the newest ones.")


class OtlpMetricsSettings(_Section):
    endpoint: str = Field(
        default="", description="An OTLP collector for the windows' figures; empty: none."
    )
    protocol: Literal["grpc", "http"] = Field(
        default="http", description="How the collector is spoken to."
    )


class TrackingSettings(_Section):
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


class TracingSettings(_Section):
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
    buffer_spans: Count = Field(
        default=8192, description="Spans that wait to be sent; more are dropped and counted."
    )


class RequestLogSettings(_Section):
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
    redact: Words = Field(
        default=(), description="Tensors whose values are left out, by name (`*` for a part)."
    )


class ShutdownSettings(_Section):
    drain_delay_s: SecondsOrZero = Field(
        default=5.0, description="Between readiness going false and closing the doors (seconds)."
    )
    drain_timeout_s: SecondsOrZero = Field(
        default=30.0, description="For requests in flight to end (seconds)."
    )


class ProviderSettings(_Section):
    prefer: Words = Field(
        default=("CPUExecutionProvider",),
        description="Execution providers in order of preference, for models that name none.",
    )
    require: Words = Field(
        default=(), description="Execution providers without which a model fails to load."
    )


def default_state_dir(environ: Mapping[str, str] | None = None) -> Path | None:
    """``$XDG_STATE_HOME/serving`` or ``~/.local/state/serving``; None where there is no home.

    Only the name of the place: nothing is made before something is written.
    """
    environ = os.environ if environ is None else environ
    base = environ.get("XDG_STATE_HOME", "")
    if base.startswith("/"):
        return Path(base) / "serving"
    home = environ.get("HOME", "")
    return Path(home) / ".local" / "state" / "serving" if home.startswith("/") else None


class Settings(_Section):
    host: Text = Field(default="127.0.0.1", description="Address of the HTTP and gRPC doors.")
    http_port: Port = Field(default=8080, description="0: the system picks one, and it is printed.")
    grpc_port: Port = Field(default=8081, description="0: the system picks one, and it is printed.")
    admin_host: Text = Field(default="127.0.0.1", description="Address of the admin port.")
    admin_port: Port = Field(
        default=8082, description="Metrics, health and control. 0: the system picks one."
    )
    admin_token_file: Path | None = Field(
        default=None,
        description="File with the token that control calls must bring. Without one, control"
        " is refused on every address but the loopback interface's.",
    )
    state_dir: Path | None = Field(
        default_factory=default_state_dir,
        description="Directory for what the gateway writes (default:"
        " `$XDG_STATE_HOME/serving`, else `~/.local/state/serving`). Made when first written to.",
    )
    model_control: Literal["poll", "explicit", "both"] = Field(
        default="poll",
        description="How versions come and go. `poll`: as the directories and version policies"
        " say; `explicit`: when told; `both`: as the directories say until told otherwise.",
    )
    load_models: Words = Field(
        default=(),
        description="Models that `explicit` loads at start; `*`: all.",
    )
    readiness: Literal["settled", "strict", "any"] = Field(
        default="settled",
        description="Ready at start when every version wanted is ready or failed (`settled`),"
        " when every one is ready (`strict`), when each model has one that is (`any`).",
    )
    name: Text = Field(default="serving", description="The server's name in its metadata.")
    log: LogSettings = LogSettings()
    limits: LimitSettings = LimitSettings()
    grpc: GrpcSettings = GrpcSettings()
    threads: ThreadSettings = ThreadSettings()
    batching: BatchingSettings = BatchingSettings()
    registry: RegistrySettings = RegistrySettings()
    control: ControlSettings = ControlSettings()
    loading: LoadingSettings = LoadingSettings()
    isolation: IsolationSettings = IsolationSettings()
    rollout: RolloutSettings = RolloutSettings()
    tracking: TrackingSettings = TrackingSettings()
    tracing: TracingSettings = TracingSettings()
    request_log: RequestLogSettings = RequestLogSettings()
    shutdown: ShutdownSettings = ShutdownSettings()
    providers: ProviderSettings = ProviderSettings()

    @property
    def io_threads(self) -> int:
        """I/O threads of the core: one serves tens of thousands of requests a second, so
        most CPUs are left to the models."""
        return self.threads.io or max(1, min(8, machine.usable_threads() // 4))

    @property
    def intra_op_threads(self) -> int:
        """Threads within an operator, the calling thread among them."""
        return self.threads.intra_op or machine.usable_threads()

    @property
    def permits(self) -> int:
        """Batches that may run at once."""
        return self.threads.permits or machine.usable_threads()

    @property
    def process_bytes(self) -> int:
        """Bytes that requests and answers may hold at once."""
        return self.limits.process_bytes or machine.usable_memory() // 4

    @property
    def models_bytes(self) -> int:
        """Bytes that all loaded versions may take together."""
        return self.loading.memory_bytes or machine.usable_memory() // 4 * 3

    @property
    def isolation_bytes(self) -> int:
        """Bytes that a child may take beyond what it has once loaded."""
        return self.isolation.memory_bytes or machine.usable_memory() // 2

    def secrets(self) -> tuple[str, ...]:
        """Every secret that is set, for those who keep them out of what is written."""
        return (*_secrets(self), *_password(self.tracking.mlflow.uri))

    def core(self) -> dict[str, object]:
        """The flat configuration of ``_core.Server``, every "auto" decided."""
        limits = self.limits
        return {
            "host": self.host,
            "http_port": self.http_port,
            "grpc_port": self.grpc_port,
            "name": self.name,
            "version": __version__,
            "max_message_bytes": limits.max_message_bytes,
            "max_head_bytes": limits.max_head_bytes,
            "max_connections": limits.max_connections,
            "max_streams": limits.max_streams,
            "head_timeout_s": limits.head_timeout_s,
            "body_timeout_s": limits.body_timeout_s,
            "idle_timeout_s": limits.idle_timeout_s,
            "max_connection_age_s": limits.max_connection_age_s,
            "stream_in_flight": limits.stream_in_flight,
            "process_bytes": self.process_bytes,
            "request_timeout_s": limits.request_timeout_s,
            "grpc_compression": self.grpc.compression,
            "io_threads": self.io_threads,
            "permits": self.permits,
        }

    def flat(self) -> dict[str, Any]:
        """Dotted key -> value, in the order of the tree."""
        return {key: _value(self, key) for key, _ in describe()}


def _secrets(section: BaseModel) -> Iterator[str]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _secrets(value)
        elif isinstance(value, SecretStr) and value.get_secret_value():
            yield value.get_secret_value()


def describe(section: type[BaseModel] = Settings, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every dotted key with its description."""
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from describe(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field.description or ""


def load_settings(
    flags: Mapping[str, object],
    config_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> tuple[Settings, dict[str, str]]:
    """The effective settings, and for every dotted key where its value came from:
    ``default``, ``file``, ``environment`` or ``flag``.

    ``flags``: dotted key -> value, text or typed; None counts as not given. Without
    ``config_file`` the one that ``SERVING_CONFIG`` names is read.

    Raises ConfigError, one line for each thing that is wrong.
    """
    environ = os.environ if environ is None else environ
    if config_file is None and environ.get("SERVING_CONFIG"):
        config_file = Path(environ["SERVING_CONFIG"])
    values: dict[str, object] = {"state_dir": default_state_dir(environ)}
    origins = {key: "default" for key, _ in describe()}
    layers = (
        ("file", _from_file(config_file) if config_file else {}),
        ("environment", _from_environment(environ)),
        ("flag", _from_flags(flags)),
    )
    for origin, layer in layers:
        values.update(layer)
        origins.update(dict.fromkeys(layer, origin))
    return _validated(values, origins), origins


def ignored_environment(environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """One sentence for each ``SERVING_`` variable that has no effect, to be logged."""
    environ = os.environ if environ is None else environ
    known = _variables()
    notes = []
    for variable in sorted(v for v in environ if v.startswith(PREFIX)):
        if environ[variable].startswith(_INJECTED):
            notes.append(f"{variable} ignored: it looks like a Kubernetes service's address")
        elif variable not in known and variable not in _OTHER_VARIABLES:
            notes.append(f"{variable} ignored: no such setting{_nearest(variable, known)}")
    return tuple(notes)


def _variables() -> dict[str, str]:
    """Environment variable -> dotted key."""
    return {PREFIX + key.upper().replace(".", "__"): key for key, _ in describe()}


def _from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    return {
        key: environ[variable]
        for variable, key in _variables().items()
        if variable in environ and not environ[variable].startswith(_INJECTED)
    }


def _from_flags(flags: Mapping[str, object]) -> dict[str, object]:
    given = {key: value for key, value in flags.items() if value is not None}
    _refuse_unknown(given, "--set")
    return given


class _StrictLoader(yaml.SafeLoader):
    """A key given twice is a mistake, not a choice of the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                line = key_node.start_mark.line + 1
                raise ConfigError(f"'{key}' is given twice (line {line})")
            if isinstance(key, str):
                seen.add(key)
        return super().construct_mapping(node, deep)


def _from_file(path: Path) -> dict[str, object]:
    """Dotted key -> value. Raises ConfigError for what can't be read or isn't known."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{path}: not valid YAML: {_one_line(error)}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected settings by name, got {type(content).__name__}")
    flat = dict(_flatten(content, _sections(), str(path)))
    _refuse_unknown(flat, str(path))
    return flat


def _flatten(
    content: Mapping[object, object], sections: frozenset[str], origin: str, prefix: str = ""
) -> Iterator[tuple[str, object]]:
    for name, value in content.items():
        key = f"{prefix}{name}"
        if key not in sections:
            yield key, value
        elif isinstance(value, dict):
            yield from _flatten(value, sections, origin, f"{key}.")
        elif value is not None:
            raise ConfigError(f"{origin}: {key}: expected settings by name, got {value!r}")


def _sections() -> frozenset[str]:
    return frozenset(key.rpartition(".")[0] for key, _ in describe() if "." in key)


def _refuse_unknown(given: Mapping[str, object], origin: str) -> None:
    known = {key: key for key, _ in describe()}
    lines = [
        f"{origin}: no such setting: '{key}'{_nearest(key, known)}"
        for key in given
        if key not in known
    ]
    if lines:
        raise ConfigError("\n".join(lines))


def _nearest(key: str, known: Mapping[str, str]) -> str:
    """`` (did you mean 'x'?)`` or nothing. A key may also be right but in the wrong section."""
    tail = key.rpartition(".")[2]
    same_tail = [k for k in known if k.rpartition(".")[2] == tail]
    near = same_tail or difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    if not near:
        tails = {k.rpartition(".")[2]: k for k in known}
        near = [tails[t] for t in difflib.get_close_matches(tail, tails, n=1, cutoff=0.75)]
    return f" (did you mean '{near[0]}'?)" if near else ""


def _validated(values: Mapping[str, object], origins: Mapping[str, str]) -> Settings:
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        lines = [_line(dict(e), values, origins) for e in error.errors(include_url=False)]
        raise ConfigError("\n".join(lines)) from None


_ORIGIN_WORDS = {
    "file": "in the settings file",
    "environment": "from the environment",
    "flag": "from the command line",
}


def _line(error: dict[str, Any], values: Mapping[str, object], origins: Mapping[str, str]) -> str:
    known = dict(describe())
    location = [str(part) for part in error["loc"]]
    key = next((k for n in (3, 2, 1) if (k := ".".join(location[:n])) in known), ".".join(location))
    message = str(error["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    value = repr(values.get(key))
    got = "" if "got " in message or value in message else f", got {value}"
    where = _ORIGIN_WORDS.get(origins.get(key, ""), "")
    return f"{key}{f' ({where})' if where else ''}: {message}{got}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _password(address: str) -> Iterator[str]:
    """As it is written there, and as it is meant."""
    _, colon, word = address.rpartition("@")[0].partition("://")[2].partition(":")
    if colon and word:
        yield from {word, unquote(word)}


def _value(settings: BaseModel, key: str) -> Any:
    value: Any = settings
    for name in key.split("."):
        value = getattr(value, name)
    return value
