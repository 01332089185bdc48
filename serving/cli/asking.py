"""The Python client (``client/``) as commands use it: its errors become lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from serving.cli import address
from serving.cli.output import UserError
from serving.cli.unreached import WHERE, UnreachedError

if TYPE_CHECKING:
    from serving_client import Client, InferResult


def open_client(
    protocol: address.Protocol,
    url: str,
    timeout: float,
    headers: Mapping[str, str] | None = None,
    *,
    patient: bool = False,
) -> Client:
    """``headers`` go with every request; ``patient``: refusals are tried again, as the server says.
    Raises UserError where the client is not installed, and for an address that is none."""
    try:
        from serving_client import Client, Retry
    except ImportError as error:
        raise UserError(
            f"asking a gateway needs its Python client ({error.name} is missing):"
            " install 'serving[client]'"
        ) from None
    target = url if protocol is address.Protocol.HTTP else f"grpc://{url}"
    retry = Retry() if patient else None
    try:
        return Client(target, timeout=timeout, headers=headers, retry=retry)
    except ValueError as error:
        raise UserError(str(error), code=2) from None


@contextmanager
def in_words() -> Iterator[None]:
    """Raises UserError in place of the client's errors; UnreachedError where asking again is of no
    use."""
    from serving_client import ConnectionLostError, ServingError, UnreachableError, WrongServerError

    try:
        yield
    except (ConnectionLostError, WrongServerError) as error:
        kind = UnreachedError if isinstance(error, WrongServerError) else UserError
        raise kind(str(error)) from None
    except UnreachableError as error:
        hint = f": {WHERE}" if str(error).startswith("nothing listens") else ""
        raise UnreachedError(f"{error}{hint}") from None
    except ServingError as error:
        raise UserError(_refusal(error)) from None


def _refusal(error: Any) -> str:
    from serving_client import DeadlineError, InputError

    of_client = isinstance(error, InputError) or (
        isinstance(error, DeadlineError) and not error.request_id
    )
    return str(error) if of_client else f"{error.code}: {error}"


def readable(result: InferResult, name: str) -> Any:
    """An output for people: BF16 as floats, and bytes that are no text so that they can be seen."""
    import numpy as np

    array, datatype = result[name], result.datatypes[name]
    if datatype == "BF16":
        return array.astype(np.float32)
    if datatype != "BYTES":
        return array
    texts = [
        text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        for text in array.reshape(-1).tolist()
    ]
    return np.array(texts, dtype=object).reshape(array.shape)
