"""Faults 39 to 42: hostile bodies of HTTP/1.1, at every protocol that reads them, each with a
witness."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import cache

import pytest

from tests.clients import http1
from tests.clients.gateway import Gateway
from tests.clients.infer_doors import BODIES, JSON, OIP_PATH, head_of
from tests.clients.witness import MIB, Witness

PATH, BODY = OIP_PATH, BODIES[OIP_PATH]


CHUNKS = {
    "negative size": b"-1\r\n",
    "no digits": b"\r\n\r\n",
    "words": b"hello\r\n",
    "0x prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "overflow": b"fffffffffffffffff\r\n",
    "longer than said": b"2\r\nhello\r\n0\r\n\r\n",
    "huge": b"7fffffffffffffff\r\nx",
    "bare LF": b"5\nhello\n0\n\n",
}


@pytest.mark.parametrize("case", CHUNKS)
@pytest.mark.parametrize("path", BODIES)
def test_fault_39_malformed_chunks(tight: Gateway, case: str, path: str) -> None:
    with Witness(tight):
        reply = http1.exchange(
            tight.http_port,
            head_of(path, "Transfer-Encoding: chunked") + CHUNKS[case],
            closes=True,
        )
        assert reply is None or reply.status in {400, 408, 413}, reply
        assert reply is None or reply.closed


@pytest.mark.parametrize("path", BODIES)
def test_fault_40_70000_one_byte_chunks(tight: Gateway, path: str) -> None:
    padded = BODIES[path].ljust(70_000)
    before = tight.cpu_seconds()
    with Witness(tight):
        parts = [
            head_of(path, "Transfer-Encoding: chunked"),
            b"".join(http1.chunked(padded[i : i + 1] for i in range(70_000))),
        ]
        reply = http1.exchange(tight.http_port, parts)
        assert reply is not None
        assert reply.status in {400, 413}, reply
    assert tight.cpu_seconds() - before < 2


@pytest.mark.parametrize("path", BODIES)
def test_chunked_bodies_are_read(tight: Gateway, path: str) -> None:
    body = BODIES[path]
    parts = [head_of(path, "Transfer-Encoding: chunked"), *http1.chunked([body[:7], body[7:]])]
    reply = http1.exchange(tight.http_port, b"".join(parts))
    assert reply is not None
    assert reply.status == 200


@cache
def _bomb() -> bytes:
    """128 MiB of spaces, 128 times this gateway's limit."""
    return gzip.compress(b" " * (128 * MIB), 6)


BOMBS: dict[str, tuple[str, Callable[[], bytes], set[int]]] = {
    "gzip": ("gzip", _bomb, {413}),
    "many members": ("gzip", lambda: gzip.compress(b" " * (64 * 1024)) * 4000, {400, 413}),
    "nested": ("gzip, gzip", lambda: gzip.compress(_bomb()), {415}),
    "empty members": ("gzip", lambda: gzip.compress(b"") * 20_000, {400, 413}),
    "garbage deflate": ("deflate", lambda: b"\x78\x9c" + b"\xff" * 1000, {400}),
    "garbage gzip": ("gzip", lambda: b"\x1f\x8b\x08\x00" + b"\xff" * 1000, {400}),
    "not gzip": ("gzip", lambda: BODY, {400}),
    "truncated": ("gzip", lambda: gzip.compress(BODY)[:-9], {400}),
    "bad checksum": ("gzip", lambda: gzip.compress(BODY)[:-8] + b"\0" * 8, {400}),
    "trailing garbage": ("gzip", lambda: gzip.compress(BODY) + b"junk", {400}),
    "empty": ("gzip", lambda: b"", {400}),
}


@pytest.mark.parametrize("case", BOMBS)
@pytest.mark.parametrize("path", BODIES)
def test_fault_41_compressed_bodies_count_decompressed(
    tight: Gateway, case: str, path: str
) -> None:
    encoding, make, allowed = BOMBS[case]
    data = make()
    headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
    before = tight.cpu_seconds()
    with Witness(tight):
        answer = tight.get(path, data, "POST", headers)
        assert answer.status in allowed, answer
    assert tight.cpu_seconds() - before < 2


@pytest.mark.parametrize(
    "value", ["99999999999", "-1", "text", "1e3", "", " ", "0x10", "9" * 30, "18446744073709551615"]
)
def test_fault_42_inference_header_content_length(tight: Gateway, value: str) -> None:
    with Witness(tight):
        reply = http1.exchange(
            tight.http_port,
            http1.request(PATH, BODY, headers=[f"Inference-Header-Content-Length: {value}"]),
        )
        assert reply is not None
        assert reply.status == 400, reply
        assert reply.error


@pytest.mark.parametrize("value", ["99999999999", "-1", "text", "18446744073709551615"])
@pytest.mark.parametrize("path", BODIES)
def test_fault_42_a_header_that_is_another_protocols_says_nothing(
    tight: Gateway, path: str, value: str
) -> None:
    line = f"Inference-Header-Content-Length: {value}"
    with Witness(tight):
        request = http1.request(path, BODIES[path], headers=[JSON, line])
        reply = http1.exchange(tight.http_port, request)
        assert reply is not None
        assert reply.status == (400 if path == PATH else 200), reply


def test_fault_42_the_header_given_twice(tight: Gateway) -> None:
    lines = [f"Inference-Header-Content-Length: {len(BODY)}", "Inference-Header-Content-Length: 3"]
    with Witness(tight):
        reply = http1.exchange(tight.http_port, http1.request(PATH, BODY, headers=lines))
        assert reply is not None
        assert reply.status == 400
