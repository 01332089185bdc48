"""Runs of many texts in a child: what they cost this process, what the child costs, and when there
is none."""

from __future__ import annotations

import os
import socket
import struct
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from serving import _core
from serving.execution.isolation.crashes import NotRunningError
from serving.loading.loaded import LoadedSlot
from serving.loading.loader import Loader
from serving.loading.low_priority import NICENESS
from serving.model_config.schema import ModelConfig
from serving.settings import Settings, load_settings
from tests.clients.gateway import wait_until
from tests.clients.processes import gone
from tests.small_models import identity, tiny, write

TEXTS = 1000
Load = Callable[..., LoadedSlot]


def settings_of(**more: object) -> Settings:
    flags = {"http_port": 0, "grpc_port": 0, "loading.trial": "off", "isolation.texts": TEXTS}
    return load_settings({**flags, **more}, None, {})[0]


class World:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.slots: list[LoadedSlot] = []
        self.changes = 0

    def load(
        self, model: Any = None, config: ModelConfig | None = None, **settings: object
    ) -> LoadedSlot:
        self.path = write(self._folder, f"m{len(self.slots)}", model or identity("BYTES"))
        chosen = settings_of(**settings)
        self.loader = Loader(chosen)
        self.slots.append(
            self.loader(
                name="m",
                version=1,
                path=self.path,
                config=config or ModelConfig(),
                settings=chosen,
                on_changed=self._changed,
            )
        )
        return self.slots[-1]

    def _changed(self) -> None:
        self.changes += 1


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    for slot in made.slots:
        slot.close(10)


class Many:
    """As much of a batch of many texts as is asked of it."""

    weight = (TEXTS, 0, 0)

    def __init__(self, deadline: float | None = None) -> None:
        self.deadline = deadline
        self.aside = 0

    def step_aside(self) -> None:
        self.aside += 1


def ask_for_many(slot: LoadedSlot, batch: Many | None = None) -> Any:
    """Who runs it, if not the version itself."""
    packing = slot.runner.packing
    assert packing is not None
    return packing(batch or Many())  # type: ignore[arg-type]  # a stand-in


def child_of(slot: LoadedSlot) -> int:
    def there() -> int | None:
        ask_for_many(slot)
        return slot.process.pid if slot.process is not None else None

    return int(wait_until(there, 60, "a process for many texts"))


@pytest.mark.slow
def test_no_object_is_made_for_the_texts_of_a_run_in_the_child(world: World) -> None:
    count = 100 * TEXTS
    slot = world.load()
    server = _core.Server(settings_of().core())
    server.publish([_core.Route("m", {1: slot.queue}, 1)])
    server.start()
    server.set_ready(True)
    data = b"".join(struct.pack("<I", 8) + b"%08d" % i for i in range(count))
    head = (
        b'{"inputs":[{"name":"X","datatype":"BYTES","shape":[1,%d],"parameters":{"binary_data_size"'
        b':%d}}],"parameters":{"binary_data_output":true}}' % (count, len(data))
    )

    lines = (
        "POST /v2/models/m/infer HTTP/1.1",
        "Host: here",
        "Connection: close",
        f"Inference-Header-Content-Length: {len(head)}",
        f"Content-Length: {len(head + data)}",
    )
    request = "".join(f"{line}\r\n" for line in (*lines, "")).encode() + head + data
    answer = memoryview(bytearray(len(data) + 4096))

    def measured() -> int:
        """Bytes of Python's own, at most at once, while a run is answered: its client, which is
        in this process, makes nothing."""
        with socket.create_connection(server.http_address, timeout=60) as client:
            tracemalloc.start()
            try:
                client.sendall(request)
                got = 0
                while more := client.recv_into(answer[got:]):
                    got += more
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
                assert answer[:got].tobytes().endswith(data)

    try:
        within = measured()
        child_of(slot)
        beside = measured()
        # A str of eight letters has 57 bytes, and eight in an array.
        assert within > 57 * count, "the test sees no objects"
        assert beside < count, f"{beside} bytes for {count} texts"
    finally:
        server.stop()


@pytest.mark.slow
def test_the_first_run_does_not_wait_for_the_child_and_those_after_it_do(world: World) -> None:
    slot = world.load()
    first, hurried, second = Many(), Many(deadline=0.0), Many()
    assert ask_for_many(slot, first) is None
    # Nobody waits for it by then: it is for nobody to run here.
    with pytest.raises(NotRunningError):
        ask_for_many(slot, hurried).run_packed([], {})
    assert ask_for_many(slot, second) is not None
    # They give the right to run to others meanwhile.
    assert (first.aside, hurried.aside, second.aside) == (0, 1, 1)
    again = Many()
    assert ask_for_many(slot, again) is not None
    assert again.aside == 0


@pytest.mark.skipif(sys.platform != "linux", reason="niceness is a thread's on Linux")
def test_all_threads_of_the_child_give_way_once_it_has_loaded(world: World) -> None:
    tasks = Path(f"/proc/{child_of(world.load())}/task")
    wanted = min(19, os.getpriority(os.PRIO_PROCESS, os.getpid()) + NICENESS)
    found = {os.getpriority(os.PRIO_PROCESS, int(task.name)) for task in tasks.iterdir()}
    assert found == {wanted}


def test_the_child_is_counted_while_it_is_there_and_ends_with_the_version(world: World) -> None:
    slot = world.load()
    before = world.loader.held_bytes
    pid = child_of(slot)
    assert world.loader.held_bytes == 2 * before > 0
    assert slot.facts.notes == ("its runs of many texts are in a process of their own",)
    wait_until(lambda: world.changes >= 1, 5, "the news that it is there")
    assert slot.close(10)
    world.slots.clear()
    assert gone(pid)
    assert world.loader.held_bytes == 0


@pytest.mark.slow
def test_files_that_have_changed_since_are_not_run_beside_those_that_serve(world: World) -> None:
    slot = world.load()
    (model,) = world.path.glob("*.onnx")
    model.write_bytes(identity("BYTES", ["other", "names"]).SerializeToString())
    assert ask_for_many(slot) is None
    wait_until(lambda: slot.facts.notes, 60, "the start has failed")
    assert "its files have changed since it was loaded" in slot.facts.notes[0]
    assert ask_for_many(slot) is None
    assert slot.process is None


def test_without_room_for_a_child_there_is_none_and_it_is_said(world: World) -> None:
    size = len(identity("BYTES").SerializeToString())
    slot = world.load(**{"loading.memory_bytes": size * 3 // 2})
    assert ask_for_many(slot) is None
    wait_until(lambda: "there is no room for its" in str(slot.facts.notes), 10, "it is said")
    assert world.loader.held_bytes == size


def test_few_texts_are_not_for_a_child(world: World) -> None:
    packing = world.load().runner.packing
    assert packing is not None
    few = SimpleNamespace(weight=(TEXTS - 1, 0, 0))
    assert packing(few) is None  # type: ignore[arg-type]  # a stand-in
    assert world.slots[0].process is None
    assert not world.changes


@pytest.mark.parametrize(
    ("model", "config", "settings"),
    [
        (tiny(), None, {}),
        (None, ModelConfig(isolation="none"), {}),
        (None, None, {"isolation.mode": "none"}),
        (None, None, {"isolation.texts": 0}),
    ],
    ids=["no texts", "by its configuration", "by a setting", "never"],
)
def test_some_never_have_one(
    world: World, model: Any, config: ModelConfig | None, settings: dict[str, object]
) -> None:
    assert world.load(model, config, **settings).runner.packing is None
