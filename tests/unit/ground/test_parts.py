"""Parts start in their order and stop in the reverse one, whatever fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from serving.parts import Part, Parts


class World:
    def __init__(self) -> None:
        self.told: list[str] = []

    def part(self, name: str, *, fails: str = "") -> Part:
        def do(what: str) -> None:
            self.told.append(f"{what} {name}")
            if fails == what:
                raise RuntimeError(f"{what} {name}")

        return Part(name, lambda: do("stop"), lambda: do("start"))

    def opened(self, name: str) -> Part:
        return Part(name, lambda: self.told.append(f"stop {name}"))


@pytest.fixture
def world() -> World:
    return World()


def test_parts_stop_in_the_reverse_of_the_order_in_which_they_start(world: World) -> None:
    parts = Parts(world.opened("a"), world.part("b"), Part.of("off", None), world.part("c"))
    parts.start()
    parts.stop()
    assert world.told == ["start b", "start c", "stop c", "stop b", "stop a"]


def test_a_part_that_fails_to_start_stops_those_before_it_and_what_was_open(world: World) -> None:
    parts = Parts(
        world.opened("a"),
        world.part("b"),
        world.part("c", fails="start"),
        world.part("d"),
        world.opened("e"),
    )
    with pytest.raises(RuntimeError, match="start c"):
        parts.start()
    assert world.told == ["start b", "start c", "stop e", "stop c", "stop b", "stop a"]


def test_an_error_while_those_before_it_stop_does_not_hide_the_first(world: World) -> None:
    parts = Parts(world.part("a"), world.part("b", fails="stop"), world.part("c", fails="start"))
    with pytest.raises(RuntimeError, match="start c"):
        parts.start()
    assert world.told[-1] == "stop a"


def test_a_part_that_fails_to_stop_keeps_no_other_from_it(world: World) -> None:
    parts = Parts(world.part("a"), world.part("b", fails="stop"), world.part("c"))
    parts.start()
    with pytest.raises(RuntimeError, match="stop b") as error:
        parts.stop()
    assert world.told[-3:] == ["stop c", "stop b", "stop a"]
    assert error.value.__notes__ == ["while 'b' was stopped"]


def test_what_was_stopped_is_not_stopped_again(world: World) -> None:
    parts = Parts(world.opened("a"), world.part("b"))
    parts.start()
    parts.stop()
    parts.stop()
    assert world.told == ["start b", "stop b", "stop a"]


FAILS = """
import os
import socket
import sys
from pathlib import Path

from serving.app import Gateway
from serving.models.manager import Manager
from serving.settings import load_settings

state = Path(sys.argv[1])
ports = {"http_port": 0, "grpc_port": 0, "admin_port": 0}
flags = {**ports, "state_dir": str(state), "loading.trial": "off"}
settings, origins = load_settings(flags, None, {})


def fail(self):
    raise OSError("no thread for it")


Manager.start = fail
roots = [state.parent]
gateway = Gateway(settings, roots, origins)
places = [gateway.http_address, gateway.grpc_address, gateway.admin_address]
try:
    gateway.start()
except OSError as error:
    print(error)
for place in places:
    try:
        socket.create_connection(place, 5).close()
    except ConnectionRefusedError:
        print("refused")
Gateway(settings, roots, origins)
print("the state directory is free")
sys.stdout.flush()
os._exit(0)
"""


def test_a_gateway_of_which_a_part_fails_to_start_holds_nothing_any_more(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAILS, str(tmp_path / "state")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout.splitlines() == [
        "no thread for it",
        *["refused"] * 3,
        "the state directory is free",
    ], done.stderr
