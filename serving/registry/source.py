"""What a source of models is, and what is said between its thread and who uses it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from serving.registry.snapshot import Closely, Snapshot


class Source(Protocol):
    """Says which versions exist. It may wait for a disk or a network as long as it must: it is
    asked in a thread of its own (``source_thread``), and nothing else waits for it."""

    @property
    def place(self) -> Path:
        """Where it looks now, or looked last: what is named when it does not answer."""
        ...

    def scan(
        self,
        closely: Closely = ...,
        at_once: Closely = ...,
        *,
        touched: Collection[str] = ...,
        whole: bool = ...,
    ) -> Snapshot:
        """Everything that is there: the same object as last time when nothing changed.

        ``closely``: models, by name, and versions, by name and number, to be looked at file by
        file. ``at_once``: those of which somebody says that they are there and whole.
        ``touched``: folders, as paths, in which the system reported a change. Not ``whole``: of
        the rest nothing was reported, and what had settled need not be looked at.
        A source that asks far away says of these models ``Snapshot.pending`` until it knows, and
        is looked at again then: nobody else's look waits for that.
        """
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """A look that somebody asks for now. ``configurations``: read them again whatever their
    files look like; the rest as ``Source.scan`` has it."""

    closely: Collection[str | tuple[str, int]] = field(default_factory=frozenset)
    at_once: Collection[str | tuple[str, int]] = field(default_factory=frozenset)
    configurations: bool = False

    def joined(self, other: Request) -> Request:
        return Request(
            {*self.closely, *other.closely},
            {*self.at_once, *other.at_once},
            self.configurations or other.configurations,
        )


@dataclass(frozen=True, slots=True)
class Posted:
    """What a look found; ``answers``: the number of the last request that it took up."""

    snapshot: Snapshot
    answers: int
