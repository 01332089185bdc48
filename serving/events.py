"""Facts that rooms state and observers turn into logs and numbers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import structlog


class _Log:
    """Imports structlog, and half a terminal with it, for the first line: a child has none to
    say, and each import keeps whoever waits for it."""

    _bound: Any = None

    def __getattr__(self, name: str) -> Any:
        if self._bound is None:
            import structlog

            self._bound = structlog.get_logger("serving")
        return getattr(self._bound, name)


log = cast("structlog.stdlib.BoundLogger", _Log())

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
