"""What a handler gives back whose answer comes when something that it began has ended."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from serving.errors import ServingError
from serving.models.commands.command import Outcome


class Later(ABC):
    """Its methods are called in the thread that ends what was begun: they wait for nothing."""

    @abstractmethod
    def on_answer(self, answer: Callable[[Outcome | None], None]) -> None:
        """Call ``answer`` once; without an outcome, or with a good one, all is well."""

    @abstractmethod
    def failure(self, outcome: Outcome | None) -> ServingError | None:
        """What the call fails with; None: it is answered with ``body``."""

    @abstractmethod
    def end(self) -> None:
        """Give back what was held for the call; called once, before it is answered."""

    @property
    def body(self) -> bytes:
        return b""
