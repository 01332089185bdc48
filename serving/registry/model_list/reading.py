"""A model config list out of a file in protobuf's text format, or out of a call's message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from serving import text_form
from serving.errors import ConfigError
from serving.registry.aliases import why_no_alias
from serving.registry.model_list.entries import ModelList, entries_of
from serving.user_files import read_file
from serving.wire import tfs_messages

MAX_BYTES = 4 * 1024 * 1024


def read_list_file(file: Path) -> ModelList:
    """Raises ConfigError, in words for the operator that name the file, and the line where there
    is one."""
    try:
        text = read_file(file, MAX_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: not UTF-8") from None
    try:
        return read_message(_parsed(text))
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def read_message(message: Any) -> ModelList:
    """Of a ``ModelServerConfig``. Raises ConfigError, in words that may go to clients."""
    return entries_of(message, why_no_alias)


def _parsed(text: str) -> Any:
    message = tfs_messages.ModelServerConfig()
    try:
        text_form.parse(text, message, tfs_messages.pool)
    except text_form.TextFormError as error:
        words = error.words
        raise ConfigError(f"line {error.line}: {words}" if error.line else words) from None
    return message
