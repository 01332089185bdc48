"""The admin port's connections: what each is doing, how long it may, and which one is closed when
there are too many. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

# Slower readers than this, in bytes a second, are given up.
SLOWEST_READER = 1024


class Phase(IntEnum):
    """What a connection is doing; where there are too many, the lowest is closed first."""

    HEAD = 0  # a request's head is not whole yet, or nothing has come at all
    REST = 1  # answered, while its request's body still comes
    TAKING = 2  # it does not take its answer as fast as that is sent
    IDLE = 3
    BODY = 4
    BUSY = 5  # a request is being answered


@dataclass(frozen=True, slots=True)
class Bounds:
    """``connections``: at once, twice as many while all are busy. Times in seconds;
    ``body_s`` is also for taking an answer."""

    connections: int
    head_s: float
    body_s: float
    idle_s: float

    def patience(self, phase: Phase) -> float | None:
        """How long a connection may stay in a phase; None: until something else ends it."""
        return {
            Phase.HEAD: self.head_s,
            Phase.REST: self.body_s,
            Phase.TAKING: self.body_s,
            Phase.IDLE: self.idle_s,
            # The reader of the body answers 408 by then.
            Phase.BODY: self.body_s * 2,
        }.get(phase)


@dataclass(frozen=True, slots=True)
class Sight:
    """What is seen of a connection, from which its phase follows. ``asked``: a request's head was
    read whole. ``answered``: the last one has got its answer. ``body_whole``: its body has come.
    ``unread``: bytes of a next head are there. ``unsent``: bytes that wait to be taken."""

    asked: bool
    answered: bool
    body_whole: bool
    unread: bool
    unsent: int
    blocked: bool


def phase(sight: Sight) -> Phase:
    if sight.blocked or (sight.unsent and (sight.answered or not sight.asked)):
        return Phase.TAKING
    if not sight.asked:
        return Phase.HEAD
    if not sight.answered:
        return Phase.BUSY if sight.body_whole else Phase.BODY
    if not sight.body_whole:
        return Phase.REST
    return Phase.HEAD if sight.unread else Phase.IDLE


One = TypeVar("One")


def first_to_go(held: Iterable[tuple[Phase, float, One]]) -> One | None:
    """Who makes room, of (phase, since when, who); None where all are busy."""
    waiting = [one for one in held if one[0] is not Phase.BUSY]
    return min(waiting, key=lambda one: one[:2])[2] if waiting else None
