"""Fault 107: client connections never get the descriptors that others need."""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from serving.descriptors import is_shortage, places
from serving.errors import ErrorCode
from serving.execution.faults import classify
from serving.execution.isolation import channel
from tests.clients import http1
from tests.clients.gateway import Gateway, wait_until
from tests.small_models import tiny, write

KEPT = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


def _open_files(process: int | str) -> int:
    return len(list(Path(f"/proc/{process}/fd").iterdir()))


@pytest.mark.parametrize(
    ("limit", "clients", "admin"),
    [(None, 10_000, 64), (20_000, 10_000, 64), (4096, 3072, 64), (1024, 512, 64), (256, 128, 32)],
)
def test_fault_107_half_is_kept_and_no_more_than_a_thousand(
    limit: int | None, clients: int, admin: int
) -> None:
    found = places(10_000, limit)
    assert (found.clients, found.admin) == (clients, admin)
    assert ("limit of open files" in found.advice) == (clients < 10_000)


@pytest.mark.parametrize(("regions", "clients"), [(0, 512), (100, 412), (1000, 256)])
def test_fault_107_shared_memory_of_clients_is_kept_apart(regions: int, clients: int) -> None:
    assert places(10_000, 1024, regions).clients == clients


def test_fault_107_the_operator_still_gets_through(
    start_gateway: Callable[..., Gateway], repository: Path
) -> None:
    write(repository, "tiny", tiny())
    gateway = start_gateway(repository, wait=False)
    # Before it looks: an interpreter takes longer to start than this.
    resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (100, 256))
    gateway.wait_ready()
    assert resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE)[0] == 256
    with ExitStack() as stack:
        for _ in range(300):
            with suppress(OSError):
                one = stack.enter_context(http1.connection(gateway.http_port))
                http1.send(one, KEPT)
        wait_until(
            lambda: gateway.metric("serving_connection_refused_total") > 100, 10, "some are refused"
        )
        assert gateway.metric("serving_connections") == 128
        assert gateway.metric("serving_connections_limit") == 128
        assert _open_files(gateway.process.pid) < 256
    log = gateway.log()
    assert log.count('"connections_refused"') == log.count('"fewer_connections"') == 1
    assert log.count("the limit of open files is 256") == 2


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_fault_107_a_shortage_is_no_fault_of_the_input(number: int) -> None:
    error = OSError(number, os.strerror(number))
    assert is_shortage(error)
    assert classify(error).code is ErrorCode.UNAVAILABLE
    assert not is_shortage(OSError(errno.EIO, "x"))


def test_fault_107_a_channel_that_finds_no_descriptor_leaves_none_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    before = _open_files("self")
    monkeypatch.setattr(socket, "socketpair", none)
    with pytest.raises(OSError, match="open files"):
        channel.Channel()
    assert _open_files("self") == before
