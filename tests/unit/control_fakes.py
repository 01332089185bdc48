"""A commander that does what a test says, and an admin port around it."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from serving.authorization import open_gates
from serving.control import own
from serving.control.admin import Admin
from serving.control.api import ControlApi
from serving.loading.batching.cost import CostCurve
from serving.models.commands.command import Command, Outcome, Ticket
from serving.models.state import State, Transition
from serving.models.views import ModelView
from serving.observe import operations as observed
from serving.observe.tracing.exporter import TraceStatus
from serving.observe.tracking.tracker import Tracker
from serving.operations import Operation
from serving.registry.folder_origin import FolderOrigin
from serving.rollout.route import RouteChange
from serving.settings import Settings, load_settings
from serving.settings import operations as settings_operations
from serving.state_dir import StateDir
from tests.unit.protocol_views import failed, model, version


class Line:
    """A queue of which only the depth exists."""

    def depth(self) -> dict[str, int]:
        return {"requests": 1, "rows": 2, "bytes": 3, "executing": 0}


MODELS = (
    model(
        "m",
        version(1, queue=Line()),
        version(
            2,
            queue=Line(),
            origin=FolderOrigin(Path("/secret/place/m/2")),
            cost=CostCurve(0.001, 0.0001, 16),
            memory_bytes=1 << 20,
            isolated="its trial died on generated input",
            checked=True,
        ),
    ),
    model("broken", failed(1, "it is broken"), reason="version 1 failed: it is broken"),
)


class Commander:
    """Keeps the tickets; ends each at once with ``outcome`` unless that is None."""

    def __init__(self, outcome: Outcome | None = None) -> None:
        self.outcome = outcome
        self.tickets: list[Ticket] = []
        self.on_command: Callable[[Ticket], None] = lambda _: None

    @property
    def commands(self) -> list[Command]:
        return [ticket.command for ticket in self.tickets]

    def views(self) -> tuple[ModelView, ...]:
        return MODELS

    def command(self, command: Command, by: str = "", reason: str = "") -> Ticket:
        ticket = Ticket(command, by, reason)
        self.tickets.append(ticket)
        if self.outcome is not None:
            ticket.end(self.outcome)
        self.on_command(ticket)
        return ticket

    def history(self, model: str) -> tuple[Transition, ...]:
        return (Transition(1.5, "m", 2, State.READY, ""),) if model == "m" else ()

    def route_history(self, model: str) -> tuple[RouteChange, ...]:
        return (RouteChange(1.5, "rollout", "weights 1=95 2=5", "step 1"),) if model == "m" else ()


def settings(**flags: object) -> Settings:
    given: dict[str, object] = {"admin_port": 0, **flags}
    return load_settings(given, None, {})[0]


def operations_of(
    settings: Settings,
    commander: Any,
    origins: Mapping[str, str] = MappingProxyType({}),
    *,
    metrics: Callable[[], bytes] = lambda: b"",
    is_ready: Callable[[], bool] = lambda: True,
    tracker: Tracker | None = None,
    traces: Callable[[], TraceStatus | None] = lambda: None,
) -> tuple[Operation, ...]:
    """As a gateway has them."""
    tracker = tracker or Tracker(settings, StateDir(None), dict, commander.views)
    return (
        *own.entrance(settings),
        *observed.scrape(metrics),
        *own.health(is_ready),
        *settings_operations.operations(settings, origins),
        *observed.operations(tracker, traces, lambda: None),
        *ControlApi(commander, settings.places.admin // 2).operations(),
    )


@contextlib.contextmanager
def admin_port(
    commander: Any, *, metrics: bytes = b"serving_request_total 1\n", **flags: object
) -> Iterator[Admin]:
    chosen = settings(**flags)
    rows = operations_of(chosen, commander, metrics=lambda: metrics)
    one = Admin(chosen, rows, open_gates(chosen).admin)
    one.start()
    try:
        yield one
    finally:
        one.stop()


def ask(
    admin: Admin,
    method: str,
    path: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, Any, dict[str, str]]:
    """Status, decoded JSON or bytes, headers; ``body``: anything JSON, or bytes as they are."""
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    given = {"Content-Type": "application/json"} if body is not None else {}
    # Where it listens on every address, this machine reaches it too.
    connection = http.client.HTTPConnection("127.0.0.1", admin.address[1], timeout=10)
    try:
        connection.request(method, path, content, {**given, **(headers or {})})
        response = connection.getresponse()
        text = response.read()
        found = {key.lower(): value for key, value in response.getheaders()}
        is_json = "json" in found.get("content-type", "")
        return response.status, json.loads(text) if is_json else text, found
    finally:
        connection.close()
