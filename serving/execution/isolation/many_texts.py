"""Which runs have so many texts that they would hold the interpreter for long.

onnxruntime's Python binding makes strings of objects, and objects of strings, while it holds the
GIL: measured, 0.2 ms each way for a thousand texts, twice that where they are not ASCII.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from serving.backoff import wait_s

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from serving._core import Batch
    from serving.cancellation import Cancellation
    from serving.execution.session import Input, Output

# So many bytes of text cost what a short text does.
BYTES_OF_A_TEXT = 256
# From which on it is worth a child's while to get them packed.
FEW = 1024


class Packing(Protocol):
    """What runs a batch with its texts as they travel, packed; of the answers, too."""

    def run_packed(
        self,
        names: Sequence[str],
        feeds: Mapping[str, Input],
        requests: int = 0,
        alone: bool = False,
    ) -> Sequence[Output]: ...

    def wait_ready(
        self, timeout: float | None = None, ending: Cancellation | None = None
    ) -> bool: ...


class PackingOf(Protocol):
    """Who runs a batch packed; None where it runs with objects. ``again``: it, or what it is a
    part of, was lost with a child, so few texts or many, it is for a child."""

    def __call__(self, batch: Batch, /, again: bool = False) -> Packing | None: ...


class ManyTexts:
    """``many`` are ``limit`` texts in a run, of its inputs, bytes counted in, or of its outputs."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        # Bytes of inputs of the smallest run that gave many.
        self._gave_from = math.inf

    def many(self, texts: int, text_bytes: int, all_bytes: int) -> bool:
        """Of what ``Batch.weight`` says; where the outputs' texts cannot be told from the
        signature, by what earlier runs gave."""
        return texts + text_bytes // BYTES_OF_A_TEXT >= self.limit or all_bytes >= self._gave_from

    def gave(self, texts: int, all_bytes: int) -> None:
        """A run on so many bytes of inputs, texts as they travel, gave so many texts."""
        if texts >= self.limit:
            self._gave_from = min(self._gave_from, all_bytes)


@dataclass(slots=True)
class Demand:
    """When a child that is started on demand is started, and when it ends. Times in seconds,
    ``now`` by any clock. ``idle_s``: after which one that nobody used ends. ``first_s`` and
    ``longest_s``: until a start that failed is tried again, twice as long each time."""

    idle_s: float
    first_s: float
    longest_s: float
    used_at: float = -math.inf
    failures: int = 0
    not_before: float = -math.inf

    def may_start(self, now: float) -> bool:
        return now >= self.not_before

    def use(self, now: float) -> None:
        self.used_at = now

    def started(self) -> None:
        self.failures = 0

    def failed(self, now: float) -> None:
        self.failures += 1
        self.not_before = now + wait_s(self.failures, self.first_s, self.longest_s)

    def idle_in(self, now: float) -> float:
        """Seconds until it ends, if nobody uses it."""
        return self.used_at + self.idle_s - now
