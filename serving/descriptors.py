"""How many file descriptors this process may have, and who gets them (fault 107).

Client connections never get all of them: the admin port, children (sockets, shared memory),
model files and logs keep a reserve, and so does the shared memory of clients.
"""

from __future__ import annotations

import errno
import resource
from contextlib import suppress
from dataclasses import dataclass

# Kept from client connections: half of what there is, and no more than this.
_MOST_RESERVED = 1024
# Connections of the admin port, out of the reserve.
_MOST_ADMIN = 64
_LEAST_ADMIN = 4
_SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE})


@dataclass(frozen=True, slots=True)
class Places:
    """``clients``: connections on both doors together. ``admin``: on the admin port.
    ``advice``: what may be done where they are too few, in words for the operator."""

    clients: int
    admin: int
    advice: str


def places(wanted: int, limit: int | None, regions: int = 0) -> Places:
    """Who gets how many of ``limit`` descriptors (None: there is no limit) where the settings
    want ``wanted`` client connections; clients' shared memory may take ``regions`` of them, of
    a quarter at most. Pure."""
    advice = "raise limits.max_connections"
    if limit is None:
        return Places(wanted, _MOST_ADMIN, advice)
    reserve = min(limit // 2, _MOST_RESERVED)
    kept = min(regions, limit // 4)
    clients = min(wanted, limit - reserve - kept)
    if clients < wanted:
        advice = (
            f"the limit of open files is {limit}: raise it (ulimit -Hn, LimitNOFILE, nofile) to"
            f" {wanted + min(wanted, _MOST_RESERVED) + regions} for limits.max_connections"
        )
    return Places(clients, min(_MOST_ADMIN, max(_LEAST_ADMIN, reserve // 4)), advice)


def limit_now() -> int | None:
    """Descriptors that this process may have open; None where there is no limit."""
    return _limit(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def limit_raised() -> int | None:
    """The same, once raised as far as this process may."""
    return _limit(resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def raise_limit() -> None:
    """Raise the soft limit to the hard one, for this process and the children it will start;
    where the system refuses that, what there is remains."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def is_shortage(error: BaseException) -> bool:
    """Whether it says that there is no descriptor left, which may pass."""
    return isinstance(error, OSError) and error.errno in _SHORTAGE


def _limit(number: int) -> int | None:
    return None if number == resource.RLIM_INFINITY else number
