"""What a client does step by step: whom it asks, how often, and what it remembers. It does no I/O:
each call is a generator that yields what is to be done next, and is sent what came of it. So both
clients, the one that blocks and the one that awaits, decide the same."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any, NamedTuple, TypeVar

from numpy.typing import ArrayLike

from serving_client.errors import (
    DeadlineError,
    InputError,
    InvalidRequestError,
    NotFoundError,
    ServingError,
    UnavailableError,
    UnreachableError,
    WrongServerError,
)
from serving_client.exchange import Codec, Exchange, InferOptions, InferRequest
from serving_client.results import InferResult, ModelMetadata
from serving_client.retrying import NO_RETRY, Retry, Rotation, pause_before_next
from serving_client.tensors import Tensor, encode_input

T = TypeVar("T")

# Models whose inputs are remembered; the longest remembered goes first.
MAX_KNOWN_MODELS = 1024
# What is remembered is not doubted again before so many seconds.
_FRESH_S = 1.0


class Attempt(NamedTuple):
    """To be sent to an address, by its place; it yields the answer's body and headers.
    ``timeout``: seconds left; ``allowed``: seconds that the caller allowed for all."""

    place: int
    exchange: Exchange[Any]
    timeout: float
    allowed: float


class Pause(NamedTuple):
    seconds: float


class Lookup:
    """What one call asks a server and others wait for. Its methods are called from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended = False
        self._waiting: list[Callable[[], object]] = []

    def when_ended(self, call: Callable[[], object]) -> None:
        """``call`` is called then, by whoever ends it; at once where it has ended."""
        with self._lock:
            if not self._ended:
                self._waiting.append(call)
                return
        call()

    def end(self) -> None:
        with self._lock:
            self._ended = True
            waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()


class Join(NamedTuple):
    """The end of ``lookup`` is to be waited for, no longer than so many seconds."""

    lookup: Lookup
    seconds: float


Steps = Generator[Attempt | Pause | Join, Any, T]


class _Known(NamedTuple):
    """A model's inputs as they were at a time: their datatypes by name."""

    inputs: Mapping[str, str]
    at: float


class Session:
    def __init__(
        self,
        codec: Codec,
        count: int,
        retry: Retry,
        clock: Callable[[], float] = time.monotonic,
        luck: Callable[[], float] = random.random,
    ) -> None:
        self._codec, self._retry = codec, retry
        self._clock, self._luck = clock, luck
        self._rotation = Rotation(count)
        self._known: dict[tuple[str, str], _Known] = {}
        self._lookups: dict[tuple[str, str], Lookup] = {}

    # -- calls -----------------------------------------------------------------

    def infer(
        self, model: str, inputs: Mapping[str, ArrayLike], options: InferOptions
    ) -> Steps[InferResult]:
        """Asks for the model's metadata once, to know what its inputs are, however many calls
        begin together; and again where something does not fit, for the model may have changed
        since."""
        deadline = self._clock() + options.timeout
        known = self._known.get((model, options.version))
        if known is None:
            known = yield from self._look_up_together(model, options, deadline)
        try:
            return (yield from self._infer_once(model, inputs, options, known, deadline))
        except NotFoundError:
            self._known.pop((model, options.version), None)
            raise
        except InvalidRequestError:
            if self._clock() - known.at < _FRESH_S:
                raise
            fresh = yield from self._look_up(model, options, deadline)
            if fresh.inputs == known.inputs:
                raise
        return (yield from self._infer_once(model, inputs, options, fresh, deadline))

    def check(self, exchange: Exchange[bool], timeout: float) -> Steps[bool]:
        """Whether something is well; a server that says no, says nothing or isn't there is an
        answer, too."""
        try:
            return (yield from self.ask(exchange, self._clock() + timeout, timeout, NO_RETRY))
        except WrongServerError:
            raise
        except (UnavailableError, UnreachableError, NotFoundError, DeadlineError):
            return False

    def call(self, exchange: Exchange[T], timeout: float) -> Steps[T]:
        return self.ask(exchange, self._clock() + timeout, timeout, self._retry)

    def metadata(self, model: str, version: str, timeout: float) -> Steps[ModelMetadata]:
        said = yield from self.call(self._codec.model_metadata(model, version), timeout)
        self._remember(model, version, said)
        return said

    # -- parts -----------------------------------------------------------------

    def ask(self, exchange: Exchange[T], deadline: float, allowed: float, retry: Retry) -> Steps[T]:
        """One exchange, tried until it is answered, can't be repeated, or there is no time."""
        tried = 0
        while True:
            now = self._clock()
            if now >= deadline:
                raise DeadlineError(f"no answer within {allowed:g} s")
            place = self._rotation.pick(now)
            if tried and exchange.again is not None:
                exchange = exchange.again(deadline - now)
            try:
                body, headers = yield Attempt(place, exchange, deadline - now, allowed)
            except ServingError as error:
                tried += 1
                pause = self._pause(error, place, tried, deadline, retry)
                if pause is None:
                    raise
                if pause > 0:
                    yield Pause(pause)
            else:
                self._rotation.answered(place)
                return exchange.read(body, headers)

    def _pause(
        self, error: ServingError, place: int, tried: int, deadline: float, retry: Retry
    ) -> float | None:
        """Lets the address rest where that helps; None where the error is to be raised."""
        silent = isinstance(error, DeadlineError) and error.silent
        if not (error.repeatable or silent):
            if not isinstance(error, UnreachableError):
                # A refusal is an answer, too.
                self._rotation.answered(place)
            return None
        now = self._clock()
        failures = self._rotation.failed(place, now)
        rest = self._retry.rest_s(failures, error.retry_after, self._luck())
        self._rotation.rests(place, now + rest)
        if not error.repeatable:
            return None
        return pause_before_next(self._rotation, retry, tried, now, deadline)

    def _look_up_together(
        self, model: str, options: InferOptions, deadline: float
    ) -> Steps[_Known]:
        """What another call is asking for already is waited for; where it fails, each call asks for
        itself, by its own credentials and deadline."""
        key, mine = (model, options.version), Lookup()
        lookup = self._lookups.setdefault(key, mine)
        if lookup is mine:
            try:
                return (yield from self._look_up(model, options, deadline))
            finally:
                del self._lookups[key]
                mine.end()
        yield Join(lookup, max(0.0, deadline - self._clock()))
        known = self._known.get(key)
        return known or (yield from self._look_up(model, options, deadline))

    def _look_up(self, model: str, options: InferOptions, deadline: float) -> Steps[_Known]:
        exchange = self._codec.model_metadata(model, options.version)
        # The call's own credentials and id: this is part of it.
        exchange = exchange._replace(headers=options.headers)
        said = yield from self.ask(exchange, deadline, options.timeout, self._retry)
        return self._remember(model, options.version, said)

    def _remember(self, model: str, version: str, said: ModelMetadata) -> _Known:
        known = _Known({tensor.name: tensor.datatype for tensor in said.inputs}, self._clock())
        while len(self._known) >= MAX_KNOWN_MODELS:
            self._known.pop(next(iter(self._known)), None)
        self._known[model, version] = known
        return known

    def _infer_once(
        self,
        model: str,
        inputs: Mapping[str, ArrayLike],
        options: InferOptions,
        known: _Known,
        deadline: float,
    ) -> Steps[InferResult]:
        """With the model's inputs as they are ``known``."""
        tensors = [encode(model, name, value, known.inputs) for name, value in inputs.items()]
        left = options._replace(timeout=deadline - self._clock())
        # Kept under no name: the body of a repeated one would stay beside the next.
        return self.ask(
            self._codec.infer(InferRequest(model, tensors, left)),
            deadline,
            options.timeout,
            self._retry,
        )


def encode(model: str, name: str, value: ArrayLike, datatypes: Mapping[str, str]) -> Tensor:
    """An input that the model does not have goes as the type that it has: the server says best
    what is wrong with it. Raises InputError."""
    try:
        return encode_input(name, value, datatypes.get(name))
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"input '{name}' of model '{model}': {error}") from None
