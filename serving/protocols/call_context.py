"""What every handler of a call is given: the models, control over them, the ports, and what may be
changed of what is observed."""

from __future__ import annotations

from dataclasses import dataclass, field

from serving.protocols.entrance import Ports
from serving.protocols.log_settings import LogSettings
from serving.protocols.openapi import Documents
from serving.protocols.reload_config import ReloadConfig
from serving.protocols.repository import RepositoryControl
from serving.protocols.shared_memory import SharedMemory
from serving.protocols.trace_settings import TraceSettings
from serving.protocols.views import Directory


@dataclass(frozen=True, slots=True)
class CallContext:
    """``directory``: the models as they stand. ``server_name`` is the operator's for this server;
    ``control`` None: no call may change what is served; ``ports`` None: they are not told;
    ``traces`` and ``log`` None: nothing is told of them; ``lists`` None: no call brings a model
    config list; ``documents`` None: the calls are not described."""

    directory: Directory
    server_name: str
    control: RepositoryControl | None = None
    ports: Ports | None = None
    traces: TraceSettings | None = None
    log: LogSettings | None = None
    lists: ReloadConfig | None = None
    shared_memory: SharedMemory = field(default_factory=SharedMemory)
    documents: Documents | None = None

    @property
    def loads(self) -> bool:
        """Whether models can be loaded and unloaded by call."""
        return self.control is not None and self.control.works

    @property
    def extensions(self) -> tuple[str, ...]:
        """Triton's that work here by the settings."""
        works = {
            "model_repository": self.loads,
            "system_shared_memory": self.shared_memory.works,
            "trace": self.traces is not None and self.traces.control.has_target,
            "logging": self.log is not None,
        }
        return tuple(name for name, does in works.items() if does)
