"""Fault 75: every documented setting changes behaviour; unknown keys are errors.

One gateway has many settings changed at once (``CHANGED``); each test looks at one of them,
and where it could pass by chance, at the default gateway too.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from tests.clients import http1, http2, misbehaving, oip
from tests.clients.busy import line
from tests.clients.gateway import Gateway, wait_until
from tests.clients.triton import channel, refusal, stub
from tests.small_models import UNBATCHED, identity, scale, slow, tiny, write
from tests.unit import graphs

CHANGED = {
    "host": "127.0.0.2",
    "admin_host": "127.0.0.3",
    "name": "renamed",
    "log.level": "error",
    "log.format": "console",
    "limits.max_message_bytes": "100000",
    "limits.max_head_bytes": "8192",
    "limits.max_streams": "7",
    "limits.max_string_elements": "10",
    "limits.process_bytes": str(4 << 20),
    "grpc.compression": "gzip",
    "threads.io": "1",
    "threads.intra_op": "1",
    "threads.permits": "1",
    "threads.lend_permit_s": "0",
    "batching.max_rows": "8",
    "batching.delay_us": "1500",
}
X = np.array([[1, 2, 3, 4]], np.float32)
SLOW = np.zeros((1, 1), np.float32)
INFER = http2.SERVICE + "ModelInfer"
MIB = 1 << 20


class Elsewhere(Gateway):
    """A gateway whose data and admin addresses are not the usual one."""

    @property
    def http(self) -> str:
        return f"127.0.0.2:{self.http_port}"

    @property
    def grpc(self) -> str:
        return f"127.0.0.2:{self.grpc_port}"

    def host_of(self, port: int) -> str:
        return "127.0.0.3" if port == self.admin_port else "127.0.0.2"


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("changed")
    repository = folder / "repository"
    repository.mkdir()
    write(repository, "tiny", tiny())
    write(repository, "id_fp32", identity("FP32"))
    write(repository, "id_bytes", identity("BYTES"))
    for name in ("slow_a", "slow_b"):
        write(repository, name, slow(0.4), config=UNBATCHED)
    gateway = Elsewhere(repository, folder / "gateway", settings=dict(CHANGED))
    try:
        yield gateway.wait_ready()
    finally:
        gateway.finish()


def _error(gateway: Gateway, request: pb.ModelInferRequest) -> grpc.RpcError:
    with channel(gateway) as one:
        return refusal(stub(one).ModelInfer, request)


def test_fault_75_hosts_and_ports(changed: Gateway) -> None:
    for host, port in [
        ("127.0.0.2", changed.http_port),
        ("127.0.0.2", changed.grpc_port),
        ("127.0.0.3", changed.admin_port),
    ]:
        socket.create_connection((host, port), 5).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5)


def test_fault_75_name(changed: Gateway) -> None:
    assert changed.get("/v2").json()["name"] == "renamed"
    with channel(changed) as one:
        assert stub(one).ServerMetadata(pb.ServerMetadataRequest(), timeout=10).name == "renamed"


def test_fault_75_log_level_and_format(changed: Gateway, gateway: Gateway) -> None:
    assert '"level": "info"' in gateway.log() or '"level":"info"' in gateway.log()
    assert not any(line.startswith("{") for line in changed.log().splitlines())
    assert "[info" not in changed.log()


def test_fault_75_max_message_bytes(changed: Gateway, gateway: Gateway) -> None:
    request = oip.grpc_request("id_fp32", {"X": np.zeros((1, 30_000), np.float32)})
    error = _error(changed, request)
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "100000" in error.details()
    body, headers = oip.binary_body({"X": np.zeros((1, 30_000), np.float32)})
    assert changed.get("/v2/models/id_fp32/infer", body, "POST", headers).status == 413
    assert gateway.get("/v2/models/id_fp32/infer", body, "POST", headers).status == 200


@pytest.mark.parametrize(("size", "default", "limited"), [(4_000, 200, 200), (20_000, 200, 431)])
def test_fault_75_max_head_bytes(
    changed: Gateway, gateway: Gateway, size: int, default: int, limited: int
) -> None:
    headers = {"X-Filler": "a" * size}
    assert gateway.get("/v2/health/live", headers=headers).status == default
    assert changed.get("/v2/health/live", headers=headers).status == limited


def test_fault_75_max_streams(changed: Gateway) -> None:
    with socket.create_connection(("127.0.0.2", changed.grpc_port), 5) as sock:
        sock.sendall(http2.PREFACE + b"\0\0\0\4\0\0\0\0\0")
        time.sleep(0.3)
        data = sock.recv(65536)
    length = int.from_bytes(data[:3], "big")
    assert data[3] == 4
    pairs = [data[9 + i : 15 + i] for i in range(0, length, 6)]
    settings = {int.from_bytes(p[:2], "big"): int.from_bytes(p[2:], "big") for p in pairs}
    assert settings[3] == 7
    # The budget of 4 MB leaves little room for what comes unasked (a window is 1 MiB else).
    assert settings.get(4, 65_535) <= 65_536


def test_fault_75_max_string_elements(changed: Gateway) -> None:
    def request(count: int) -> pb.ModelInferRequest:
        return oip.grpc_request("id_bytes", {"X": np.array([["a"] * count], object)})

    with channel(changed) as one:
        stub(one).ModelInfer(request(10), timeout=10)
    assert "10" in _error(changed, request(11)).details()


def test_fault_75_process_bytes(start_gateway, repository) -> None:
    write(repository, "slow", slow(0.2), config=UNBATCHED)
    gateway = start_gateway(repository, {"limits.process_bytes": str(1 << 20)})
    request = oip.grpc_request("slow", {"X": np.zeros((50_000, 1), np.float32)})
    with channel(gateway) as one:
        futures = [stub(one).ModelInfer.future(request, timeout=60) for _ in range(9)]
        codes = {f.exception().code() if f.exception() else grpc.StatusCode.OK for f in futures}
    assert grpc.StatusCode.RESOURCE_EXHAUSTED in codes, "1.8 MB were taken under a budget of 1 MB"
    assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    wait_until(lambda: gateway.metric("serving_in_flight_requests") == 0, 20, "all ended")
    with channel(gateway) as one:
        stub(one).ModelInfer(oip.grpc_request("slow", {"X": SLOW}), timeout=20)


@contextlib.contextmanager
def _half_uploaded(gateway: Gateway, address: str, messages: int) -> Iterator[http2.Client]:
    """A connection from ``address`` that holds 900 kB of each of some messages, none of them
    whole yet."""
    sock = socket.create_connection(("127.0.0.1", gateway.grpc_port), 10, (address, 0))
    with http2.Client(gateway.grpc_port, sock=sock) as client:
        before = gateway.metric("serving_buffered_bytes")
        for _ in range(messages):
            stream = client.open(http2.grpc_headers(INFER))
            client.send(stream, http2.grpc_frame(bytes(MIB))[:900_000])
        most = before + messages * 900_000
        wait_until(lambda: gateway.metric("serving_buffered_bytes") >= most, 10, "it holds")
        yield client


@pytest.mark.parametrize("setting", ["limits.connection_share", "limits.address_share"])
def test_fault_75_shares_of_the_budget(start_gateway, repository, setting: str) -> None:
    """A share of a hundredth has room for four messages, of 1 MiB each here."""
    write(repository, "m", identity("FP32"))
    limits = {"limits.process_bytes": str(16 * MIB), "limits.max_message_bytes": str(MIB)}
    gateway = start_gateway(repository, {**limits, setting: "0.01"})
    request = http2.grpc_frame(
        oip.grpc_request("m", {"X": np.zeros((1, 200_000), np.float32)}).SerializeToString()
    )
    held = (4, 0) if setting == "limits.connection_share" else (2, 2)
    with (
        _half_uploaded(gateway, "127.0.0.1", held[0]) as first,
        _half_uploaded(gateway, "127.0.0.1", held[1]) as second,
        _half_uploaded(gateway, "127.0.0.5", 0) as stranger,
    ):
        answer = (second if held[1] else first).call(INFER, request)
        assert answer.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], answer
        assert setting in answer.headers["grpc-message"]
        assert stranger.call(INFER, request).code == 0


def test_fault_75_grpc_compression(changed: Gateway, gateway: Gateway) -> None:
    message = oip.grpc_request("id_fp32", {"X": np.zeros((1, 5000), np.float32)})
    for one, encoding in ((changed, "gzip"), (gateway, None)):
        host, port = one.grpc.split(":")
        with http2.Client(int(port), host=host) as client:
            answer = client.call(
                INFER,
                http2.grpc_frame(message.SerializeToString()),
                ("grpc-accept-encoding", "gzip,deflate"),
            )
        assert answer.code == 0
        assert answer.headers.get("grpc-encoding") == encoding
        assert answer.data[0] == (1 if encoding else 0)


def test_fault_75_threads(changed: Gateway) -> None:
    versions = [version for one in changed.models()["models"] for version in one["versions"]]
    assert {version["threads"] for version in versions} == {1}


def test_fault_75_permits(changed: Gateway) -> None:
    """With one permit, two models never run at the same time.

    A scrape reads one model after the other, so it may see the end of one run and the
    beginning of the next.
    """
    seen: list[float] = []
    with channel(changed) as one:
        futures = [
            stub(one).ModelInfer.future(oip.grpc_request(name, {"X": SLOW}), timeout=60)
            for name in ("slow_a", "slow_b") * 3
        ]
        while not all(future.done() for future in futures):
            seen.append(changed.metric("serving_executing_batches"))
            time.sleep(0.02)
    assert seen.count(1) > 0.8 * len(seen), seen


def test_fault_75_batch_rows_and_delay(changed: Gateway, gateway: Gateway) -> None:
    config = changed.get("/v2/models/tiny/config").json()
    assert config["max_batch_size"] == 8
    assert config["dynamic_batching"]["max_queue_delay_microseconds"] == 1500
    with channel(changed) as one:
        infer = stub(one).ModelInfer
        infer(oip.grpc_request("tiny", {"x": np.zeros((40, 4), np.float32)}), timeout=10)
    assert max(one["batch_size"] for one in changed.stats("tiny")["batch_stats"]) == 8
    assert gateway.get("/v2/models/tiny/config").json()["max_batch_size"] == 64


def test_fault_75_effective_settings_are_shown(changed: Gateway) -> None:
    text = changed.get("/api/v1/settings", port=changed.admin_port).body.decode()
    assert "renamed" in text
    assert "100000" in text


def test_fault_75_what_the_graph_leaves_open_is_batched_after_a_test_where_told(
    start_gateway, repository
) -> None:
    nodes = graphs.unfollowed("x", "y")
    values = [("x", graphs.FLOAT, ["n", 4])], [("y", graphs.FLOAT, ["n", 4])]
    write(repository, "open", graphs.model(nodes, *values, {"y_place": np.int64(0)}))
    for setting, words, rows in (("alone", "unbatched: open", 0), ("tested", "batched, up to", 64)):
        gateway = start_gateway(repository, {"batching.open": setting})
        assert words in gateway.get("/v2/models/open").json()["properties"]["batching"]
        assert gateway.get("/v2/models/open/config").json()["max_batch_size"] == rows
        gateway.finish()


def test_fault_75_batching_can_be_switched_off(start_gateway, repository) -> None:
    write(repository, "tiny", tiny())
    gateway = start_gateway(repository, {"batching.enabled": "false"})
    assert gateway.get("/v2/models/tiny/config").json()["max_batch_size"] == 0
    with channel(gateway) as one:
        futures = [
            stub(one).ModelInfer.future(oip.grpc_request("tiny", {"x": X}), timeout=10)
            for _ in range(50)
        ]
        for future in futures:
            future.result()
    assert gateway.stats("tiny")["execution_count"] == 50


@pytest.mark.parametrize(
    ("setting", "value", "rows"),
    [
        ("batching.max_queue_requests", "2", 6),
        ("batching.max_queue_rows", "20", 10),
        ("batching.max_queue_bytes", "55", 6),
    ],
)
def test_fault_75_queue_bounds(
    start_gateway, repository, setting: str, value: str, rows: int
) -> None:
    """Two requests fit in the line under each of these bounds, a third does not."""
    rows_count = "max_batch_size: 10\ndynamic_batching {}\n"
    config = rows_count if "rows" in setting else UNBATCHED
    write(repository, "slow", slow(0.4), config=config)
    gateway = start_gateway(repository, {setting: value})
    request = oip.grpc_request("slow", {"X": np.zeros((rows, 1), np.float32)})
    with line(gateway, "slow", request, 2, called_off=True), channel(gateway) as one:
        error = refusal(stub(one).ModelInfer, request)
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_fault_75_max_connections(start_gateway, repository) -> None:
    write(repository, "m", scale(1))
    gateway = start_gateway(repository, {"limits.max_connections": "4"})
    held = [socket.create_connection(("127.0.0.1", gateway.http_port), 5) for _ in range(4)]
    for sock in held:
        sock.sendall(http1.request("/v2/health/live", method="GET"))
        assert sock.recv(100).startswith(b"HTTP/1.1 200")
    with socket.create_connection(("127.0.0.1", gateway.http_port), 5) as sock:
        sock.settimeout(1)
        answered = False
        try:
            sock.sendall(http1.request("/v2/health/live", method="GET"))
            answered = b" 200 " in sock.recv(100)
        except (TimeoutError, ConnectionError):
            pass
    assert not answered, "a fifth connection was served"
    for sock in held:
        sock.close()
    wait_until(gateway.ready, 5, "places are free again")


TIMEOUTS = {
    "limits.head_timeout_s": b"GET /v2 HT",
    "limits.body_timeout_s": http1.head("/v2/models/m/infer", "Content-Length: 99") + b"{",
    "limits.idle_timeout_s": http1.request("/v2/health/live", method="GET"),
}


@pytest.mark.parametrize("setting", TIMEOUTS)
def test_fault_75_timeouts(start_gateway, repository, gateway: Gateway, setting: str) -> None:
    write(repository, "m", scale(1))
    quick = start_gateway(repository, {setting: "0.7"})
    with (
        http1.connection(quick.http_port) as short,
        http1.connection(gateway.http_port) as long,
    ):
        for sock in (short, long):
            http1.send(sock, TIMEOUTS[setting])
        took = misbehaving.time_until_closed(short, 5)
        assert took is not None
        assert 0.4 < took < 3
        assert misbehaving.time_until_closed(long, 0.5) is None, "the default is no longer"


def test_fault_75_idle_timeout_on_http2(tight: Gateway) -> None:
    with http2.Client(tight.grpc_port) as client:
        assert client.call(http2.SERVICE + "ServerLive", http2.grpc_frame(b"")).code == 0
        deadline = time.monotonic() + 8
        while not client.gone:
            assert time.monotonic() < deadline, "an idle HTTP/2 connection stays open"
            client.pump(0.5)


def test_fault_75_connection_age(start_gateway, repository) -> None:
    """An old connection is asked to end, without a failed call."""
    write(repository, "m", scale(1))
    gateway = start_gateway(repository, {"limits.max_connection_age_s": "1"})
    started = time.monotonic()
    with http2.Client(gateway.grpc_port) as client:
        while client.goaway is None and not client.gone:
            assert time.monotonic() - started < 6, "no GOAWAY came"
            assert client.call(http2.SERVICE + "ServerLive", http2.grpc_frame(b"")).code == 0
            client.pump(0.1)
        assert client.goaway in {0, None}
    assert time.monotonic() - started > 0.5
    with http1.connection(gateway.http_port) as sock:
        closed, started = False, time.monotonic()
        while not closed:
            assert time.monotonic() - started < 6, "an old HTTP/1.1 connection stays open"
            http1.send(sock, http1.request("/v2/health/live", method="GET"))
            reply = http1.read_reply(sock, "GET")
            closed = reply is None or reply.closed
            time.sleep(0.1)


def test_fault_75_drain_delay_and_timeout(start_gateway, repository) -> None:
    # Short runs: on a busy machine, too, one of them ends before all are cut off.
    write(repository, "slow", slow(0.2), config=UNBATCHED)
    settings = {"shutdown.drain_delay_s": "1.2", "shutdown.drain_timeout_s": "0.5"}
    gateway = start_gateway(repository, settings)
    with channel(gateway) as one:
        request = oip.grpc_request("slow", {"X": SLOW})
        futures = [stub(one).ModelInfer.future(request, timeout=60) for _ in range(60)]
        wait_until(lambda: gateway.metric("serving_executing_batches") == 1, 10, "it runs", 0.01)
        started = time.monotonic()
        gateway.signal(signal.SIGTERM)
        gateway.process.wait(20)
        took = time.monotonic() - started
        codes = {f.exception().code() if f.exception() else grpc.StatusCode.OK for f in futures}
    assert 1.2 < took < 5, "12 s of work were waiting"
    assert grpc.StatusCode.OK in codes
    assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}, codes


def test_fault_75_required_providers(start_gateway, repository) -> None:
    write(repository, "m", scale(1))
    gateway = start_gateway(repository, {"providers.require": "CUDAExecutionProvider"})
    assert "CUDAExecutionProvider" in gateway.index()["m", "1"]["reason"]


def _fails(
    start_gateway: Callable[..., Gateway], repository: Path, *words: str, **keywords: Any
) -> None:
    gateway = start_gateway(repository, wait=False, **keywords)
    assert gateway.process.wait(30) != 0
    for word in words:
        assert word in gateway.log()
    gateway.assert_clean_log()


def test_fault_75_unknown_keys_are_errors_with_the_nearest_key(
    start_gateway, repository, tmp_path: Path
) -> None:
    _fails(start_gateway, repository, "max_streams", arguments=("--set", "limits.max_strems=4"))
    file = tmp_path / "settings.yaml"
    file.write_text("limits:\n  max_conections: 5\n")
    _fails(start_gateway, repository, "max_connections", arguments=("--config", str(file)))
    _fails(start_gateway, repository, "'explicit'", settings={"model_control": "magic"})
    _fails(start_gateway, repository, "max_rows", settings={"batching.max_rows": "many"})


def test_fault_75_foreign_variables_are_ignored(start_gateway, repository) -> None:
    write(repository, "m", scale(1))
    gateway = start_gateway(
        repository,
        environment={
            "SERVING_PORT": "tcp://10.0.0.1:8080",
            "SERVING_GRPC_PORT_8081_TCP": "tcp://10.0.0.1:8081",
            "SERVING_NO_SUCH_THING": "1",
        },
    )
    assert "SERVING_NO_SUCH_THING" in gateway.log()


def test_fault_75_flags_beat_the_environment_beats_the_file(
    start_gateway, repository, tmp_path: Path
) -> None:
    write(repository, "m", scale(1))
    file = tmp_path / "settings.yaml"
    file.write_text("name: file\nlimits:\n  max_streams: 11\nbatching:\n  max_rows: 5\n")
    gateway = start_gateway(
        repository,
        {"name": "environment", "limits.max_streams": "12"},
        arguments=("--config", str(file), "--set", "name=flag"),
    )
    assert gateway.get("/v2").json()["name"] == "flag"
    shown = json.dumps(gateway.get("/api/v1/settings", port=gateway.admin_port).json())
    assert "12" in shown
    assert gateway.get("/v2/models/m/config").json()["max_batch_size"] == 5
