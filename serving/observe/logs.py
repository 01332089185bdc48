"""The log: structlog on stderr, and the thread that writes down what the core reports.

Nothing that logs waits for whoever reads the log (``lines``).
"""

from __future__ import annotations

import atexit
import json
import logging
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol, TextIO

import structlog

from serving.events import LEVELS, log
from serving.observe import nonblocking_writer
from serving.observe.log_levels import LEVELS_WRITTEN, Written
from serving.observe.nonblocking_writer import LineWriter
from serving.settings import LogSettings

# For the last lines to be taken before the process ends.
_LAST_LINES_S = 1.0
_SHORTEST_SECRET = 4


def configure(
    settings: LogSettings,
    stream: TextIO | None = None,
    secrets: Iterable[str] = (),
    leave_out: Collection[str] = (),
) -> None:
    """Send every record, the libraries' included, to ``stream`` (default: stderr).

    ``secrets``: texts that no line may hold, whoever wrote it. ``leave_out``: events that who
    reads the log hears of otherwise.
    """
    out = LineWriter(
        sys.stderr if stream is None else stream, _as_written(secrets), on_dropped=_report_lines
    )
    atexit.register(nonblocking_writer.drain, _LAST_LINES_S)
    shared: list[structlog.typing.Processor] = [
        LEVELS_WRITTEN.leave_out,
        partial(_leave_out, frozenset(leave_out)),
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _timestamp,
        structlog.processors.format_exc_info,
        _one_line,
        _head_first,
    ]
    renderer = _renderer(settings, out)
    structlog.configure(
        processors=[*shared, renderer],
        logger_factory=structlog.WriteLoggerFactory(
            file=out,  # type: ignore[arg-type]  # any text stream serves; a file is declared
        ),
        cache_logger_on_first_use=False,
    )
    LEVELS_WRITTEN.begin(Written.from_level(settings.level))
    _configure_libraries(shared[1:], renderer, out)


def _as_written(secrets: Iterable[str]) -> Iterator[str]:
    """Shorter ones would be found everywhere and hide nothing."""
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            yield from {secret, json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}


class _Stream(Protocol):
    def isatty(self) -> bool: ...


def is_console(settings: LogSettings, stream: _Stream) -> bool:
    """Whether the log on ``stream`` is for people, not in JSON."""
    return settings.format == "console" or (settings.format == "auto" and stream.isatty())


def json_line(event: str, fields: Mapping[str, object]) -> str:
    """A line as the log has them, for what is not written to the log."""
    record: MutableMapping[str, Any] = {"event": event, "level": "info", **fields}
    for step in (_timestamp, _one_line, _head_first):
        record = step(None, "info", record)
    return json.dumps(record, ensure_ascii=False) + "\n"


def _leave_out(
    events: frozenset[str], logger: object, method: str, record: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    if record.get("event") in events:
        raise structlog.DropEvent
    return record


def _renderer(settings: LogSettings, out: LineWriter) -> structlog.typing.Processor:
    if is_console(settings, out):
        return structlog.dev.ConsoleRenderer(colors=out.isatty())
    return structlog.processors.JSONRenderer(sort_keys=False, ensure_ascii=False)


def _configure_libraries(
    shared: list[structlog.typing.Processor],
    renderer: structlog.typing.Processor,
    out: LineWriter,
) -> None:
    """Libraries log through ``logging``: the same form, and nothing below a warning."""
    handler: logging.StreamHandler[Any] = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    handler.addFilter(LEVELS_WRITTEN.filter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)


def _timestamp(
    logger: object, method: str, record: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """When it happened: the core's records say that themselves, and are written later."""
    at = record.pop("at", None)
    when = datetime.now(UTC) if at is None else datetime.fromtimestamp(at, UTC)
    record["timestamp"] = when.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return record


def _one_line(
    logger: object, method: str, record: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Clients choose some of these texts: none may begin a line or move a cursor."""
    for key, value in record.items():
        if key != "exception" and isinstance(value, str) and not value.isprintable():
            record[key] = "".join(c if c.isprintable() else repr(c)[1:-1] for c in value)
    return record


def _head_first(
    logger: object, method: str, record: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """When, how bad, what: the same place in every line."""
    head = {key: record.pop(key) for key in ("timestamp", "level", "event") if key in record}
    return {**head, **record}


def _report_lines(count: int) -> None:
    log.warning("log_lines_dropped", count=count)


class EventSource(Protocol):
    """What the event log needs of ``_core.Server``."""

    def events(self, timeout: float) -> list[dict[str, Any]] | None: ...

    def counters(self) -> dict[str, int]: ...


class EventLog:
    """Pulls the core's records and writes them, in a thread of its own. ``also`` is shown each of
    them, and must be quick."""

    def __init__(
        self, server: EventSource, also: Callable[[Mapping[str, Any]], None] = lambda _: None
    ) -> None:
        self._server, self._also = server, also
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float = 2.0) -> None:
        """Wait for the last records; the server must have been stopped."""
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        while (records := self._server.events(1.0)) is not None:
            for record in records:
                self._also(record)
                write(record)
            self._report_dropped()

    def _report_dropped(self) -> None:
        dropped = int(self._server.counters().get("events_dropped", 0))
        if dropped > self._dropped:
            log.warning("events_dropped", count=dropped - self._dropped)
            self._dropped = dropped


def write(record: Mapping[str, Any]) -> None:
    """One record of the core, without what it doesn't say."""
    fields = {k: v for k, v in record.items() if v is not None and v != ""}
    event = str(fields.pop("event", "event"))
    level = LEVELS.get(str(fields.pop("level", "info")).lower(), logging.INFO)
    log.log(level, event, **fields)
