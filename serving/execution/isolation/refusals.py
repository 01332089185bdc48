"""Why a child refused a version, on its way to the server."""

from __future__ import annotations

from typing import Any

from serving.errors import ConfigError, LoadError, Retry
from serving.execution.isolation.framing import Message

_MOST_DETAIL = 4000


def to_plain(error: LoadError | ConfigError) -> Message:
    if isinstance(error, ConfigError):
        return {"config": str(error)}
    return {
        "reason": error.reason,
        "detail": error.detail[:_MOST_DETAIL],
        "retry": error.retry.value,
        "for_memory": error.for_memory,
    }


def from_plain(said: Any) -> LoadError | ConfigError:
    """Raises ValueError for what ``to_plain`` did not make."""
    try:
        if "config" in said:
            return ConfigError(str(said["config"]))
        retry, short = Retry(said["retry"]), bool(said["for_memory"])
        return LoadError(str(said["reason"]), str(said["detail"]), retry, for_memory=short)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a refusal: {error!r}") from None
