"""The pool: every call is answered, and no call ends a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

import pytest

from serving.errors import ServingError
from serving.models.commands.command import Outcome
from serving.protocols import http_calls
from serving.protocols.call_context import CallContext
from serving.protocols.calls import CallPool, answer_call
from serving.protocols.later import Later
from serving.settings import Settings
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
