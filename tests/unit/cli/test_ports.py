"""Ports: who holds them, and where others reach what listens on every address."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from serving.cli.doctor import _ports
from serving.cli.ports import Place, advice, holder, reached_at, running_gateway, url
from tests.unit.control_fakes import Commander, admin_port, settings


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as held:
        yield held.getsockname()[1]


def test_the_holder_of_a_port_is_named(taken: int) -> None:
    assert f"process {os.getpid()} (" in holder(taken)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert holder(free.getsockname()[1]) == ""


def test_a_taken_port_is_told_with_its_holder_and_its_setting(taken: int) -> None:
    chosen = settings(http_port=0, grpc_port=taken, admin_port=0)
    (line,) = advice(chosen)
    assert line.startswith(f"port {taken} is held by process {os.getpid()}")
    assert line.endswith("; --grpc-port PORT (setting grpc_port) chooses another for gRPC")
    assert list(advice(settings(http_port=0, grpc_port=0, admin_port=0))) == []


def test_an_address_that_is_none_of_the_machine_is_told_with_its_setting() -> None:
    (said,) = advice(settings(host="192.0.2.1", http_port=0, grpc_port=0, admin_port=0))
    assert said == "--host ADDRESS chooses one of this machine's ('192.0.2.1' is none)"
    (said,) = advice(settings(admin_host="192.0.2.1", http_port=0, grpc_port=0, admin_port=0))
    assert said.startswith("--admin-host ADDRESS")


def test_two_doors_on_one_port_are_told(taken: int) -> None:
    said = next(advice(settings(http_port=taken, grpc_port=taken, admin_port=0)))
    assert said == f"HTTP and gRPC are both to have port {taken}"


def test_doctor_tells_a_running_gateway_from_another_process(taken: int) -> None:
    with admin_port(Commander()) as admin:
        here = admin.address[1]
        gateway = running_gateway(Place("admin", "127.0.0.1", here, "admin_port"))
        assert gateway.startswith("a running gateway, its admin port: process ")
        chosen = settings(http_port=0, grpc_port=0, admin_port=here)
        found = {finding.name: finding for finding in _ports(chosen)}
        assert "a running gateway" in found["admin"].value
        assert found["admin"].problem == ""
    chosen = settings(http_port=0, grpc_port=0, admin_port=taken)
    (other,) = [finding for finding in _ports(chosen) if finding.name == "admin"]
    assert "--admin-port chooses another" in other.problem
    assert f"process {os.getpid()}" in other.problem


def test_every_address_is_said_in_one_that_people_can_use() -> None:
    assert url(("0.0.0.0", 80)) == "http://127.0.0.1:80"
    assert url(("::", 80), "") == "[::1]:80"
    assert reached_at(("127.0.0.1", 80)) == []
    for one in reached_at(("0.0.0.0", 80)):
        assert one.startswith("http://")
        assert "0.0.0.0" not in one
