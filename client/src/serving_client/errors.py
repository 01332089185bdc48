"""What can go wrong, each kind once, whichever protocol told it. Pure."""

from __future__ import annotations


class ServingError(Exception):
    """A call that failed; its text is the server's own where the server said it.

    ``code``: the name of a gRPC status (``NOT_FOUND``, ...), over HTTP the one that fits.
    ``address``: the server asked last. ``request_id``: under which its log tells more; "" where it
    named none. ``retry_after``: seconds after which the server wants to be asked again; None where
    it said nothing. ``repeatable``: whether to ask again is safe and may help.
    """

    code = "UNKNOWN"

    def __init__(
        self,
        message: str,
        *,
        address: str = "",
        request_id: str = "",
        retry_after: float | None = None,
        repeatable: bool = False,
        code: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.address = address
        self.request_id = request_id
        self.retry_after = retry_after
        self.repeatable = repeatable
        self.code = code or type(self).code


class InvalidRequestError(ServingError, ValueError):
    """The server refuses the request: a shape, a datatype, a name, or what the data holds."""

    code = "INVALID_ARGUMENT"


class InputError(InvalidRequestError):
    """An input can't be sent as the model wants it; nothing was sent."""


class NotFoundError(ServingError):
    """No such model or version."""

    code = "NOT_FOUND"


class TooLargeError(ServingError):
    """The request or its answer is over a limit, and would be again."""

    code = "RESOURCE_EXHAUSTED"


class UnavailableError(ServingError):
    """Not now: the server is loading, draining, or (over HTTP, where one status says all) full."""

    code = "UNAVAILABLE"


class OverloadedError(UnavailableError):
    """The server has more to do than it takes in, and says so."""

    code = "RESOURCE_EXHAUSTED"


class UnreachableError(ServingError, ConnectionError):
    """Nobody answers at the address."""

    code = "UNAVAILABLE"


class ConnectionLostError(UnreachableError):
    """The connection ended before the answer: what was asked may have been done."""


class WrongServerError(UnreachableError):
    """Something else answers at the address: another protocol, or no model server."""


class DeadlineError(ServingError, TimeoutError):
    """The answer did not come in time: the server gave up, or the client did. ``silent``: it was
    the client, which heard nothing."""

    code = "DEADLINE_EXCEEDED"
    silent = False


class NotAllowedError(ServingError):
    """The server asks for credentials, or does not take these."""

    code = "PERMISSION_DENIED"


class UnsupportedError(ServingError):
    """The server does not offer this call."""

    code = "UNIMPLEMENTED"


class InternalError(ServingError):
    """The model or the server failed."""

    code = "INTERNAL"


class DamagedAnswerError(InternalError):
    """The answer is not what the protocol says it is."""


def no_answer(place: str, allowed: float) -> DeadlineError:
    """``allowed``: seconds for the whole call."""
    error = DeadlineError(f"{place}: no answer within {allowed:g} s", address=place)
    error.silent = True
    return error


def kind_of(code: str, retry_after: float | None) -> type[ServingError]:
    """The class of a gRPC status. A full server names a time to come back, too large a message
    none: RESOURCE_EXHAUSTED is both."""
    if code == "RESOURCE_EXHAUSTED":
        return TooLargeError if retry_after is None else OverloadedError
    return _KINDS.get(code, InternalError)


_KINDS: dict[str, type[ServingError]] = {
    "INVALID_ARGUMENT": InvalidRequestError,
    "FAILED_PRECONDITION": InvalidRequestError,
    "OUT_OF_RANGE": InvalidRequestError,
    "NOT_FOUND": NotFoundError,
    "UNAVAILABLE": UnavailableError,
    "DEADLINE_EXCEEDED": DeadlineError,
    "UNAUTHENTICATED": NotAllowedError,
    "PERMISSION_DENIED": NotAllowedError,
    "UNIMPLEMENTED": UnsupportedError,
}
