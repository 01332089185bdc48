"""Triton's calls on shared memory over both doors, held against regions that obey."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest

from serving.authorization import Gate
from serving.errors import ErrorCode
from serving.protocols.call_context import CallContext
from serving.protocols.calls import answer_call
from serving.protocols.shared_memory import SharedMemory
from serving.wire import messages
from tests.unit.protocol_views import Models, RecordedCall

Door = Literal["grpc", "http"]
OPEN = Gate("127.0.0.1", None)
SHUT = Gate("0.0.0.0", None)
FIELDS = {"name": "r", "key": "/k", "offset": 8, "byte_size": 2**64 - 1}

pytestmark = pytest.mark.parametrize("door", ["grpc", "http"])


class Fake:
    """Regions that remember what was done, or refuse it."""

    def __init__(self, refusal: tuple[str, str, str] | None = None) -> None:
        self.done: list[tuple[Any, ...]] = []
        self.refusal = refusal

    def register_region(
        self, name: str, key: str, offset: int, byte_size: int
    ) -> tuple[str, str, str] | None:
        self.done.append((name, key, offset, byte_size))
        return self.refusal

    def unregister_region(self, name: str) -> None:
        self.done.append((name,))

    def regions(self) -> list[tuple[str, str, int, int]]:
        return [("r", "/k", 8, 16), ("s", "/l", 0, 4)]


def ask(
    door: Door, kind: str, verb: str, shared: SharedMemory, name: str = "r", **fields: Any
) -> RecordedCall:
    if door == "http":
        region = f"/region/{name}" if name else ""
        method = "GET" if verb == "status" else "POST"
        path = f"/v2/{kind}sharedmemory{region}/{verb}"
        called = RecordedCall("http", method, path, json.dumps(fields).encode())
    else:
        rpc = f"{kind.title()}SharedMemory{verb.title()}"
        message = getattr(messages, f"{rpc}Request")(name=name, **fields)
        called = RecordedCall("grpc", rpc, "", message.SerializeToString())
    answer_call(called, CallContext(Models(), "serving", shared_memory=shared))
    return called


def test_while_it_is_off_only_the_status_answers(door: Door) -> None:
    for kind in ("system", "cuda"):
        status = ask(door, kind, "status", SharedMemory(), "")
        assert status.answer == (b"[]" if door == "http" else b"")
        for verb in ("register", "unregister"):
            fields = {"key": "/k", "byte_size": 4} if (kind, verb) == ("system", "register") else {}
            refused = ask(door, kind, verb, SharedMemory(), "secret", **fields).failure
            assert refused is not None
            assert refused[0] is ErrorCode.UNIMPLEMENTED
            assert refused[1].startswith("Client shared memory is disabled")
            assert "secret" not in refused[1]


def test_a_region_is_registered_seen_and_forgotten(door: Door) -> None:
    regions = Fake()
    shared = SharedMemory(regions, OPEN)
    assert ask(door, "system", "register", shared, "r", **_but_name(FIELDS)).answer == b""
    for name in ("r", ""):
        assert ask(door, "system", "unregister", shared, name).answer == b""
    assert regions.done == [tuple(FIELDS.values()), ("r",), ("",)]
    assert _names(door, ask(door, "system", "status", shared, "")) == ["r", "s"]
    assert _names(door, ask(door, "system", "status", shared, "s")) == ["s"]
    unknown = ask(door, "system", "status", shared, "x").failure
    words = "Unable to find system shared memory region: 'x'"
    assert unknown == (ErrorCode.NOT_FOUND, words, "")


def _but_name(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != "name"}


def _names(door: Door, done: RecordedCall) -> list[str]:
    assert done.answer is not None
    if door == "http":
        found = json.loads(done.answer)
        assert all(set(one) == set(FIELDS) for one in found)
        return [one["name"] for one in found]
    response = messages.SystemSharedMemoryStatusResponse.FromString(done.answer)
    assert all(key == one.name for key, one in response.regions.items())
    return sorted(response.regions)


def test_what_the_core_refuses_is_refused_in_its_words(door: Door) -> None:
    shared = SharedMemory(Fake(("full", "no more", "why")), OPEN)
    refused = ask(door, "system", "register", shared, "r", key="/k", byte_size=4).failure
    assert refused == (ErrorCode.FULL, "no more", "why")


def test_fault_63_who_may_not_load_may_not_register(door: Door) -> None:
    regions = Fake()
    shared = SharedMemory(regions, SHUT)
    assert not shared.works
    for kind in ("system", "cuda"):
        for verb in ("register", "unregister"):
            fields = {"key": "/k", "byte_size": 4} if (kind, verb) == ("system", "register") else {}
            refused = ask(door, kind, verb, shared, **fields).failure
            assert refused is not None
            assert refused[0] is ErrorCode.PERMISSION_DENIED
    assert regions.done == []
