"""What an HTTP answer with another status than 200 means. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from serving_client.addresses import Address
from serving_client.errors import (
    OverloadedError,
    ServingError,
    WrongServerError,
    kind_of,
)
from serving_client.exchange import REQUEST_ID

RETRY_AFTER = "retry-after"
SHOULD_RETRY = "x-should-retry"

# The names of gRPC's statuses, so that a code means the same over both protocols.
CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    413: "RESOURCE_EXHAUSTED",
    415: "INVALID_ARGUMENT",
    417: "INVALID_ARGUMENT",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def http_error(
    address: Address, status: int, headers: Mapping[str, str], body: bytes, now: float
) -> ServingError:
    """``headers``: with names in lower case; ``now``: seconds since 1970, for a time to come back
    that is a date."""
    place = str(address)
    words = _words(body)
    if words is None and _is_another_servers(status):
        kind = headers.get("content-type", "no content type")
        return WrongServerError(
            f"{place}: what answers there is no model server (status {status}, {kind})",
            address=place,
        )
    code = CODES.get(status, "UNKNOWN")
    wait = _seconds(headers.get(RETRY_AFTER), now)
    kind_of_error = OverloadedError if status == 429 else kind_of(code, None)
    return kind_of_error(
        words or f"{place}: status {status}, no reason given",
        address=place,
        request_id=headers.get(REQUEST_ID, ""),
        retry_after=wait if status in (429, 503) else None,
        repeatable=_repeatable(status, wait) and headers.get(SHOULD_RETRY) != "false",
        code=code,
    )


def _is_another_servers(status: int) -> bool:
    """Where the text isn't the protocol's; other statuses may be a proxy's, before the server."""
    return status in (400, 404) or (status < 500 and status not in CODES)


def _repeatable(status: int, wait: float | None) -> bool:
    # 502 is a proxy's that did not reach the server.
    return status in (502, 503) or (status == 429 and wait is not None)


def _words(body: bytes) -> str | None:
    """The protocol's error text; None where it is none."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    words = said.get("error") if isinstance(said, dict) else None
    return words if isinstance(words, str) else None


def _seconds(said: str | None, now: float) -> float | None:
    """A number of seconds, or a date."""
    if said is None:
        return None
    try:
        wait = float(said)
    except ValueError:
        try:
            wait = parsedate_to_datetime(said).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return max(0.0, wait) if math.isfinite(wait) else None
