"""The log: one form for every record, and no client text that breaks a line."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import structlog

from serving.events import log
from serving.observe import logs
from serving.observe import nonblocking_writer as lines
from serving.protocols.calls import CallPool
from serving.settings import LogSettings, load_settings


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def _text(out: io.StringIO) -> str:
    assert lines.drain(5)
    return out.getvalue()


def _records(out: io.StringIO) -> list[dict[str, Any]]:
    assert lines.drain(5)
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
    assert "version_ready" in _text(out)
    assert not _text(out).startswith("{")


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
    assert _text(out).count("\n") == 1
    assert "\x1b[2J" not in _text(out)


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
    assert lines.drain(5)


class _Stuck(io.StringIO):
    """A stream that takes nothing until told, as a pipe does that nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.free = threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        assert self.free.wait(20)
        return super().write(text)


def test_a_stream_that_blocks_holds_nobody_up_and_its_lost_lines_are_told() -> None:
    out = _Stuck()
    lost: list[int] = []
    writer = lines.LineWriter(out, held_characters=50, on_dropped=lost.append)
    writer.write("first\n")
    assert out.reached.wait(5)
    for number in range(10):
        writer.write(f"line {number} .\n")
    assert writer.dropped == 6
    assert not writer.drain(0.01)
    out.free.set()
    assert writer.drain(5)
    assert out.getvalue().splitlines() == ["first", *(f"line {n} ." for n in range(4))]
    writer.write("after\n")
    assert writer.drain(5)
    assert lost == [6]


def test_lost_lines_are_reported_in_the_log_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "HELD_CHARACTERS", 300)
    out = _Stuck()
    logs.configure(LogSettings(), out)
    log.info("first")
    assert out.reached.wait(5)
    for _ in range(20):
        log.info("more", filling="x" * 40)
    dropped = lines.dropped()
    assert dropped
    out.free.set()
    assert lines.drain(5)
    wanted = [one for one in _records(out) if one["event"] == "log_lines_dropped"]
    assert [one["count"] for one in wanted] == [20 + 1 - (len(_records(out)) - 1)]


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_secret_is_in_no_line_wherever_it_stands(form: Any) -> None:
    out = io.StringIO()
    secret = 'to"ken\\6f1d'
    logs.configure(LogSettings(format=form), out, secrets=[secret])
    log.error("refused", message=f"Bearer {secret}", nested={"headers": [secret]})
    logging.getLogger("library").warning("sent %s", secret)
    try:
        raise ValueError(secret)
    except ValueError:
        log.exception("broke")
    text = _text(out)
    assert "6f1d" not in text
    assert "***" in text


def test_every_secret_that_is_set_is_kept_out_of_the_log() -> None:
    settings, _ = load_settings({"tracking.mlflow.token": "abc-123"}, environ={})
    assert settings.secrets() == ("abc-123",)
    in_address = {"tracking.mlflow.uri": "http://me:p%40ss@mlflow:5000/x"}
    assert set(load_settings(in_address, environ={})[0].secrets()) == {"p%40ss", "p@ss"}
    assert load_settings({}, environ={})[0].secrets() == ()


def test_text_that_a_stream_can_not_encode_is_written_escaped() -> None:
    raw = io.BytesIO()
    logs.configure(LogSettings(), io.TextIOWrapper(raw, encoding="ascii"))
    log.info("named", model="modèle")
    assert lines.drain(5)
    assert json.loads(raw.getvalue())["model"] == "modèle"


def test_a_record_of_the_core_keeps_the_time_at_which_it_was_made() -> None:
    out = io.StringIO()
    logs.configure(LogSettings(), out)
    logs.write({"event": "request", "level": "info", "at": 1.5})
    (record,) = _records(out)
    assert record["timestamp"] == "1970-01-01T00:00:01.500000Z"
    assert "at" not in record


def test_lines_about_a_call_carry_its_request_id() -> None:
    out = io.StringIO()
    logs.configure(LogSettings(), out)

    class Call:
        protocol = "http"
        method = "GET"
        request_id = "r-7"

        def __getattr__(self, name: str) -> object:
            raise RuntimeError(f"no {name}")

    class Server:
        calls: ClassVar = [Call()]

        def next_call(self) -> Call | None:
            return self.calls.pop() if self.calls else None

    pool = CallPool(Server(), None, 1)  # type: ignore[arg-type]  # a call that nothing can answer
    pool.start()
    pool.stop()
    (record,) = _records(out)
    assert (record["event"], record["request_id"]) == ("call_not_answered", "r-7")


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
