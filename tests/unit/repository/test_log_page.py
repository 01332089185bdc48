"""docs/observability.md names every event of the log and every attribute of a span."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from serving.observe.tracing.semantics import DOORS, ERROR, MESSAGE, PREFIX, address_of
from serving.observe.tracing.setup import resource
from serving.settings import load_settings

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "observability.md").read_text()
# What passes events on, by the name of the called.
PASSED_ON = {"say", "_on_event", "log_event"}


def _events(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        called, first = node.func, node.args[0]
        if not (isinstance(first, ast.Constant) and isinstance(first.value, str)):
            continue
        of_log = (
            isinstance(called, ast.Attribute)
            and isinstance(called.value, ast.Name)
            and called.value.id == "log"
        )
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        if of_log or name in PASSED_ON:
            yield first.value


# Told by the core, or by a name that is chosen elsewhere.
OTHERS = {"request", "request_failed", "registry_unreadable", "model_unreadable"}


def test_every_event_of_the_log_is_on_the_page() -> None:
    files = (ROOT / "serving").rglob("*.py")
    events = {event for file in files for event in _events(ast.parse(file.read_text()))}
    # There are some that it looks for.
    assert {"version_state", "traces_not_sent", "batch_answer_does_not_fit"} <= events
    missing = {event for event in events | OTHERS if f"`{event}`" not in PAGE}
    assert not missing


def test_every_attribute_of_a_span_is_on_the_page() -> None:
    given = ("model", "version", "rows", "requests", "status", "request_id")
    names = {MESSAGE, ERROR, *address_of(("h", 1)), *(f"{PREFIX}{name}" for name in given)}
    names |= set(resource(load_settings({}, environ={})[0]))
    for door in DOORS.values():
        names |= {door.method, door.code, *door.fixed}
    missing = {name for name in names if f"`{name}`" not in PAGE}
    assert not missing
