"""The calls of the data ports put together, for who runs the gateway."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from serving import _core
from serving.authorization import Gate
from serving.models.manager import Manager
from serving.observe.log_levels import LEVELS_WRITTEN
from serving.observe.tracing.control import TraceControl
from serving.protocols.call_context import CallContext
from serving.protocols.calls import CallPool
from serving.protocols.entrance import Ports
from serving.protocols.log_settings import LogSettings
from serving.protocols.openapi import Documents
from serving.protocols.pages import pages
from serving.protocols.reload_config import ReloadConfig
from serving.protocols.repository import RepositoryControl
from serving.protocols.shared_memory import SharedMemory
from serving.protocols.trace_settings import TraceSettings
from serving.registry.model_list.source import ModelListSource
from serving.settings import Settings


def open_calls(
    settings: Settings,
    server: _core.Server,
    manager: Manager,
    gate: Gate,
    admin_port: int,
    lists: ReloadConfig | None,
) -> CallPool:
    """``gate``: of the data ports, for calls that change the server; ``lists`` None: no call
    brings a model config list."""
    shared = settings.shared_memory.enabled
    context = CallContext(
        manager,
        settings.name,
        RepositoryControl(manager, gate, settings),
        _ports(server, admin_port),
        TraceSettings(TraceControl(server, settings), gate),
        LogSettings(LEVELS_WRITTEN, gate),
        lists,
        SharedMemory(server, gate) if shared else SharedMemory(),
        settings.limits.max_message_bytes,
        _documents(settings, server),
    )
    return CallPool(server, context, settings.threads.calls)


def open_lists(
    lists: ModelListSource | None,
    manager: Manager,
    roots: Sequence[Path],
    scrape: Callable[[], bytes],
) -> ReloadConfig | None:
    """Base paths of lists that calls bring lie below what the server was started with."""
    if lists is None:
        return None
    named = [Path(entry.base_path) for entry in lists.current.entries.values()]
    return ReloadConfig(manager, lists, [*roots, *named], scrape)


def _ports(server: _core.Server, admin: int) -> Ports:
    """The core sends those on who come to the wrong one."""
    server.set_admin_port(admin)
    return Ports(server.http_address[1], server.grpc_address[1], admin)


def _documents(settings: Settings, server: _core.Server) -> Documents | None:
    if not settings.http.pages:
        return None
    server.set_pages(pages())
    return Documents()
