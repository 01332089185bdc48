"""What passes between a client and a server, whichever protocol carries it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from serving_client.results import (
    InferResult,
    ModelMetadata,
    ModelState,
    ModelStatistics,
    ServerMetadata,
)
from serving_client.tensors import Tensor

T = TypeVar("T")
Parameter = bool | int | float | str
NO_HEADERS: Mapping[str, str] = {}
# Both ways, over both protocols.
REQUEST_ID = "x-request-id"


class Exchange(NamedTuple, Generic[T]):
    """``target``: a gRPC method or an HTTP path; ``read``: an answer's body and headers -> what the
    call gives. Raises DamagedAnswerError. ``again``: the same with so many seconds left, where it
    says how many there are."""

    target: str
    body: bytes
    read: Callable[[bytes, Mapping[str, str]], T]
    verb: str = "POST"
    headers: Mapping[str, str] = NO_HEADERS
    again: Callable[[float], Exchange[T]] | None = None


class InferOptions(NamedTuple):
    """What a caller says beside the inputs. ``headers`` go with the request, over gRPC as metadata;
    ``timeout``: seconds, also for a server that can't see the client's deadline otherwise."""

    version: str
    outputs: tuple[str, ...]
    parameters: Mapping[str, Parameter]
    id: str
    headers: Mapping[str, str]
    timeout: float


class InferRequest(NamedTuple):
    model: str
    inputs: Sequence[Tensor]
    options: InferOptions


class Codec(Protocol):
    """A protocol: each call as an exchange."""

    def infer(self, request: InferRequest) -> Exchange[InferResult]: ...

    def server_live(self) -> Exchange[bool]: ...

    def server_ready(self) -> Exchange[bool]: ...

    def model_ready(self, model: str, version: str) -> Exchange[bool]: ...

    def server_metadata(self) -> Exchange[ServerMetadata]: ...

    def model_metadata(self, model: str, version: str) -> Exchange[ModelMetadata]: ...

    def statistics(self, model: str, version: str) -> Exchange[list[ModelStatistics]]: ...

    def models(self) -> Exchange[list[ModelState]]: ...
