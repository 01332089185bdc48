"""Sending logged requests again, and what came of each."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from serving.cli import asking
from serving.cli.output import UserError
from serving.cli.unreached import UnreachedError
from serving.observe.request_log.compare import differences
from serving.observe.request_log.record import OK
from serving.observe.request_log.tensors import LoggedTensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from serving.observe.request_log.read import Entry
    from serving.observe.request_log.record import Record
    from serving_client import Client, InferResult

Result = Literal["same", "different", "failed", "skipped"]

REDACTED = "redacted"
REFUSED_THEN = "refused then"
# Requests read ahead, for each that is on its way.
_AHEAD = 2


@dataclass(frozen=True, slots=True)
class Target:
    """``version``: None is the one that answered then, "" whichever the gateway picks;
    ``model``: None is the one asked then."""

    version: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """``now``: the version that answered now, "" where none did; ``words``: what differs, why
    it failed or was skipped."""

    place: str
    model: str
    then: int
    now: str
    result: Result
    words: str = ""


def resend(
    entries: Iterable[Entry],
    client: Client,
    target: Target,
    *,
    concurrency: int,
    rtol: float,
    atol: float,
) -> Iterator[Outcome]:
    """The outcomes in the entries' order; at most ``concurrency`` requests are on their way at
    once, and few more are held in memory."""
    one = _Resender(client, target, rtol, atol)
    with ThreadPoolExecutor(concurrency, thread_name_prefix="replay") as pool:
        waiting: deque[Future[Outcome]] = deque()
        try:
            for entry in entries:
                waiting.append(pool.submit(one.outcome, entry))
                if len(waiting) >= concurrency * _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


class _Resender:
    def __init__(self, client: Client, target: Target, rtol: float, atol: float) -> None:
        self._client, self._target = client, target
        self._rtol, self._atol = rtol, atol

    def outcome(self, entry: Entry) -> Outcome:
        record = entry.record
        why_not = _why_not(record)
        if why_not:
            return Outcome(entry.place, record.model, record.version, "", "skipped", why_not)
        version = str(record.version) if self._target.version is None else self._target.version
        try:
            inputs = {tensor.name: _array(tensor) for tensor in record.inputs}
            wanted = [tensor.name for tensor in record.outputs]
            model = self._target.model or record.model
            with asking.in_words():
                answer = self._client.infer(model, inputs, version=version, outputs=wanted)
        except UnreachedError:
            raise
        except UserError as error:
            words = "; ".join(error.lines)
            return Outcome(entry.place, record.model, record.version, "", "failed", words)
        found = differences(
            record.outputs,
            {name: _logged(answer, name) for name in answer},
            rtol=self._rtol,
            atol=self._atol,
        )
        result: Result = "different" if found else "same"
        words = "; ".join(found)
        return Outcome(entry.place, record.model, record.version, answer.version, result, words)


def _why_not(record: Record) -> str:
    """Why the request can't be sent again or compared; "" where it can."""
    if record.status != OK:
        return REFUSED_THEN
    hidden_input = any(tensor.data is None for tensor in record.inputs)
    if hidden_input or (record.outputs and all(t.data is None for t in record.outputs)):
        return REDACTED
    return ""


def _array(tensor: LoggedTensor) -> NDArray[Any]:
    from serving_client.tensors import decode_output

    if tensor.data is None:
        raise AssertionError("a redacted tensor has no value")
    return decode_output(tensor.data, tensor.datatype, tensor.shape)


def _logged(answer: InferResult, name: str) -> LoggedTensor:
    from serving_client.tensors import encode_input

    sent = encode_input(name, answer[name], answer.datatypes[name])
    return LoggedTensor(name, sent.datatype, sent.shape, bytes(sent.data))
