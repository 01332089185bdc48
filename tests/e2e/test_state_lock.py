"""One state directory, one gateway; and what is kept there is of one registry."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from tests.clients import oip
from tests.clients.commands import run
from tests.clients.gateway import Gateway, wait_until
from tests.clients.processes import children_of
from tests.small_models import scale, write

HELD = 75


@pytest.fixture
def kept(tmp_path: Path) -> dict[str, str]:
    """The settings of gateways that share a state directory."""
    return {"state_dir": str(tmp_path / "shared")}


def answers(gateway: Gateway) -> bool:
    body = {"inputs": [oip.json_input("X", np.ones((1, 2), np.float32))]}
    return gateway.infer("m", body).status == 200


def pin(gateway: Gateway, version: int, model: str = "m") -> None:
    path = f"/api/v1/models/{model}/default?wait=true"
    body = json.dumps({"version": version}).encode()
    assert gateway.get(path, body, "POST", port=gateway.admin_port).status == 200


def default(gateway: Gateway, model: str = "m") -> int:
    (found,) = (one for one in gateway.models()["models"] if one["name"] == model)
    return int(found["default"])


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in folder.rglob("*")
    }


def test_a_second_gateway_ends_in_words_or_starts_without(
    start_gateway, repository, kept, tmp_path: Path
) -> None:
    write(repository, "m", scale(1), yaml="version_policy: all\n")
    write(repository, "m", scale(2), version=2)
    first = start_gateway(repository, kept)
    pin(first, 1)
    before = contents(tmp_path / "shared")

    second = start_gateway(repository, kept, wait=False)
    assert second.process.wait(30) == HELD
    words = second.log()
    for part in (f"pid {first.process.pid}", os.uname().nodename, str(tmp_path / "shared")):
        assert part in words
    assert "--state-dir" in words
    assert "state.when_held=memory" in words
    second.assert_clean_log()

    third = start_gateway(repository, {**kept, "state.when_held": "memory"})
    assert answers(third)
    assert default(third) == 2, "pins of another gateway's directory are not applied"
    pin(third, 1)
    (held,) = third.events("state_held")
    assert held["pid"] == first.process.pid
    assert third.stop() == 0
    assert contents(tmp_path / "shared") == before, "it wrote into another gateway's directory"


def test_the_directory_is_free_at_once_when_its_gateway_is_killed(
    start_gateway, repository, kept
) -> None:
    """Its children may not hold the lock, not for a moment."""
    write(repository, "m", scale(1), yaml="isolation: process\n")
    first = start_gateway(repository, kept)
    assert children_of(first.process.pid)
    first.process.kill()
    first.process.wait()
    assert answers(start_gateway(repository, kept))


@pytest.mark.slow
def test_a_gateway_that_started_without_takes_the_directory_once_it_is_free(
    start_gateway, repository, kept
) -> None:
    """A rolling update leaves the new one with what the old one decided, and with its memory."""
    for model in ("m", "n"):
        for version in (1, 2):
            yaml = "version_policy: all\n"
            write(repository, model, scale(version), version=version, yaml=yaml)
    first = start_gateway(repository, kept)
    pin(first, 1)
    pin(first, 1, "n")
    second = start_gateway(repository, {**kept, "state.when_held": "memory"})
    pin(second, 2, "n")
    assert (default(second), default(second, "n")) == (2, 2)
    assert first.stop() == 0

    wait_until(lambda: default(second) == 1, 30, "the pin that was kept holds")
    assert len(second.events("state_taken")) == 1
    assert default(second, "n") == 2, "a command that was given here is newer"
    third = start_gateway(repository, kept, wait=False)
    assert third.process.wait(30) == HELD
    assert f"pid {second.process.pid}" in third.log()
    assert second.stop() == 0

    fourth = start_gateway(repository, kept)
    assert (default(fourth), default(fourth, "n")) == (1, 2)


def test_pins_of_another_registry_are_not_applied(
    start_gateway, repository, kept, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    for registry in (repository, other):
        for version in (1, 2):
            write(registry, "m", scale(version), version=version, yaml="version_policy: all\n")
    first = start_gateway(repository, kept)
    pin(first, 1)
    assert first.stop() == 0

    second = start_gateway(other, kept)
    assert default(second) == 2
    (said,) = second.events("state_of_another_registry")
    assert str(repository) in said["registries"][0]
    assert "not applied to the one served now" in said["effect"]
    assert "serving models default NAME VERSION" in said["advice"]
    assert second.stop() == 0

    third = start_gateway(repository, kept)
    assert default(third) == 1
    assert not third.events("state_of_another_registry")


def test_reading_commands_take_no_lock(start_gateway, repository, kept) -> None:
    write(repository, "m", scale(1))
    gateway = start_gateway(repository, kept)
    done = run("doctor", SERVING_STATE_DIR=kept["state_dir"])
    assert f"held by process {gateway.process.pid}" in done.stdout.decode(), done
    assert answers(gateway)
