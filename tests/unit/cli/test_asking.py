"""What ``serving infer`` makes up to be sent, and how it shows what came."""

from __future__ import annotations

import numpy as np
import pytest

from serving.cli import asking, exchange
from serving.cli.address import Protocol
from serving.cli.output import UserError
from serving.cli.samples import concrete, generated
from serving.cli.unreached import UnreachedError
from serving.signature import DATATYPES, Tensor
from serving_client import (
    ConnectionLostError,
    DeadlineError,
    InferResult,
    InputError,
    NotFoundError,
    UnreachableError,
    WrongServerError,
)
from serving_client.tensors import BF16


def test_text_shows_as_text_and_other_bytes_so_that_they_can_be_seen() -> None:
    texts = np.array(["\u00e9", b"\xff".decode("utf-8", "surrogateescape")], object)
    result = InferResult("m", "1", "", {}, {"y": texts}, {"y": "BYTES"})
    assert asking.readable(result, "y").tolist() == ["\u00e9", "\\xff"]


def test_bf16_shows_as_numbers() -> None:
    array = np.array([1.5], np.float32).astype(BF16)
    shown = asking.readable(InferResult("m", "1", "", {}, {"y": array}, {"y": "BF16"}), "y")
    assert (shown.dtype, shown.tolist()) == (np.float32, [1.5])


@pytest.mark.parametrize(
    ("error", "final", "words"),
    [
        (UnreachableError("nothing listens at h:1"), True, "h:1: is the gateway started"),
        (UnreachableError("h:1: no machine is known"), True, "h:1: no machine is known"),
        (WrongServerError("it speaks HTTP"), True, "it speaks HTTP"),
        (ConnectionLostError("it ended"), False, "it ended"),
        (DeadlineError("h:1: no answer within 5 s"), False, "h:1: no answer within 5 s"),
        (DeadlineError("late", request_id="a"), False, "DEADLINE_EXCEEDED: late"),
        (NotFoundError("unknown model", request_id="a"), False, "NOT_FOUND: unknown model"),
        (InputError("input 'x' of model 'm': ..."), False, "input 'x' of model 'm': ..."),
    ],
)
def test_the_clients_errors_become_lines(error: Exception, final: bool, words: str) -> None:
    with pytest.raises(UserError) as told, asking.in_words():
        raise error
    assert isinstance(told.value, UnreachedError) is final
    assert words in str(told.value)


def test_without_the_client_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "serving_client", None)
    with pytest.raises(UserError, match=r"install 'serving\[client\]'"):
        asking.open_client(Protocol.GRPC, "h:1", 1.0)


@pytest.mark.parametrize("text", [b"<html>", b"[" * 100_000, b"[]", b"null", b'{"a": 1}'])
def test_what_is_no_gateway_says_no_alias(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    """Who asks it next is told what it is."""
    monkeypatch.setattr(exchange, "request", lambda *given: (200, {}, text))
    assert asking.number_of(Protocol.HTTP, "http://h:1", 1.0, "m", "stable") == "stable"


def test_rows_fill_axis_0_where_it_varies() -> None:
    assert concrete((-1, 3, -1), 5) == (5, 3, 1)
    assert concrete((2, -1), 5) == (2, 1)
    assert concrete((), 5) == ()


@pytest.mark.parametrize("datatype", DATATYPES)
def test_generated_inputs_fit_and_follow_the_seed(datatype: str) -> None:
    tensor = Tensor("x", datatype, (-1, 3))
    first, again = (generated(tensor, 2, np.random.default_rng(7)) for _ in range(2))
    assert first.shape == (2, 3)
    assert first.dtype == tensor.dtype
    assert np.array_equal(first, again)
