"""Commands between those who give them and the loop that carries them out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from serving.errors import ErrorCode
from serving.models.commands.command import (
    SUPERSEDED,
    Command,
    FollowList,
    LoadModel,
    Outcome,
    Rollback,
    SetDefault,
    Ticket,
    UnloadModel,
    subject,
)
from serving.models.commands.uploads import Upload

# Under way at once, over all models.
MOST = 1024
_TOO_MANY = Outcome(ErrorCode.FULL, f"more than {MOST} commands are under way")
_STOPPING = Outcome(ErrorCode.UNAVAILABLE, "the server is stopping")


@dataclass(frozen=True, slots=True)
class Order:
    """A command that the loop has not seen yet, with the files that came with it."""

    ticket: Ticket
    upload: Upload | None = None

    @property
    def command(self) -> Command:
        return self.ticket.command


class Tickets:
    """Commands that wait for the loop or are under way. Safe from any thread. ``wake`` is called
    when there is something to take.

    Who waits for an older command of the same ``subject`` is told that a newer one took its place;
    where both ask for the same, they are answered together. The older command is carried out all
    the same, unless the newer one would undo all of it: so thousands of loads and unloads of one
    model leave one in the line.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._waiting: list[Order] = []
        # Given out, and not begun.
        self._taken: list[Order] = []
        self._open: dict[str, list[Ticket]] = {}
        # Tickets, by identity, whose orders the loop has not taken, and not begun yet; with their
        # models.
        self._fresh: dict[int, str] = {}
        self._unbegun: dict[int, str] = {}
        self._count = 0
        self._closed = False

    def give(
        self, command: Command, upload: Upload | None = None, by: str = "", reason: str = ""
    ) -> Ticket:
        # What was sent is on disk by now; the ticket needs not carry it too.
        if isinstance(command, LoadModel) and command.files:
            command = replace(command, files={})
        ticket = Ticket(command, by, reason)
        with self._lock:
            mine = self._open.get(command.model, [])
            older = [
                t
                for t in mine
                if subject(t.command) == subject(command)
                and (upload is not None or t.command != command)
            ]
            refusal = self._refusal(len(older))
            if refusal is None:
                self._waiting = [o for o in self._waiting if not covers(command, o.command)]
                self._waiting.append(Order(ticket, upload))
                self._open.setdefault(command.model, []).append(ticket)
                self._fresh[id(ticket)] = command.model
                self._count += 1
        if refusal is not None:
            ticket.end(refusal)
            return ticket
        ticket.on_done(lambda _: self._remove(ticket))
        for one in older:
            one.end(Outcome(ErrorCode.UNAVAILABLE, SUPERSEDED))
        self._wake()
        return ticket

    def _refusal(self, ending: int) -> Outcome | None:
        if self._closed:
            return _STOPPING
        full = max(self._count - ending, len(self._waiting) + len(self._taken)) >= MOST
        return _TOO_MANY if full else None

    def take(self, but: Collection[str] = ()) -> list[Order]:
        """What came since the last call, in the order it came; ``but`` for these models, whose
        orders wait on. Of what is taken ``begin`` is to be told."""
        with self._lock:
            orders = [order for order in self._waiting if order.command.model not in but]
            self._waiting = [order for order in self._waiting if order.command.model in but]
            self._unbegun |= {one: model for one, model in self._fresh.items() if model not in but}
            self._fresh = {one: model for one, model in self._fresh.items() if model in but}
            self._taken += orders
        return orders

    def begin(self, models: Collection[str] | None = None) -> None:
        """What was taken is carried out now: of these models, or (None) of all."""
        with self._lock:
            taken, unbegun = self._taken, self._unbegun
            self._taken = [o for o in taken if models is not None and o.command.model not in models]
            self._unbegun = {
                one: model
                for one, model in unbegun.items()
                if models is not None and model not in models
            }

    def under_way(self) -> list[Ticket]:
        """Tickets whose commands the loop has begun. Of the others it can't tell yet how far they
        have come."""
        with self._lock:
            told = self._fresh.keys() | self._unbegun.keys()
            return [one for one in self._all() if id(one) not in told]

    def _all(self) -> list[Ticket]:
        return [ticket for tickets in self._open.values() for ticket in tickets]

    def waiting(self) -> list[Order]:
        """What was not begun yet."""
        with self._lock:
            return [*self._taken, *self._waiting]

    def close(self) -> None:
        """As ``refuse``; what was not begun is not carried out."""
        with self._lock:
            self._waiting, self._taken = [], []
        self.refuse()

    def refuse(self) -> None:
        """End every ticket, and refuse the commands that still come; what was given is carried
        out all the same."""
        with self._lock:
            self._closed = True
            left = self._all()
        for ticket in left:
            ticket.end(_STOPPING)

    def _remove(self, ticket: Ticket) -> None:
        with self._lock:
            mine = self._open.get(ticket.command.model, [])
            # By identity: equal commands have equal fields, not the same ticket.
            kept = [one for one in mine if one is not ticket]
            self._count -= len(mine) - len(kept)
            if kept:
                self._open[ticket.command.model] = kept
            else:
                self._open.pop(ticket.command.model, None)


def covers(newer: Command, older: Command) -> bool:
    """Whether nothing of ``older`` is left once ``newer`` is carried out."""
    if newer.model != older.model:
        return False
    loading = LoadModel | UnloadModel
    if isinstance(newer, FollowList):
        return isinstance(older, loading | FollowList)
    if isinstance(newer, loading) and isinstance(older, loading):
        plain = not isinstance(older, LoadModel) or older.override is None
        return newer.version is None or (newer.version == older.version and plain)
    # An alias's newer command may be refused, and undo nothing.
    return isinstance(newer, SetDefault) and isinstance(older, SetDefault | Rollback)
