"""The client for programs with an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
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
from serving_client.transports import awaiting

T = TypeVar("T")


class AsyncClient:
    """As ``Client``, with calls to be awaited, all from one event loop; any number at once. To be
    used by ``async with``, or closed by ``await client.close()``."""

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
        self._transport = awaiting(self._options)
        self._closed = asyncio.Event()

    async def infer(
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
        """As ``Client``'s."""
        options = infer_options(
            version,
            outputs,
            parameters,
            priority,
            request_id,
            headers,
            self._options.seconds(timeout),
        )
        return await self._run(self._session.infer(model, named_inputs(inputs, named), options))

    async def live(self, *, timeout: float | None = None) -> bool:
        """As ``Client``'s."""
        return await self._run(
            self._session.check(self._codec.server_live(), self._options.seconds(timeout))
        )

    async def ready(self, *, timeout: float | None = None) -> bool:
        """As ``Client``'s."""
        return await self._run(
            self._session.check(self._codec.server_ready(), self._options.seconds(timeout))
        )

    async def model_ready(
        self, model: str, *, version: int | str | None = None, timeout: float | None = None
    ) -> bool:
        """As ``Client``'s."""
        exchange = self._codec.model_ready(model, version_text(version))
        return await self._run(self._session.check(exchange, self._options.seconds(timeout)))

    async def metadata(
        self, model: str, *, version: int | str | None = None, timeout: float | None = None
    ) -> ModelMetadata:
        """As ``Client``'s."""
        return await self._run(
            self._session.metadata(model, version_text(version), self._options.seconds(timeout))
        )

    async def server_metadata(self, *, timeout: float | None = None) -> ServerMetadata:
        """As ``Client``'s."""
        return await self._run(
            self._session.call(self._codec.server_metadata(), self._options.seconds(timeout))
        )

    async def statistics(
        self,
        model: str = "",
        *,
        version: int | str | None = None,
        timeout: float | None = None,
    ) -> list[ModelStatistics]:
        """As ``Client``'s."""
        exchange = self._codec.statistics(model, version_text(version))
        return await self._run(self._session.call(exchange, self._options.seconds(timeout)))

    async def models(self, *, timeout: float | None = None) -> list[ModelState]:
        """As ``Client``'s."""
        return await self._run(
            self._session.call(self._codec.models(), self._options.seconds(timeout))
        )

    async def close(self) -> None:
        """As ``Client``'s."""
        self._closed.set()
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _run(self, steps: Steps[T]) -> T:
        if self._closed.is_set():
            raise RuntimeError("the client is closed")
        try:
            return await self._walk(steps)
        except (Exception, asyncio.CancelledError):
            task = asyncio.current_task()
            if self._closed.is_set() and not (task and task.cancelling()):
                # However its transport tells of it.
                raise RuntimeError("the client is closed") from None
            raise

    async def _walk(self, steps: Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                try:
                    if isinstance(step, Pause):
                        await self._pause(step.seconds)
                        came = None
                    elif isinstance(step, Join):
                        await self._join(step)
                        came = None
                    else:
                        came = await self._transport.send(step)
                except ServingError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(came)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # what the generator's type promises
        finally:
            # Whoever waits for what this call was to learn goes on.
            steps.close()

    async def _join(self, step: Join) -> None:
        """Raises RuntimeError where the client is closed meanwhile."""
        ended = asyncio.Event()
        step.lookup.when_ended(ended.set)
        with suppress(TimeoutError):
            async with asyncio.timeout(step.seconds):
                await ended.wait()
        if self._closed.is_set():
            raise RuntimeError

    async def _pause(self, seconds: float) -> None:
        """Raises RuntimeError where the client is closed meanwhile."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closed.wait()
                raise RuntimeError
