"""Commands between who gives them and who carries them out."""

from __future__ import annotations

from serving.models.commands.command import SUPERSEDED, LoadModel, Outcome, UnloadModel
from serving.models.commands.tickets import Tickets


def tickets() -> Tickets:
    return Tickets(lambda: None)


def test_fault_18_a_command_is_under_way_only_once_its_order_was_taken() -> None:
    """Else a load that came just now would be judged by what the unload before it left."""
    line = tickets()
    line.give(UnloadModel("m"))
    line.take()
    load = line.give(LoadModel("m"))
    assert line.under_way() == []
    (order,) = line.take()
    assert order.ticket is load
    assert line.under_way() == [load]
    same = line.give(LoadModel("m"))
    assert same not in line.under_way()
    line.take()
    assert line.under_way() == [load, same]


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
