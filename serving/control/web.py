"""The small web server below the admin port, with every resource bounded that a client can
hold: connections, heads, and the time that anything may take (``places``)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import Any

import h11
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from serving.control.places import SLOWEST_READER, Bounds, Phase, Sight, first_to_go, phase

MAX_HEAD_BYTES = 16384


class BoundedConfig(uvicorn.Config):
    def __init__(self, app: Starlette, bounds: Bounds) -> None:
        super().__init__(
            app,
            http=BoundedProtocol,
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            # Connections are bounded below that, so this is for requests whose clients left.
            limit_concurrency=2 * bounds.connections + 2,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        )
        self.bounds = bounds
        # What clients send wrongly is answered, and no line in the log.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)


class QuietServer(uvicorn.Server):
    """Looks at the clock, for the date in its answers, once a second and not ten times: an idle
    gateway should sleep."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._asked = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def ask_to_exit(self) -> None:
        """From any thread."""
        self.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has closed already
                self._loop.call_soon_threadsafe(self._asked.set)

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), 1.0)


class BoundedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, every connection of it held to ``places`` (faults 37, 107, 108)."""

    config: BoundedConfig
    cycle: Any
    _timer: asyncio.TimerHandle | None = None

    def connection_made(
        self,
        transport: asyncio.Transport,  # type: ignore[override]  # always this kind here
    ) -> None:
        super().connection_made(transport)
        self.phase, self.since = Phase.HEAD, self.loop.time()
        self._unsent = 0
        # uvicorn writes head and body apart: Nagle's algorithm would hold the second one back.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self.connections) > self.config.bounds.connections:
            self._make_room()
        self._watch()

    def data_received(self, data: bytes) -> None:
        try:
            super().data_received(data)
        except h11.LocalProtocolError:
            # Nonsense while an answer is on its way: there is no saying so any more.
            self.transport.abort()
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._unset_keepalive_if_required()  # ours looks at more
        self._look()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._look()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._look()

    def shutdown(self) -> None:
        try:
            super().shutdown()
        except h11.LocalProtocolError:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _make_room(self) -> None:
        """Whoever keeps a place without using it goes. While all are busy a newcomer may stay
        for its turn, as many again as there are places."""
        others = [one for one in self.connections if one is not self]
        held = [(one.phase, one.since, one) for one in others if isinstance(one, BoundedProtocol)]
        leaving = first_to_go(held)
        if leaving is None:
            if len(held) < 2 * self.config.bounds.connections:
                return
            leaving = self
        # Not when the loop hears of it: the next newcomer may come before.
        self.connections.discard(leaving)
        leaving.transport.abort()

    def _look(self) -> None:
        """Begin to wait anew where it waits for something else than before."""
        now = phase(self._sight())
        if now is not self.phase:
            self.phase, self.since = now, self.loop.time()
            self._watch()

    def _sight(self) -> Sight:
        cycle = self.cycle
        return Sight(
            asked=cycle is not None,
            answered=cycle is not None and cycle.response_complete,
            body_whole=cycle is not None and not cycle.more_body,
            unread=bool(self.conn.trailing_data[0]),
            unsent=self.transport.get_write_buffer_size(),
            blocked=self.flow.write_paused,
        )

    def _watch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        patience = self.config.bounds.patience(self.phase)
        self._unsent = self.transport.get_write_buffer_size()
        self._timer = None if patience is None else self.loop.call_later(patience, self._due)

    def _due(self) -> None:
        before, asked = self.phase, self._unsent
        self._look()
        if self.phase is not before:
            return
        taken = asked - self.transport.get_write_buffer_size()
        if self.phase is Phase.TAKING and taken >= SLOWEST_READER * self.config.bounds.body_s:
            self._watch()
        else:
            self.transport.abort()
