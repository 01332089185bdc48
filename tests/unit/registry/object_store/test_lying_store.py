"""A store that lies: what it says ends at a time and at a size, and one odd name is no other's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.registry.object_store.bounded import EndlessError, bounded
from serving.registry.object_store.kept import KeptStore
from serving.registry.object_store.look import StoreLook, Terms
from serving.registry.object_store.store import OddNameError, Store, StoredFile, StoreError
from serving.registry.remote.cache import Cache
from serving.registry.snapshot import Snapshot
from tests.clients.lying_store import Answer, LyingStore, endless, listed, lying_store

FILE = StoredFile("m/x", 5, '"abc"', 0)
TIMEOUT_S = 0.2


@pytest.fixture
def lying(monkeypatch: pytest.MonkeyPatch) -> Iterator[LyingStore]:
    with lying_store(listed(())) as store:
        for name, value in store.variables.items():
            monkeypatch.setenv(name, value)
        yield store


def opened(timeout_s: float = TIMEOUT_S) -> Store:
    return Store("s3://b", timeout_s, watched=True)


def look(folder: Path, timeout_s: float = 5.0) -> StoreLook:
    cache = Cache(folder / "versions", 10**9)
    terms = Terms(10.0, 0.0, time.monotonic, time.time)
    return StoreLook("s3://b", opened(timeout_s), cache, KeptStore(None, "s3://b"), terms)


@pytest.mark.parametrize("keys", [0, 1000])
@pytest.mark.parametrize("call", ["level", "below"])
def test_a_list_without_end_is_ended(lying: LyingStore, keys: int, call: str) -> None:
    lying.answer = endless(keys)
    store, since = opened(), time.monotonic()
    if (call, keys) == ("below", 1000):
        assert len(store.below("m/", 2000)) == 2001
        return
    with pytest.raises(StoreError, match=r"its list: it did not end in 0\.8 s"):
        getattr(store, call)("m/")
    assert time.monotonic() - since < 5


def test_what_grows_without_end_is_ended() -> None:
    async def grows() -> None:
        held = []
        while True:
            held.append(b"x" * (8 << 20))
            await asyncio.sleep(0.001)

    with pytest.raises(EndlessError, match="too large to be read"):
        bounded(grows, 20.0, most_bytes=64 << 20)


def test_what_is_asked_raises_what_it_raises() -> None:
    async def fails() -> None:
        raise LookupError("no")

    with pytest.raises(LookupError):
        bounded(fails, 1.0)


def test_of_a_file_no_more_is_read_than_was_asked_for(lying: LyingStore) -> None:
    lying.answer = lambda handler: handler.send_file(b"bytes", 1 << 40)
    since = time.monotonic()
    with pytest.raises(StoreError, match="more than 5 bytes came"):
        opened(20.0).read(FILE, 100)
    assert time.monotonic() - since < 5


@pytest.mark.parametrize("name", ["m//x", "m/../x", "m/./x"])
def test_a_name_that_no_file_can_have_is_told(lying: LyingStore, name: str) -> None:
    lying.answer = listed([name, "m/1/model.onnx"])
    with pytest.raises(OddNameError, match="it holds a name that no file can have: "):
        opened(5.0).below("m/")


GOOD = ["good/1/model.onnx", "m/1/model.onnx", "m/2/model.onnx"]


def numbers(found: Snapshot) -> dict[str, dict[int, str]]:
    return {one.name: {v.number: v.why_not for v in one.versions} for one in found.models}


@pytest.mark.parametrize("many", [0, 20])
def test_an_odd_name_is_a_matter_of_its_version_alone(
    lying: LyingStore, tmp_path: Path, many: int
) -> None:
    more = [f"m/{number}/model.onnx" for number in range(10, 10 + many)]
    lying.answer = listed([*GOOD, *more, "m/2//x"])
    found = numbers(look(tmp_path)(()).snapshot)
    assert found["good"] == {1: ""}
    assert found["m"].pop(2).startswith("it holds a name that no file can have")
    assert found["m"] == {1: "", **dict.fromkeys(range(10, 10 + many), "")}


def test_one_beside_versions_is_a_matter_of_its_model(lying: LyingStore, tmp_path: Path) -> None:
    lying.answer = listed([*GOOD, "m/.."])
    looked = look(tmp_path)(()).snapshot
    assert numbers(looked) == {"good": {1: ""}}
    (ignored,) = looked.ignored
    assert "it holds a name that no file can have" in ignored.reason


REDIRECTS: list[Any] = [
    lambda handler: handler.send(307, b"", Location=handler.path),
    lambda handler: handler.send(200, b"\0" * 1000, Content_Encoding="gzip"),
    lambda handler: handler.send(200, b"<ListBucketResult>"),
    lambda handler: handler.head(200, 10_000),
]


@pytest.mark.parametrize("answer", REDIRECTS)
def test_whatever_else_it_answers_what_is_known_goes_on(
    lying: LyingStore, tmp_path: Path, answer: Answer
) -> None:
    lying.answer = listed(GOOD)
    one = look(tmp_path, 0.5)
    before = one(()).snapshot.models
    lying.answer = answer
    after = one(()).snapshot
    assert after.models == before
    assert [error.reason.startswith("can't be asked since") for error in after.errors] == [True]
