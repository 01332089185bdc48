"""What changes, told to whoever listens, by server-sent events.

A listener holds names of what changed and no copies: one that reads slowly is told less often, and
never costs more.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

from serving.errors import ErrorCode, ServingError

# Names that an event has at most; beyond, ``more`` says to look at everything.
MOST_NAMES = 200
HEARTBEAT_S = 15.0
# Between two looks at rollouts, and between two events of the same kind.
_EVERY_S = 1.0


class Listener:
    """One client. Told from any thread, asked by its own loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._pending: dict[str, set[str]] = {}
        self._over: set[str] = set()
        self.woken = asyncio.Event()

    def note(self, kind: str, names: Collection[str]) -> None:
        with self._lock:
            pending = self._pending.setdefault(kind, set())
            for name in names:
                if len(pending) >= MOST_NAMES:
                    self._over.add(kind)
                    break
                pending.add(name)
        self.wake()

    def wake(self) -> None:
        with suppress(RuntimeError):  # its loop has closed
            self._loop.call_soon_threadsafe(self.woken.set)

    def take(self) -> dict[str, dict[str, Any]]:
        """Kind of event -> what to tell, since the last time."""
        with self._lock:
            pending, self._pending = self._pending, {}
            over, self._over = self._over, set()
        return {
            kind: {"models": sorted(names), "more": kind in over} for kind, names in pending.items()
        }


class Stream:
    """All listeners, ``most`` at a time. ``rollouts``: what to tell of them, compared with what
    was told before; asked in a worker thread, while somebody listens."""

    def __init__(
        self, most: int, rollouts: Callable[[], Mapping[str, Any]], every_s: float = _EVERY_S
    ) -> None:
        self._most, self._rollouts, self._every_s = most, rollouts, every_s
        self._listeners: set[Listener] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def note(self, kind: str, names: Collection[str]) -> None:
        """From any thread; waits for nothing."""
        for one in self._all():
            one.note(kind, names)

    def stop(self) -> None:
        """End every listener's stream, and take no other."""
        with self._lock:
            self._stopped = True
        for one in self._all():
            one.wake()

    def _all(self) -> tuple[Listener, ...]:
        with self._lock:
            return tuple(self._listeners)

    def follow(self) -> Listener:
        """A place for one more, until ``leave``. Raises ServingError where there are as many as
        may be."""
        listener = Listener(asyncio.get_running_loop())
        with self._lock:
            if len(self._listeners) >= self._most or self._stopped:
                raise ServingError(
                    ErrorCode.FULL,
                    f"{self._most} clients follow the events already: ask the figures themselves",
                )
            self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        with self._lock:
            self._listeners.discard(listener)

    async def events(self, listener: Listener, seconds: float | None) -> AsyncIterator[str]:
        """As they are sent, from ``hello`` on, until the gateway stops, the client goes, or
        ``seconds`` are over."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds if seconds is not None else float("inf")
        told: Mapping[str, Any] = {}
        heard = loop.time()
        yield event("hello", {"heartbeat_s": HEARTBEAT_S})
        while not self._stopped and loop.time() < until:
            found = list(listener.take().items())
            rollouts = await asyncio.to_thread(self._rollouts)
            if rollouts != told:
                found.append(("rollouts", dict(rollouts)))
                told = rollouts
            for kind, what in found:
                yield event(kind, what)
            if found:
                heard = loop.time()
            elif loop.time() - heard >= HEARTBEAT_S:
                heard = loop.time()
                yield ": still here\n\n"
            await self._pause(listener, until - loop.time())

    async def _pause(self, listener: Listener, most: float) -> None:
        """A second, whatever happens meanwhile, but for the end: so many events at most."""
        end = asyncio.get_running_loop().time() + min(self._every_s, max(0.0, most))
        while not self._stopped:
            left = end - asyncio.get_running_loop().time()
            if left <= 0:
                return
            listener.woken.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(listener.woken.wait(), left)


def event(kind: str, what: Mapping[str, Any]) -> str:
    return f"event: {kind}\ndata: {json.dumps(what, allow_nan=False)}\n\n"
