"""The Python client (``client/``) as commands use it: its errors become lines for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from serving.cli import address
from serving.cli.output import UserError, clean
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
    return str(error) if of_client else clean(f"{error.code}: {error}")


def number_of(
    protocol: address.Protocol, url: str, timeout: float, model: str, version: str
) -> str:
    """``version``, where it is an alias, as calls over ``protocol`` take it: paths of the Open
    Inference Protocol have no place for one, TensorFlow Serving's have. Raises UserError."""
    if protocol is not address.Protocol.HTTP or not version or version.isdecimal():
        return version
    from serving.cli.exchange import request

    path = f"/v1/models/{quote(model, safe='')}/labels/{quote(version, safe='')}"
    status, _, text = request("GET", f"{url.rstrip('/')}{path}", None, {}, timeout)
    try:
        answer = json.loads(text)
        if status == HTTPStatus.OK:
            return str(answer["model_version_status"][0]["version"])
        words = str(answer["error"])
    except (ValueError, LookupError, TypeError, RecursionError):
        # No gateway: that is told of by who asks it next.
        return version
    raise UserError(clean(words))


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
