"""The models of one model config list that a call brought on their way, and who waits for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from serving.errors import ErrorCode
from serving.models.commands.command import Command, FollowList, Outcome, Ticket
from serving.protocols.left_calls import left_calls

# Calls that wait for their models.
MAX_PENDING = 16
# Models of one call that are commanded at once. All calls together take half of what the manager
# takes, so that no list that was taken finds the line full.
AT_ONCE = 32
# More are given as soon as so many have ended: each time the sources are looked at.
_BATCH = 8
BY = "HandleReloadConfigRequest"
# As many failures as an error tells, each once.
_MOST_NAMED = 8
_OVERTAKEN = Outcome(
    ErrorCode.UNAVAILABLE,
    f"{MAX_PENDING} newer lists have come since, and the newest is the one that is followed",
)
_LEFT = Outcome(ErrorCode.CANCELLED, "its client waits no more")


class Commander(Protocol):
    """Who carries out commands; the manager is one."""

    def command(self, command: Command, by: str = "") -> Ticket: ...


class Following:
    """Has each model follow the list, a few at a time. Safe from any thread."""

    def __init__(self, commander: Commander, models: Sequence[str]) -> None:
        self._commander = commander
        self._lock = threading.Lock()
        self._left = list(reversed(models))
        # Models that were taken out of the line, and those of their tickets that are known yet.
        self._open = 0
        self._tickets: set[Ticket] = set()
        self._gives = False
        self._failed: list[Outcome] = []
        self._failures = 0
        self._ended: Outcome | None = None
        self._answer: Callable[[Outcome | None], None] | None = None

    def begin(self, answer: Callable[[Outcome | None], None]) -> None:
        """``answer`` is called once: when all have ended, or by ``end``."""
        with self._lock:
            self._answer = answer
        self._give()

    def end(self, outcome: Outcome) -> None:
        """Wait no more, for this reason. What was commanded is carried out all the same; its places
        in the manager's line are free."""
        with self._lock:
            self._ended, self._left = self._ended or outcome, []
            tickets = list(self._tickets)
        for ticket in tickets:
            ticket.end(outcome)
        self._answer_last()

    def _give(self) -> None:
        """In one thread at a time, and in a loop: a command may end while it is given."""
        with self._lock:
            if self._gives or self._open > AT_ONCE - _BATCH:
                return
            self._gives = True
        while (model := self._take()) is not None:
            ticket = self._commander.command(FollowList(model), BY)
            with self._lock:
                self._tickets.add(ticket)
                ended = self._ended
            if ended is not None:
                ticket.end(ended)
            ticket.on_done(partial(self._done, ticket))
        self._answer_last()

    def _take(self) -> str | None:
        with self._lock:
            if not self._left or self._open >= AT_ONCE:
                self._gives = False
                return None
            self._open += 1
            return self._left.pop()

    def _done(self, ticket: Ticket, outcome: Outcome) -> None:
        with self._lock:
            self._tickets.discard(ticket)
            self._open -= 1
            if not outcome.ok:
                self._failures += 1
                told = [one.message for one in self._failed]
                if len(told) < _MOST_NAMED and outcome.message not in told:
                    self._failed.append(outcome)
        self._give()

    def _answer_last(self) -> None:
        with self._lock:
            if self._left or self._open or self._answer is None:
                return
            answer, self._answer = self._answer, None
        answer(self._ended or self._together())

    def _together(self) -> Outcome | None:
        """The models' failures are none of the list's: that was taken."""
        if not self._failed:
            return None
        told = "; ".join(outcome.message for outcome in self._failed)
        more = self._failures - len(self._failed)
        rest = f"; and {more} more" if more else ""
        return Outcome(self._failed[0].code, f"the list is followed; {told}{rest}")


class Waiting:
    """The calls that wait. One whose client has left ends. Of more than ``MAX_PENDING`` the oldest
    waits no more: its list is followed no longer. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # How each ceases to be watched.
        self._calls: dict[Following, Callable[[], None]] = {}

    def enter(self, following: Following, is_awaited: Callable[[], bool]) -> None:
        forget = left_calls.watch(is_awaited, partial(following.end, _LEFT))
        with self._lock:
            self._calls[following] = forget
            oldest = next(iter(self._calls)) if len(self._calls) > MAX_PENDING else None
        if oldest is not None:
            self.leave(oldest)
            oldest.end(_OVERTAKEN)

    def leave(self, following: Following) -> None:
        with self._lock:
            forget = self._calls.pop(following, None)
        if forget is not None:
            forget()
