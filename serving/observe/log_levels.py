"""Which records are written, by their level; it may change while the server runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, MutableMapping
from dataclasses import asdict, dataclass
from typing import Any

import structlog

from serving.events import LEVELS, log


@dataclass(frozen=True, slots=True)
class Written:
    """``verbose``: above 0, records of level debug are written, too."""

    info: bool = True
    warning: bool = True
    error: bool = True
    verbose: int = 0

    @classmethod
    def from_level(cls, name: str) -> Written:
        """``name``: the least level that is written, as in the setting ``log.level``."""
        level = LEVELS[name]
        return cls(
            info=level <= logging.INFO,
            warning=level <= logging.WARNING,
            verbose=int(level <= logging.DEBUG),
        )

    def takes(self, level: int) -> bool:
        if level >= logging.ERROR:
            return self.error
        if level >= logging.WARNING:
            return self.warning
        return self.info if level >= logging.INFO else self.verbose > 0

    @property
    def least(self) -> int:
        """The lowest level that is written; above all of them where none is."""
        taken = [level for level in LEVELS.values() if self.takes(level)]
        return min(taken, default=logging.CRITICAL)


class LogLevels:
    """One for the process, as its log is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._written: Written | None = None

    @property
    def written(self) -> Written | None:
        """None while nobody has said what the log is (``logs.configure``)."""
        return self._written

    def begin(self, written: Written) -> None:
        self._written = written
        # What is below costs the caller nothing; what is between is left out later.
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(written.least))

    def change(self, update: Callable[[Written], Written]) -> None:
        """From now on; the log tells of it while it still does."""
        with self._lock:
            if self._written is None or (after := update(self._written)) == self._written:
                return
            log.info("log_settings", **asdict(after))
            self.begin(after)

    def leave_out(
        self, logger: object, method: str, record: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """A processor of structlog's."""
        level = LEVELS.get(method, logging.ERROR)
        if self._written is not None and not self._written.takes(level):
            raise structlog.DropEvent
        return record

    def filter(self, record: logging.LogRecord) -> bool:
        """A filter of ``logging``: libraries write through that."""
        return self._written is None or self._written.takes(record.levelno)


LEVELS_WRITTEN = LogLevels()
