"""What every handler of a call is given: the models, control over them, and the ports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from serving.protocols import oip
from serving.protocols.entrance import Ports
from serving.protocols.repository import RepositoryControl
from serving.protocols.shared_memory import SharedMemory
from serving.protocols.views import Directory


@dataclass(frozen=True, slots=True)
class CallContext:
    """``directory``: the models as they stand. ``server_name`` is the operator's for this server;
    ``control`` None: no call may change what is served; ``ports`` None: they are not told."""

    directory: Directory
    server_name: str
    control: RepositoryControl | None = None
    ports: Ports | None = None
    shared_memory: SharedMemory = field(default_factory=SharedMemory)

    def metadata(self) -> Any:
        """The server's own, a ``ServerMetadataResponse``."""
        works = self.shared_memory.works
        return oip.server_metadata(self.server_name, loads=self.loads, shared_memory=works)

    @property
    def loads(self) -> bool:
        """Whether models can be loaded and unloaded by call."""
        return self.control is not None and self.control.works
