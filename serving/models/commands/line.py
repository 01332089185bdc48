"""Commands that wait for a look at what they are about."""

from __future__ import annotations

from collections.abc import Sequence

from serving.models.commands.command import FollowList, LoadModel
from serving.models.commands.tickets import Order, Tickets
from serving.registry.source import Request
from serving.registry.sources import Asked, Sources


class Line:
    """Takes orders out of ``tickets`` and has ``sources`` look at their models; what was found
    is known when ``take`` gives them out. Used by the manager's loop only.

    One look at a time: what comes meanwhile waits in ``tickets``, where the newer of two
    commands takes the place of the older.
    """

    def __init__(self, tickets: Tickets, sources: Sources) -> None:
        self._tickets, self._sources = tickets, sources
        self._orders: Sequence[Order] = ()
        self._asked: Asked | None = None

    def take(self) -> Sequence[Order]:
        """The orders whose look has been answered, in the order they came."""
        ready: list[Order] = []
        while True:
            if self._asked is not None:
                if not self._sources.has_answered(self._asked):
                    return ready
                ready += self._orders
                self._orders, self._asked = (), None
                self._tickets.begin()
            # Nobody wakes the loop for an answer that sources which are stuck will not give.
            if not (new := self._tickets.take()):
                return ready
            self._orders, self._asked = new, self._sources.ask(_request(new))


def _request(orders: Sequence[Order]) -> Request:
    """Whoever says that something be loaded says that its files are there."""
    loads = [o.command for o in orders if isinstance(o.command, LoadModel) and o.upload is None]
    at_once = {c.model if c.version is None else (c.model, c.version) for c in loads}
    at_once |= {o.command.model for o in orders if isinstance(o.command, FollowList)}
    return Request({order.command.model for order in orders}, at_once)
