"""Commands between who gives them and who carries them out."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from serving.errors import ErrorCode
from serving.models.commands.command import SUPERSEDED, LoadModel, Outcome, UnloadModel
from serving.models.commands.line import Line
from serving.models.commands.tickets import MOST, Tickets
from serving.registry.source import Request
from serving.registry.sources import Asked


def tickets() -> Tickets:
    return Tickets(lambda: None)


def test_fault_18_a_command_is_under_way_only_once_its_order_was_begun() -> None:
    """Else a load that came just now would be judged by what the unload before it left."""
    line = tickets()
    line.give(UnloadModel("m"))
    line.take()
    line.begin()
    load = line.give(LoadModel("m"))
    assert line.under_way() == []
    (order,) = line.take()
    assert order.ticket is load
    assert line.under_way() == []
    assert line.waiting() == [order]
    line.begin()
    assert line.under_way() == [load]
    assert line.waiting() == []
    same = line.give(LoadModel("m"))
    assert same not in line.under_way()
    line.take()
    line.begin()
    assert line.under_way() == [load, same]


def test_orders_that_wait_for_a_look_are_bounded_whatever_became_of_their_tickets() -> None:
    line = tickets()
    for number in range(MOST):
        line.give(LoadModel(f"m{number}"))
    line.take()
    # It ends the load's ticket, and not the load.
    refused = line.give(UnloadModel("m0", 2)).wait(0)
    assert refused is not None
    assert refused.code is ErrorCode.FULL
    line.begin()
    assert line.give(UnloadModel("m0", 2)).wait(0) is None


def test_a_newer_command_ends_the_older_one_and_closing_ends_all() -> None:
    line = tickets()
    load = line.give(LoadModel("m"))
    unload = line.give(UnloadModel("m"))
    ended = load.wait(0)
    assert ended is not None
    assert ended.message == SUPERSEDED
    assert [order.ticket for order in line.take()] == [unload]
    waiting = line.give(LoadModel("other"))
    line.close()
    for ticket in (unload, waiting, line.give(LoadModel("m"))):
        assert isinstance(ticket.wait(0), Outcome), "nobody is left waiting"


class Stuck:
    """Sources that are all stuck: nobody waits for them, and they announce nothing."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def ask(self, request: Request) -> Asked:
        self.requests.append(request)
        return Asked((len(self.requests),))

    def has_answered(self, asked: Asked) -> bool:
        return True

    def pending(self) -> Collection[str]:
        return ()


class Far(Stuck):
    """One of them finds out far away what is there of some models."""

    def __init__(self) -> None:
        super().__init__()
        self.asking: set[str] = set()

    def pending(self) -> Collection[str]:
        return self.asking


def test_a_look_far_away_at_one_model_holds_no_command_about_another() -> None:
    waiting, sources = tickets(), Far()
    stands_in: Any = sources
    line = Line(waiting, stands_in)
    sources.asking = {"far"}
    slow, near = waiting.give(LoadModel("far")), waiting.give(LoadModel("near"))
    assert [order.ticket for order in line.take()] == [near]
    assert waiting.under_way() == [near]
    # Of its own model nothing overtakes it.
    first = waiting.give(UnloadModel("far", 1))
    other = waiting.give(UnloadModel("other"))
    last = waiting.give(UnloadModel("far", 1))
    assert [order.ticket for order in line.take()] == [other]
    assert len(waiting.waiting()) == 2
    sources.asking = set()
    assert [order.ticket for order in line.take()] == [slow, last]
    assert first in waiting.under_way(), "it asks for the same as the last"
    assert waiting.waiting() == []


def test_fault_86_a_command_is_handed_out_at_once_where_nobody_will_answer() -> None:
    waiting, sources = tickets(), Stuck()
    # It asks no more of sources than this.
    stands_in: Any = sources
    line = Line(waiting, stands_in)
    assert line.take() == []
    unload = waiting.give(UnloadModel("m"))
    assert [order.ticket for order in line.take()] == [unload]
    assert [set(request.closely) for request in sources.requests] == [{"m"}]
    assert waiting.under_way() == [unload]
    assert line.take() == []
