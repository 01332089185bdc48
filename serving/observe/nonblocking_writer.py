"""Lines on their way to a stream that may block, or whose reader may have left."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TextIO

# Held while a stream does not take them; some ten thousand lines.
HELD_CHARACTERS = 4 * 1024 * 1024
# Written in one call.
_BLOCK = 256

_writers: list[LineWriter] = []


class LineWriter:
    """Takes lines at once and writes them in a thread of its own. Safe from any thread.

    What waits is bounded: while the stream blocks, further lines are dropped and counted.
    A stream that fails loses what was written to it and nothing else. ``secrets`` are
    replaced wherever they stand. ``on_dropped`` hears, when the stream takes lines again,
    how many were lost.
    """

    def __init__(
        self,
        stream: TextIO,
        secrets: Iterable[str] = (),
        held_characters: int | None = None,
        on_dropped: Callable[[int], None] | None = None,
    ) -> None:
        self._stream = stream
        self._secrets = tuple(secret for secret in secrets if secret)
        self._limit = HELD_CHARACTERS if held_characters is None else held_characters
        self._on_dropped = on_dropped
        self._waiting: deque[str] = deque()
        self._held = 0
        self._dropped = 0
        self._reported = 0
        self._state = threading.Condition()
        self._thread: threading.Thread | None = None
        _writers.append(self)

    @property
    def dropped(self) -> int:
        """Lines that were lost because the stream blocked."""
        return self._dropped

    def write(self, text: str) -> int:
        with self._state:
            if self._held + len(text) > self._limit:
                self._dropped += 1
                return 0
            self._held += len(text)
            self._waiting.append(text)
            self._state.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="lines", daemon=True)
                self._thread.start()
        return len(text)

    def flush(self) -> None:
        """Nothing to wait for: a file is expected to have this."""

    def isatty(self) -> bool:
        try:
            return self._stream.isatty()
        except ValueError:
            return False

    def drain(self, timeout: float) -> bool:
        """Wait until all is written; False where the stream did not take it in time."""
        with self._state:
            return self._state.wait_for(lambda: not self._held, timeout)

    def _run(self) -> None:
        while True:
            with self._state:
                self._state.wait_for(lambda: bool(self._waiting))
                count = min(len(self._waiting), _BLOCK)
                text = "".join(self._waiting.popleft() for _ in range(count))
            self._put(self._cleaned(text))
            with self._state:
                self._held -= len(text)
                self._state.notify_all()
            self._report()

    def _cleaned(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def _put(self, text: str) -> None:
        try:
            self._write_whole(text)
            self._stream.flush()
        except (OSError, ValueError):
            return  # the reader left: there is nobody to tell

    def _write_whole(self, text: str) -> None:
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            self._stream.write(re.sub(r"[^\x00-\x7f]", _escaped, text))

    def _report(self) -> None:
        dropped = self._dropped
        if dropped > self._reported and self._on_dropped is not None:
            lost, self._reported = dropped - self._reported, dropped
            self._on_dropped(lost)


def _escaped(found: re.Match[str]) -> str:
    """As JSON writes it."""
    return json.dumps(found.group())[1:-1]


def drain(timeout: float) -> bool:
    """Wait, before the process ends, until every writer's lines are out; False where a
    stream did not take them in time. A flush of such a stream would wait for ever."""
    deadline = time.monotonic() + timeout
    return all(one.drain(max(0.0, deadline - time.monotonic())) for one in _writers)


def dropped() -> int:
    """Lines that all writers lost so far."""
    return sum(one.dropped for one in _writers)
