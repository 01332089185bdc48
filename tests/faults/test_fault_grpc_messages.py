"""Faults 47 to 49: messages and metadata that cannot be, at every RPC that infers, each with a
witness."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from functools import cache

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from tests.clients import http2, tfs
from tests.clients.gateway import Gateway
from tests.clients.infer_doors import MESSAGES
from tests.clients.triton import channel, refusal
from tests.clients.witness import MIB, Witness

MALFORMED = {
    "random": np.random.default_rng(2).bytes(200),
    # Of the RPC's own.
    "truncated": b"",
    "length past the end": b"\x0a\xff\xff\xff\xff\x0fx",
    "bad UTF-8 in a name": b"\x0a\x02\xff\xfe",
    "deep groups": b"\x0b" * 50_000,
    "deep messages": b"",
    "field number 0": b"\x00\x01",
    "varint without end": b"\x08" + b"\xff" * 20,
    "unknown wire type": b"\x0f",
}


OURS = ["ModelInfer", "ModelMetadata", "ModelReady", "ModelStreamInfer"]
RPCS = [http2.SERVICE + rpc for rpc in OURS]
RPCS += [tfs.PREDICTION + rpc for rpc in ("Predict", "Classify", "Regress", "GetModelMetadata")]


@pytest.mark.parametrize(
    ("rpc", "case"),
    [(rpc, case) for rpc in RPCS for case in MALFORMED if rpc in MESSAGES or case != "truncated"],
)
def test_fault_47_malformed_protobuf(tight: Gateway, rpc: str, case: str) -> None:
    data = MESSAGES[rpc][:-3] if case == "truncated" else MALFORMED[case]
    if case == "deep messages":
        for _ in range(5000):
            data = b"\x22" + http2.varint(len(data)) + data if len(data) < 60_000 else data
    with Witness(tight), http2.Client(tight.grpc_port) as client:
        answer = client.call(rpc, http2.grpc_frame(data))
    if rpc.endswith("ModelStreamInfer") and answer.code == 0:
        (message,) = answer.messages
        assert pb.ModelStreamInferResponse.FromString(message).error_message
        return
    # Deep messages may lie in a field that the message does not have, and are skipped there.
    allowed = {0, 3, 5, 13} if case == "deep messages" else {3, 13}
    assert answer.code in allowed, answer


# Made of a message's frame.
FRAMES: dict[str, Callable[[bytes], bytes]] = {
    "flag of 2": lambda frame: b"\x02" + frame[1:],
    "compressed without encoding": lambda frame: b"\x01" + frame[1:],
    "half a prefix": lambda frame: b"\0\0\0",
    "shorter than said": lambda frame: frame[:-5],
    "longer than said": lambda frame: frame + b"xx",
    "4 GiB said": lambda frame: b"\0\xff\xff\xff\xff" + b"x" * 100,
}


@pytest.mark.parametrize("case", FRAMES)
@pytest.mark.parametrize("infer", MESSAGES)
def test_fault_47_malformed_frames(tight: Gateway, case: str, infer: str) -> None:
    with Witness(tight), http2.Client(tight.grpc_port) as client:
        answer = client.call(infer, FRAMES[case](http2.grpc_frame(MESSAGES[infer])))
    allowed = {8} if case == "4 GiB said" else {3, 13, 12}
    assert answer.code in allowed, answer


@pytest.mark.parametrize("infer", MESSAGES)
def test_fault_48_messages_over_the_limit_are_not_buffered(tight: Gateway, infer: str) -> None:
    with Witness(tight, slack=8 * MIB), http2.Client(tight.grpc_port) as client:
        stream = client.open(http2.grpc_headers(infer))
        client.send(stream, struct.pack(">BI", 0, 500 * MIB) + b"\0" * 4 * MIB)
        answer = client.answer(stream)
    assert answer.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert "1048576" in (answer.trailers | answer.headers)["grpc-message"]


@cache
def _bomb() -> bytes:
    return gzip.compress(b"\0" * (128 * MIB), 6)


@pytest.mark.parametrize("rpc", RPCS)
def test_fault_48_gzip_bombs(tight: Gateway, rpc: str) -> None:
    bomb = _bomb()
    before = tight.cpu_seconds()
    with Witness(tight), http2.Client(tight.grpc_port) as client:
        answer = client.call(
            rpc, http2.grpc_frame(bomb, compressed=True), ("grpc-encoding", "gzip")
        )
    if rpc.endswith("ModelStreamInfer") and answer.code == 0:
        (message,) = answer.messages
        assert pb.ModelStreamInferResponse.FromString(message).error_message
    else:
        assert answer.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], answer
    assert tight.cpu_seconds() - before < 2


@pytest.mark.parametrize("infer", MESSAGES)
def test_fault_48_a_compressed_message_that_is_garbage(tight: Gateway, infer: str) -> None:
    with Witness(tight), http2.Client(tight.grpc_port) as client:
        for encoding in ("gzip", "deflate"):
            answer = client.call(
                infer, http2.grpc_frame(b"garbage", compressed=True), ("grpc-encoding", encoding)
            )
            assert answer.code in {3, 13}


@pytest.mark.parametrize("count", [1, 300])
@pytest.mark.parametrize("infer", MESSAGES)
def test_fault_49_huge_metadata(tight: Gateway, count: int, infer: str) -> None:
    """300 kB of metadata in one value or in many: refused, or that connection ends."""
    with Witness(tight):
        with channel(tight, max_metadata_size=1 << 30) as one:
            error = refusal(
                one.unary_unary(infer),
                MESSAGES[infer],
                metadata=[(f"x-{i}", "v" * (300_000 // count)) for i in range(count)],
            )
        assert error.code() in {
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.INTERNAL,
            grpc.StatusCode.UNKNOWN,
            grpc.StatusCode.CANCELLED,
        }, error
