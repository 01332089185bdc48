"""What those who answer calls have before them."""

from __future__ import annotations

from dataclasses import dataclass

from serving.protocols.entrance import Ports
from serving.protocols.repository import RepositoryControl
from serving.protocols.views import Directory


@dataclass(frozen=True, slots=True)
class Desk:
    """``server_name`` is the operator's for this server; ``control`` None: no call may
    change what is served; ``ports`` None: they are not told."""

    directory: Directory
    server_name: str
    control: RepositoryControl | None = None
    ports: Ports | None = None

    @property
    def loads(self) -> bool:
        """Whether models can be loaded and unloaded by call."""
        return self.control is not None and self.control.works
