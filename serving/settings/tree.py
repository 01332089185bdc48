"""The tree of settings as the rooms read it: frozen, with every "auto" decided."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

from pydantic import BaseModel, Field, SecretStr

from serving import descriptors, machine
from serving.settings.canary import CanarySettings
from serving.settings.console import ConsoleSettings
from serving.settings.gates import GatesSettings
from serving.settings.registry import RegistrySettings
from serving.settings.sections import (
    BatchingSettings,
    ControlSettings,
    GrpcSettings,
    HttpSettings,
    IsolationSettings,
    LimitSettings,
    LoadingSettings,
    LogSettings,
    Port,
    ProviderSettings,
    RequestLogSettings,
    RolloutSettings,
    ScoringSettings,
    Section,
    SharedMemorySettings,
    ShutdownSettings,
    StateSettings,
    TensorFlowServingSettings,
    Text,
    ThreadSettings,
    TracingSettings,
    TrackingSettings,
    Words,
)
from serving.settings.shadow import ShadowSettings
from serving.settings.statistics import StatisticsSettings
from serving.settings.validation import ValidationSettings

# Characters of a header's value that is kept out of what is written.
_SHORTEST_SECRET = 8


def default_state_dir(environ: Mapping[str, str] | None = None) -> Path | None:
    """``$XDG_STATE_HOME/serving`` or ``~/.local/state/serving``; None where there is no home.

    Only the name of the place: a gateway that starts makes it.
    """
    environ = os.environ if environ is None else environ
    base = environ.get("XDG_STATE_HOME", "")
    if base.startswith("/"):
        return Path(base) / "serving"
    home = environ.get("HOME", "")
    return Path(home) / ".local" / "state" / "serving" if home.startswith("/") else None


class Settings(Section):
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
        " `$XDG_STATE_HOME/serving`, else `~/.local/state/serving`). Made at the start.",
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
    require_models: bool = Field(
        default=False,
        description="End the start with exit status 4 where no version of any model became ready.",
    )
    name: Text = Field(default="serving", description="The server's name in its metadata.")
    log: LogSettings = LogSettings()
    limits: LimitSettings = LimitSettings()
    http: HttpSettings = HttpSettings()
    grpc: GrpcSettings = GrpcSettings()
    threads: ThreadSettings = ThreadSettings()
    batching: BatchingSettings = BatchingSettings()
    state: StateSettings = StateSettings()
    registry: RegistrySettings = RegistrySettings()
    control: ControlSettings = ControlSettings()
    console: ConsoleSettings = ConsoleSettings()
    shared_memory: SharedMemorySettings = SharedMemorySettings()
    tensorflow_serving: TensorFlowServingSettings = TensorFlowServingSettings()
    mlflow: ScoringSettings = ScoringSettings()
    loading: LoadingSettings = LoadingSettings()
    isolation: IsolationSettings = IsolationSettings()
    rollout: RolloutSettings = RolloutSettings()
    canary: CanarySettings = CanarySettings()
    gates: GatesSettings = GatesSettings()
    shadow: ShadowSettings = ShadowSettings()
    tracking: TrackingSettings = TrackingSettings()
    tracing: TracingSettings = TracingSettings()
    request_log: RequestLogSettings = RequestLogSettings()
    statistics: StatisticsSettings = StatisticsSettings()
    validation: ValidationSettings = ValidationSettings()
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
    def loads(self) -> int:
        """Versions that may be loaded at once. Most of a load holds the interpreter's lock, and
        each trial beside another wants a process and memory: more than a few gain nothing."""
        return self.threads.load or min(4, machine.usable_threads())

    @property
    def judgements(self) -> int:
        """Versions that gates may judge at once. Each runs two versions' requests and measures
        their time: where others do so on the same CPUs, all of them measure those others, too."""
        return self.gates.parallel or max(1, min(4, machine.usable_threads() // 4))

    @property
    def process_bytes(self) -> int:
        """Bytes that requests and answers may hold at once."""
        return self.limits.process_bytes or machine.usable_memory() // 4

    @property
    def places(self) -> descriptors.Places:
        """Connections that are taken, as the limit of open files stands now."""
        regions = self.shared_memory.max_regions if self.shared_memory.enabled else 0
        return descriptors.places(self.limits.max_connections, descriptors.limit_now(), regions)

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
        headers = (self.tracing.headers, self.tracking.otlp.headers)
        values = [value for one in headers for value in _header_values(one.get_secret_value())]
        addresses = (self.tracking.mlflow.uri, self.registry.mlflow.uri)
        words = [word for address in addresses for word in _password(address)]
        return (*_secrets(self), *words, *values)

    def core(self) -> dict[str, object]:
        """The flat configuration of ``_core.Server``, every "auto" decided."""
        limits, places = self.limits, self.places
        return {
            "host": self.host,
            "http_port": self.http_port,
            "grpc_port": self.grpc_port,
            "max_message_bytes": limits.max_message_bytes,
            "max_head_bytes": limits.max_head_bytes,
            "max_connections": places.clients,
            "connections_advice": places.advice,
            "max_streams": limits.max_streams,
            "head_timeout_s": limits.head_timeout_s,
            "body_timeout_s": limits.body_timeout_s,
            "idle_timeout_s": limits.idle_timeout_s,
            "max_connection_age_s": limits.max_connection_age_s,
            "stream_in_flight": limits.stream_in_flight,
            "process_bytes": self.process_bytes,
            "connection_share": limits.connection_share,
            "address_share": limits.address_share,
            "request_timeout_s": limits.request_timeout_s,
            "forced_version": self.rollout.forced_version,
            "patience_s": self.rollout.patience_s,
            "grpc_compression": self.grpc.compression,
            "io_threads": self.io_threads,
            "permits": self.permits,
            "lend_permit_s": self.threads.lend_permit_s,
            "shared_memory": self.shared_memory.enabled,
            "max_regions": self.shared_memory.max_regions,
            "max_region_bytes": self.shared_memory.max_bytes,
            "default_model": self.mlflow.default_model,
            "pages": self.http.pages,
            "allowed_hosts": self.http.allowed_hosts,
            "cors_origins": self.http.cors_origins,
            "tensorflow_metrics": self.tensorflow_serving.metrics,
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


def _header_values(headers: str) -> Iterator[str]:
    """As they are written there, and as they are sent. What is short is no secret, and its
    characters stand in every line."""
    for pair in headers.split(","):
        value = pair.partition("=")[2].strip()
        yield from {one for one in (value, unquote(value)) if len(one) >= _SHORTEST_SECRET}


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
