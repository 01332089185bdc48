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
    commands takes the place of the older. What is about a model of which a source still finds
    out more waits by itself: nothing about other models waits for it.
    """

    def __init__(self, tickets: Tickets, sources: Sources) -> None:
        self._tickets, self._sources = tickets, sources
        self._orders: Sequence[Order] = ()
        # Their look has been answered, but for a source that asks far away.
        self._late: Sequence[Order] = ()
        self._asked: Asked | None = None

    def take(self) -> Sequence[Order]:
        """The orders whose look has been answered, in the order they came."""
        ready = self._ready()
        while True:
            if self._asked is not None:
                if not self._sources.has_answered(self._asked):
                    return ready
                self._late = [*self._late, *self._orders]
                self._orders, self._asked = (), None
                ready += self._ready()
            # Nobody wakes the loop for an answer that sources which are stuck will not give.
            if not (new := self._tickets.take(but={one.command.model for one in self._late})):
                return ready
            self._orders, self._asked = new, self._sources.ask(_request(new))

    def _ready(self) -> list[Order]:
        """What no source finds out more about."""
        pending = self._sources.pending() if self._late else ()
        ready = [one for one in self._late if one.command.model not in pending]
        self._late = [one for one in self._late if one.command.model in pending]
        self._tickets.begin({one.command.model for one in ready})
        return ready


def _request(orders: Sequence[Order]) -> Request:
    """Whoever says that something be loaded says that its files are there."""
    loads = [o.command for o in orders if isinstance(o.command, LoadModel) and o.upload is None]
    at_once = {c.model if c.version is None else (c.model, c.version) for c in loads}
    at_once |= {o.command.model for o in orders if isinstance(o.command, FollowList)}
    return Request({order.command.model for order in orders}, at_once)
