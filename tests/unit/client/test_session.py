"""What the client does step by step, with a clock and servers made up by the test."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from serving_client.errors import (
    DeadlineError,
    InputError,
    InternalError,
    InvalidRequestError,
    NotFoundError,
    ServingError,
    UnavailableError,
    UnreachableError,
    WrongServerError,
    no_answer,
)
from serving_client.exchange import Exchange, InferOptions
from serving_client.http_codec import HttpCodec
from serving_client.retrying import NO_RETRY, Retry
from serving_client.session import MAX_KNOWN_MODELS, Attempt, Join, Session, Steps

OPTIONS = InferOptions("", (), {}, "", {}, timeout=10.0)
BUSY = UnavailableError("busy", retry_after=2.0, repeatable=True)
GONE = UnreachableError("gone", repeatable=True)


def metadata(datatype: str) -> bytes:
    tensor = f'{{"name": "x", "datatype": "{datatype}", "shape": [-1]}}'
    return f'{{"name": "m", "inputs": [{tensor}]}}'.encode()


ANSWER = b'{"model_name": "m", "outputs": []}'


@dataclass
class World:
    """Each attempt takes half a second and gets the next answer; ``log``: what was done."""

    answers: list[bytes | ServingError]
    count: int = 1
    retry: Retry = field(default_factory=Retry)
    now: float = 100.0
    log: list[Any] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        clock: Callable[[], float] = lambda: self.now  # noqa: E731 - it reads what changes
        self.session = Session(HttpCodec(), self.count, self.retry, clock, luck=lambda: 0.0)

    def run(self, steps: Steps[Any]) -> Any:
        try:
            step = next(steps)
            while True:
                assert not isinstance(step, Join)
                if not isinstance(step, Attempt):
                    self.now += step.seconds
                    self.log.append(round(step.seconds, 3))
                    step = steps.send(None)
                    continue
                self.now += 0.5
                self.log.append((step.place, step.exchange.target.rpartition("/")[2]))
                self.bodies.append(step.exchange.body)
                answer = self.answers.pop(0)
                if isinstance(answer, ServingError):
                    step = steps.throw(answer)
                else:
                    step = steps.send((answer, {}))
        except StopIteration as end:
            return end.value

    def ask(self, timeout: float = 10.0) -> Any:
        exchange = Exchange("/t", b"", lambda body, _: body)
        return self.run(self.session.call(exchange, timeout))

    def infer(self, value: Any = (1,)) -> Any:
        return self.run(self.session.infer("m", {"x": value}, OPTIONS))


def test_a_hint_is_waited_for_and_the_call_repeated() -> None:
    world = World([BUSY, BUSY, b"ok"])
    assert world.ask() == b"ok"
    assert world.log == [(0, "t"), 2.0, (0, "t"), 2.0, (0, "t")]


def test_without_a_hint_rests_double() -> None:
    world = World([GONE, GONE, GONE, b"ok"])
    assert world.ask() == b"ok"
    assert world.log == [(0, "t"), 0.05, (0, "t"), 0.1, (0, "t"), 0.2, (0, "t")]


def test_attempts_come_to_an_end_with_the_last_error() -> None:
    world = World([GONE] * 9)
    with pytest.raises(UnreachableError, match="gone"):
        world.ask()
    assert len(world.answers) == 5


@pytest.mark.parametrize(
    "error", [InternalError("x"), InvalidRequestError("x"), DeadlineError("x")]
)
def test_what_would_be_the_same_again_is_not_repeated(error: ServingError) -> None:
    world = World([error, b"ok"])
    with pytest.raises(type(error)):
        world.ask()
    assert world.answers == [b"ok"]


def test_nothing_is_repeated_where_that_is_switched_off() -> None:
    world = World([GONE, b"ok"], retry=NO_RETRY)
    with pytest.raises(UnreachableError):
        world.ask()


def test_a_pause_that_would_last_beyond_the_deadline_is_not_made() -> None:
    """The server's word is told at once, instead of a time-out later."""
    world = World([UnavailableError("busy", retry_after=30.0, repeatable=True)])
    with pytest.raises(UnavailableError):
        world.ask(timeout=10.0)
    assert world.now == 100.5


def test_another_address_is_asked_at_once_and_the_failing_one_rests() -> None:
    world = World([GONE, b"ok", b"ok", b"ok", b"ok"], count=2)
    for _ in range(3):
        assert world.ask() == b"ok"
    assert world.log == [(0, "t"), (1, "t"), (0, "t"), (1, "t")]
    busy = World([BUSY, b"ok", b"ok", b"ok"], count=2)
    busy.ask()
    busy.ask()
    assert busy.log == [(0, "t"), (1, "t"), (1, "t")]


def test_one_that_gave_no_answer_in_time_rests_though_nothing_is_repeated() -> None:
    world = World([no_answer("h:1", 10.0), b"ok", b"ok"], count=2, retry=Retry(first_s=4.0))
    with pytest.raises(DeadlineError):
        world.ask()
    world.ask()
    world.ask()
    assert world.log == [(0, "t"), (1, "t"), (1, "t")]


def test_a_refusal_is_an_answer_and_ends_the_row_of_failures() -> None:
    world = World([GONE] * 3 + [InvalidRequestError("x"), GONE, b"ok"], retry=Retry(attempts=9))
    with pytest.raises(InvalidRequestError):
        world.ask()
    assert world.ask() == b"ok"
    assert [step for step in world.log if isinstance(step, float)] == [0.05, 0.1, 0.2, 0.05]


def test_each_attempt_tells_the_server_the_time_that_is_left() -> None:
    """Which cuts what nobody waits for any more."""
    world = World([metadata("FP32"), BUSY, ANSWER])
    world.infer()
    told = [json.loads(body.partition(b"\x00")[0])["parameters"] for body in world.bodies[1:]]
    assert [parameters["timeout"] for parameters in told] == [9_500_000, 7_000_000]


def test_each_address_is_tried_before_the_call_fails() -> None:
    world = World([GONE] * 5 + [b"ok"], count=6)
    assert world.ask() == b"ok"
    assert world.log == [(place, "t") for place in range(6)]


def test_a_calls_headers_go_also_with_what_it_asks_first() -> None:
    """They may be what lets it in."""
    headers = {"authorization": "Bearer one"}
    steps = World([]).session.infer("m", {"x": [1]}, OPTIONS._replace(headers=headers))
    step = next(steps)
    assert isinstance(step, Attempt)
    assert (step.exchange.target, step.exchange.headers) == ("/v2/models/m", headers)


def test_a_models_inputs_are_asked_for_once() -> None:
    world = World([metadata("FP32"), ANSWER, ANSWER])
    world.infer()
    world.infer()
    assert world.log == [(0, "m"), (0, "infer"), (0, "infer")]
    assert world.bodies[1].endswith(b"\x00\x00\x80\x3f")


@pytest.mark.parametrize("refused", [InvalidRequestError("expects INT32"), None])
def test_a_model_that_changed_is_asked_about_again(refused: ServingError | None) -> None:
    """Whether the server refuses what was sent, or the values don't fit what was remembered."""
    world = World([metadata("FP32"), ANSWER])
    world.infer()
    world.now += 5
    world.answers = [metadata("BYTES"), ANSWER]
    if refused is not None:
        world.answers = [refused, metadata("INT32"), ANSWER]
    world.infer([1] if refused else ["a"])
    assert world.answers == []


def test_a_request_that_is_wrong_is_refused_with_the_first_word() -> None:
    world = World([metadata("FP32"), InvalidRequestError("first")])
    with pytest.raises(InvalidRequestError, match="first"):
        world.infer()
    # Within a second of the metadata nothing is asked anew; later it is, and nothing has changed.
    world.now += 5
    world.answers = [InvalidRequestError("second"), metadata("FP32")]
    with pytest.raises(InvalidRequestError, match="second"):
        world.infer()
    assert world.answers == []


def test_an_input_that_does_not_fit_is_named_with_its_model() -> None:
    world = World([metadata("INT32")])
    with pytest.raises(InputError, match=r"input 'x' of model 'm': expected INT32"):
        world.infer([0.5])


def test_a_model_that_is_gone_is_forgotten() -> None:
    world = World([metadata("FP32"), NotFoundError("gone"), metadata("INT32"), ANSWER])
    with pytest.raises(NotFoundError):
        world.infer()
    world.infer()
    assert world.answers == []


def test_what_is_remembered_has_a_bound() -> None:
    world = World([])
    for number in range(MAX_KNOWN_MODELS + 5):
        world.answers = [metadata("FP32")]
        world.run(world.session.metadata(f"m{number}", "", 10.0))
    assert len(world.session._known) == MAX_KNOWN_MODELS


@pytest.mark.parametrize(
    "error", [UnavailableError("x"), NotFoundError("x"), GONE, no_answer("h:1", 1.0)]
)
def test_a_server_that_is_not_well_is_an_answer(error: ServingError) -> None:
    world = World([error])
    assert world.run(world.session.check(HttpCodec().server_ready(), 1.0)) is False


def test_another_server_is_none_that_is_not_well() -> None:
    world = World([WrongServerError("x")])
    with pytest.raises(WrongServerError):
        world.run(world.session.check(HttpCodec().server_ready(), 1.0))


def test_calls_that_begin_together_ask_for_a_models_inputs_once() -> None:
    session = World([]).session
    first, second = (session.infer("m", {"x": [1]}, OPTIONS) for _ in range(2))
    asked, joined = next(first), next(second)
    assert isinstance(asked, Attempt)
    assert isinstance(joined, Join)
    assert joined.seconds == 10.0
    ended: list[str] = []
    joined.lookup.when_ended(lambda: ended.append("early"))
    assert not ended
    own = first.send((metadata("FP32"), {}))
    assert isinstance(own, Attempt)
    assert own.exchange.target.endswith("/infer")
    joined.lookup.when_ended(lambda: ended.append("late"))
    assert ended == ["early", "late"]
    step = second.send(None)
    assert isinstance(step, Attempt)
    assert step.exchange.target.endswith("/infer")


@pytest.mark.parametrize("end", ["it is refused", "its caller leaves"])
def test_who_waited_for_another_calls_question_in_vain_asks_itself(end: str) -> None:
    session = World([]).session
    first, second = (session.infer("m", {"x": [1]}, OPTIONS) for _ in range(2))
    next(first)
    joined = next(second)
    assert isinstance(joined, Join)
    if end == "it is refused":
        with pytest.raises(NotFoundError):
            first.throw(NotFoundError("no"))
    else:
        first.close()
    ended: list[bool] = []
    joined.lookup.when_ended(lambda: ended.append(True))
    assert ended
    step = second.send(None)
    assert isinstance(step, Attempt)
    assert step.exchange.target == "/v2/models/m"
    # And the next one is asked for anew.
    assert isinstance(next(session.infer("m", {"x": [1]}, OPTIONS)), Attempt)
