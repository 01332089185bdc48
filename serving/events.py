"""Facts that rooms state and observers turn into logs and numbers."""

from __future__ import annotations

import logging

import structlog

log: structlog.stdlib.BoundLogger = structlog.get_logger("serving")

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
