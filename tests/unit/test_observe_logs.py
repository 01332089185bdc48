"""The log: one form for every record, and no client text that breaks a line."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from serving.events import log
from serving.observe import logs
from serving.settings import LogSettings


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def _records(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_off_a_terminal_records_are_json_lines() -> None:
    out = io.StringIO()
    logs.configure(LogSettings(), out)
    log.warning("version_failed", model="m", version=3)
    (record,) = _records(out)
    assert record["event"] == "version_failed"
    assert (record["model"], record["version"], record["level"]) == ("m", 3, "warning")
    assert record["timestamp"].endswith("Z")


def test_the_console_form_is_text() -> None:
    out = io.StringIO()
    logs.configure(LogSettings(format="console"), out)
    log.info("version_ready", model="m")
    assert "version_ready" in out.getvalue()
    assert not out.getvalue().startswith("{")


def test_fault_75_the_level_decides_what_is_written() -> None:
    for level, expected in (("error", 0), ("info", 1), ("debug", 2)):
        out = io.StringIO()
        logs.configure(LogSettings(level=level), out)
        log.debug("a")
        log.info("b")
        assert len(_records(out)) == expected


def test_libraries_log_in_the_same_form_from_warnings_up() -> None:
    out = io.StringIO()
    logs.configure(LogSettings(), out)
    logging.getLogger("library").info("chatter")
    logging.getLogger("library").warning("beware %s", "this")
    (record,) = _records(out)
    assert (record["event"], record["level"]) == ("beware this", "warning")


@pytest.mark.parametrize("form", ["console", "json"])
def test_client_text_stays_on_its_line(form: Any) -> None:
    out = io.StringIO()
    logs.configure(LogSettings(format=form), out)
    log.info("refused", message="first\nlevel=forged \x1b[2J")
    assert out.getvalue().count("\n") == 1
    assert "\x1b[2J" not in out.getvalue()


def test_an_exception_is_written_with_its_trace() -> None:
    out = io.StringIO()
    logs.configure(LogSettings(), out)
    try:
        raise ValueError("why")
    except ValueError:
        log.exception("broke")
    (record,) = _records(out)
    assert "ValueError: why" in record["exception"]


def test_a_reader_that_left_costs_nothing() -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    logs.configure(LogSettings(), Broken())
    log.error("nobody hears this")


class _Core:
    """The two methods of the core that the event log pulls from."""

    def __init__(self, batches: list[list[dict[str, Any]]]) -> None:
        self._batches = iter(batches)
        self.done = threading.Event()

    def events(self, timeout: float) -> list[dict[str, Any]] | None:
        found = next(self._batches, None)
        if found is None:
            self.done.set()
        return found

    def counters(self) -> dict[str, int]:
        return {"events_dropped": 2}


def test_the_cores_records_are_written_with_what_they_say() -> None:
    out = io.StringIO()
    logs.configure(LogSettings(), out)
    record = {
        "event": "request_failed",
        "level": "warning",
        "request_id": "r1",
        "model": "m",
        "version": 2,
        "word": "internal",
        "message": "the run failed",
        "detail": "the original",
        "other": None,
        "empty": "",
    }
    core = _Core([[record], []])
    events = logs.EventLog(core)
    events.start()
    assert core.done.wait(5)
    events.stop()
    first, dropped = _records(out)
    assert first["request_id"] == "r1"
    assert first["detail"] == "the original"
    assert not {"other", "empty"} & set(first)
    assert (dropped["event"], dropped["count"]) == ("events_dropped", 2)
