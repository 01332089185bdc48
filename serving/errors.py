"""The gateway's own error words, shared with the core (``core/engine/src/error.rs``)."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class ErrorCode(StrEnum):
    """What went wrong; each door translates it in one table."""

    BAD_REQUEST = "bad_request"
    BAD_DATA = "bad_data"
    NOT_FOUND = "not_found"
    FULL = "full"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    TOO_LARGE = "too_large"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"
    UNIMPLEMENTED = "unimplemented"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    UNMET_EXPECTATION = "unmet_expectation"
    SLOW_BODY = "slow_body"
    UNAUTHENTICATED = "unauthenticated"
    PERMISSION_DENIED = "permission_denied"
    FAILED_PRECONDITION = "failed_precondition"
    SCHEMA_MISMATCH = "schema_mismatch"
    MISDIRECTED = "misdirected"
    TOO_MANY_REQUESTS = "too_many_requests"


class ServingError(Exception):
    """An error as a user may see it: no path, stack trace or internal name in it.

    ``detail`` is the original, for the log and for operators only.
    """

    def __init__(self, code: ErrorCode, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.detail = detail


class ConfigError(Exception):
    """A configuration or settings value that is wrong, in words for the operator."""


class Retry(StrEnum):
    """Whether a version that could not be loaded may go better another time."""

    # The same files fail the same way.
    NEVER = "never"
    # Disk, memory or processes refused, which may pass: it is tried again by itself.
    LATER = "later"
    # Something is missing that comes as a change of the version's files, and so as a new load.
    ON_CHANGE = "on_change"

    @classmethod
    def after(cls, error: BaseException) -> Retry:
        """After what the system refused."""
        if isinstance(error, FileNotFoundError):
            return cls.ON_CHANGE
        return cls.LATER if isinstance(error, OSError | MemoryError) else cls.NEVER


class LoadError(Exception):
    """A version that cannot be loaded. ``reason`` may go to clients; ``detail`` is for the log.

    ``for_memory``: with more memory it might have been.
    """

    def __init__(
        self,
        reason: str,
        detail: str = "",
        retry: Retry = Retry.NEVER,
        *,
        for_memory: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail
        self.retry = retry
        self.for_memory = for_memory

    @classmethod
    def after(cls, error: BaseException, reason: str, detail: str = "") -> Self:
        """What comes of ``error``, which decides whether to try again."""
        short = isinstance(error, MemoryError)
        return cls(reason, detail, Retry.after(error), for_memory=short)
