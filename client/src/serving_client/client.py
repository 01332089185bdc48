"""The client for programs and threads that wait for an answer."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self, TypeVar

from numpy.typing import ArrayLike

from serving_client.errors import ServingError
from serving_client.exchange import Parameter
from serving_client.options import (
    MAX_MESSAGE_BYTES,
    infer_options,
    named_inputs,
    options_of,
    version_text,
)
from serving_client.results import (
    InferResult,
    ModelMetadata,
    ModelState,
    ModelStatistics,
    ServerMetadata,
)
from serving_client.retrying import Retry
from serving_client.session import Join, Pause, Steps
from serving_client.tls import Tls
from serving_client.transports import blocking

T = TypeVar("T")


class Client:
    """Asks a server, or several that serve the same models, for inference.

    ``addresses``: ``HOST:PORT`` or ``grpc://HOST:PORT`` (gRPC), ``http://HOST:PORT`` (HTTP),
    ``grpcs://`` and ``https://`` for the same with TLS; several, with commas between them or as a
    sequence, are asked in turn. ``timeout``: seconds for a call with all its attempts, unless it
    says otherwise. ``retry``: when to try again; None is never.
    ``headers`` go with every call (over gRPC as metadata): credentials, for one. ``keepalive``:
    seconds after which a peer that is silent is looked for. ``max_message_bytes``: of an answer
    (over gRPC of a request, too). ``tls``: which servers are trusted, and the client's own
    certificate; None: those that the system, for gRPC grpcio, trusts.

    May be used from many threads at once. It connects with the first call, and ``close``, or the
    end of a ``with`` block, gives the connections back. All calls raise ``ServingError``s; see
    ``serving_client.errors``. Raises ValueError for options that can't be meant.
    """

    def __init__(
        self,
        addresses: str | Sequence[str],
        *,
        timeout: float = 60.0,
        retry: Retry | None = Retry(),  # noqa: B008 - it is frozen
        headers: Mapping[str, str] | None = None,
        keepalive: float = 60.0,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        tls: Tls | None = None,
    ) -> None:
        self._options = options_of(
            addresses, timeout, retry, headers, keepalive, max_message_bytes, tls
        )
        self._codec = self._options.codec()
        self._session = self._options.session(self._codec)
        self._transport = blocking(self._options)
        self._closed = threading.Event()

    def infer(
        self,
        model: str,
        inputs: Mapping[str, ArrayLike] | None = None,
        /,
        *,
        version: int | str | None = None,
        outputs: Sequence[str] | str | None = None,
        parameters: Mapping[str, Parameter] | None = None,
        priority: int | None = None,
        request_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **named: ArrayLike,
    ) -> InferResult:
        """The outputs by name. Inputs are given by name: as keywords, or in ``inputs`` where a name
        is no Python word, or an option's.

        Arrays, lists and scalars become what the model's metadata says, which is asked for once:
        integers never wrap and are never made of fractions; floats may be rounded. ``version``:
        None leaves it to the server. ``outputs``: their names; all where none is named.
        ``request_id`` comes back as ``id``, and stands in the server's log. Raises InputError where
        an input can't be sent as the model wants it.
        """
        options = infer_options(
            version,
            outputs,
            parameters,
            priority,
            request_id,
            headers,
            self._options.seconds(timeout),
        )
        return self._run(self._session.infer(model, named_inputs(inputs, named), options))

    def live(self, *, timeout: float | None = None) -> bool:
        """Whether a server answers at all. Of several addresses the next one is asked."""
        return self._run(
            self._session.check(self._codec.server_live(), self._options.seconds(timeout))
        )

    def ready(self, *, timeout: float | None = None) -> bool:
        """Whether the server takes requests; one that can't be reached does not."""
        return self._run(
            self._session.check(self._codec.server_ready(), self._options.seconds(timeout))
        )

    def model_ready(
        self, model: str, *, version: int | str | None = None, timeout: float | None = None
    ) -> bool:
        """Whether the model, or that version of it, answers requests; an unknown one does not."""
        exchange = self._codec.model_ready(model, version_text(version))
        return self._run(self._session.check(exchange, self._options.seconds(timeout)))

    def metadata(
        self, model: str, *, version: int | str | None = None, timeout: float | None = None
    ) -> ModelMetadata:
        """The model's inputs and outputs: names, datatypes, shapes."""
        return self._run(
            self._session.metadata(model, version_text(version), self._options.seconds(timeout))
        )

    def server_metadata(self, *, timeout: float | None = None) -> ServerMetadata:
        """The server's name, version and extensions."""
        return self._run(
            self._session.call(self._codec.server_metadata(), self._options.seconds(timeout))
        )

    def statistics(
        self,
        model: str = "",
        *,
        version: int | str | None = None,
        timeout: float | None = None,
    ) -> list[ModelStatistics]:
        """Of the model's versions, or of one; of all models where none is named."""
        exchange = self._codec.statistics(model, version_text(version))
        return self._run(self._session.call(exchange, self._options.seconds(timeout)))

    def models(self, *, timeout: float | None = None) -> list[ModelState]:
        """All versions that the server knows, with their states."""
        return self._run(self._session.call(self._codec.models(), self._options.seconds(timeout)))

    def close(self) -> None:
        """Gives the connections back; what waits then or is asked afterwards is a RuntimeError."""
        self._closed.set()
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, steps: Steps[T]) -> T:
        if self._closed.is_set():
            raise RuntimeError("the client is closed")
        try:
            return self._walk(steps)
        except Exception:
            if self._closed.is_set():
                # However its transport tells of it.
                raise RuntimeError("the client is closed") from None
            raise

    def _walk(self, steps: Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                try:
                    if isinstance(step, Pause):
                        if self._closed.wait(step.seconds):
                            raise RuntimeError
                        came = None
                    elif isinstance(step, Join):
                        self._join(step)
                        came = None
                    else:
                        came = self._transport.send(step)
                except ServingError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(came)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # what the generator's type promises
        finally:
            # Whoever waits for what this call was to learn goes on.
            steps.close()

    def _join(self, step: Join) -> None:
        ended = threading.Event()
        step.lookup.when_ended(ended.set)
        ended.wait(step.seconds)
        if self._closed.is_set():
            raise RuntimeError
