"""The pool: every call is answered, and no call ends a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

import pytest

from serving.errors import ErrorCode, ServingError
from serving.models.commands.command import Outcome
from serving.protocols import http_calls, mlflow_parquet
from serving.protocols.call_context import CallContext
from serving.protocols.calls import CallPool, answer_call
from serving.protocols.later import Later
from serving.protocols.side_line import MOST_CALLS, SideLine
from serving.settings import Settings
from tests.clients.gateway import wait_until
from tests.unit.protocol_views import Models, RecordedCall, model, version

MODELS = Models(model("m", version(1)))


class Line:
    """A server of which only the line of calls exists."""

    def __init__(self) -> None:
        self.calls: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def next_call(self) -> Any:
        return self.calls.get()


class Waited(RecordedCall):
    """Says when it was answered."""

    awaited = True

    def is_awaited(self) -> bool:
        return self.awaited and super().is_awaited()

    def __init__(self, method: str, path: str) -> None:
        super().__init__("http", method, path)
        self.done = threading.Event()

    def respond(self, body: bytes) -> bool:
        answered = super().respond(body)
        self.done.set()
        return answered

    def fail(self, word: str, message: str, detail: str = "") -> bool:
        failed = super().fail(word, message, detail)
        self.done.set()
        return failed


class Unanswerable(Waited):
    """A call that cannot even be failed."""

    def respond(self, body: bytes) -> bool:
        raise RuntimeError("gone")

    def fail(self, word: str, message: str, detail: str = "") -> bool:
        self.done.set()
        raise RuntimeError("gone")


class Failing(Later):
    """Begins, and breaks; or the other way round."""

    def __init__(self, *, first: bool) -> None:
        self.first, self.ends = first, 0

    def on_answer(self, answer: Callable[[Outcome | None], None]) -> None:
        if self.first:
            answer(None)
        raise RecursionError

    def failure(self, outcome: Outcome | None) -> ServingError | None:
        return None

    def end(self) -> None:
        self.ends += 1


@pytest.mark.parametrize("first", [False, True])
def test_a_call_whose_work_breaks_as_it_begins_is_answered_once_and_holds_no_place(
    monkeypatch: pytest.MonkeyPatch, *, first: bool
) -> None:
    later, call = Failing(first=first), RecordedCall("http", "POST", "/v2/models/m")
    monkeypatch.setattr(http_calls, "answer", lambda context, call: later)
    answer_call(call, CallContext(MODELS, "serving"))
    assert later.ends == 1
    assert (call.failure is None) is first


TABLE = ("POST", "/invocations")


def test_fault_105_tables_hold_up_no_other_call(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, working = threading.Event(), threading.Event()

    def slow(body: bytes, terms: mlflow_parquet.Terms) -> bytes:
        working.set()
        assert go_on.wait(20)
        return b"x"

    monkeypatch.setattr(mlflow_parquet, "to_csv", slow)
    line = Line()
    pool = CallPool(line, CallContext(MODELS, "serving"), 1)
    pool.start()
    tables = [Waited(*TABLE) for _ in range(MOST_CALLS + 2)]
    line.calls.put(tables[0])
    assert working.wait(10)
    for table in tables[1:]:
        line.calls.put(table)
    other = Waited("GET", "/v2/models")
    line.calls.put(other)
    assert other.done.wait(10)
    assert other.answer is not None
    # The line is bounded, and whoever left meanwhile costs nothing.
    assert tables[-1].failure is not None
    assert tables[-1].failure[0] == ErrorCode.FULL
    tables[1].awaited = False
    go_on.set()
    assert all(table.done.wait(10) for table in tables if table is not tables[1])
    assert all(table.answer == b"x" for table in (tables[0], *tables[2:-1]))
    assert not tables[1].done.is_set()
    line.calls.put(None)
    pool.stop()


def test_tables_in_line_are_failed_when_the_server_stops() -> None:
    done = threading.Event()
    side = SideLine("tables", lambda call: done.wait(20))
    side.start()
    waiting = [Waited(*TABLE) for _ in range(MOST_CALLS)]
    for table in waiting:
        side.push(table)
    wait_until(lambda: side.waiting < MOST_CALLS, 10, "the first is taken")
    side.push(Waited(*TABLE))
    stopper = threading.Thread(target=side.stop, args=(10.0,))
    stopper.start()
    assert waiting[-1].done.wait(10)
    assert waiting[-1].failure is not None
    assert waiting[-1].failure[0] == ErrorCode.UNAVAILABLE
    done.set()
    stopper.join(10)
    assert not stopper.is_alive()


def test_calls_are_answered_until_the_server_stops() -> None:
    line, settings = Line(), Settings()
    pool = CallPool(line, CallContext(MODELS, "serving"), settings.threads.calls)
    before = threading.active_count()
    pool.start()
    sent = [Waited("GET", "/v2/models"), Waited("GET", "/nowhere"), Unanswerable("GET", "/nowhere")]
    sent += [Waited("GET", "/v2/models/m") for _ in range(20)]
    for waiting in sent:
        line.calls.put(waiting)

    assert all(waiting.done.wait(10) for waiting in sent)
    assert sent[0].answer == b'{"models":["m"]}'
    assert sent[1].failure is not None
    assert all(waiting.answer is not None for waiting in sent[3:])

    for _ in range(settings.threads.calls):
        line.calls.put(None)
    pool.stop()
    assert threading.active_count() == before
