"""Why a child refused a version, on its way to the server."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from serving import machine
from serving.errors import ConfigError, LoadError, Retry
from serving.execution.faults import NO_THREAD
from serving.execution.isolation.framing import Message
from serving.strict import Strict, Text, as_text


class _Refusal(Strict):
    """``config``: the configuration is wrong; then nothing else is said."""

    reason: Text = ""
    detail: Text = ""
    retry: Annotated[Retry, Field(strict=False)] = Retry.NEVER
    for_memory: bool = False
    config: Text | None = None


def to_plain(error: LoadError | ConfigError) -> Message:
    if isinstance(error, ConfigError):
        return {"config": as_text(str(error))}
    return {
        "reason": as_text(error.reason),
        "detail": as_text(error.detail),
        "retry": error.retry.value,
        "for_memory": error.for_memory,
    }


def short_of_threads(error: RuntimeError) -> LoadError:
    """What becomes of a load for which no thread could be had. Raises any other ``error``."""
    if not machine.is_thread_shortage(error):
        raise error
    return LoadError(NO_THREAD, machine.thread_shortage_words(), Retry.LATER)


def from_plain(said: object) -> LoadError | ConfigError:
    """Raises ValueError for what ``to_plain`` did not make."""
    read = _Refusal.read(said, "its refusal")
    if read.config is not None:
        return ConfigError(read.config)
    return LoadError(read.reason, read.detail, read.retry, for_memory=read.for_memory)
