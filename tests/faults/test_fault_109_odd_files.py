"""Faults 108, 109 and 111 at a whole gateway: pipes in the model repository, headers that no
browser sends, and a stop with connections that have said nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.clients import http1, http2
from tests.clients.gateway import Gateway
from tests.small_models import tiny, write

WARMED = """max_batch_size: 8
model_warmup { name: "w" batch_size: 1
  inputs { key: "x" value { data_type: TYPE_FP32 dims: 4 input_data_file: "pipe" } } }
"""
# Whoever waits for one of these waits longer than the test.
PATIENT = {
    "model_control": "both",
    "limits.head_timeout_s": "100",
    "limits.idle_timeout_s": "100",
    "shutdown.drain_timeout_s": "100",
    "shutdown.drain_delay_s": "0",
}
KEPT = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


def _lay_pipes(repository: Path) -> None:
    write(repository, "good", tiny())
    write(repository, "warmed", tiny(), config=WARMED)
    (repository / "warmed" / "warmup").mkdir()
    os.mkfifo(repository / "warmed" / "warmup" / "pipe")
    version = write(repository, "odd", tiny())
    (version / "model.onnx").unlink()
    os.mkfifo(version / "model.onnx")


@pytest.fixture
def gateway(start_gateway: Callable[..., Gateway], repository: Path) -> Gateway:
    _lay_pipes(repository)
    return start_gateway(repository, PATIENT)


def test_odd_files_odd_headers_and_silent_connections_hold_nothing_up(gateway: Gateway) -> None:
    """Together, since each whole gateway takes seconds to start."""
    # Fault 109: it is ready, so no pipe holds the loader.
    for name in ("warmed", "odd"):
        entry = gateway.index()[name, "1"]
        assert entry["state"] == "UNAVAILABLE", entry
        assert "not a" in entry["reason"], entry
    assert gateway.index()["good", "1"]["state"] == "READY"
    # Fault 108: what cannot be read is foreign on the doors, too.
    unload = "/v2/repository/models/good/unload"
    for origin in ("http://\u00e9vil.example", "http://[evil"):
        assert gateway.get(unload, b"", "POST", {"Origin": origin}).status == 403, origin
    # Fault 111.
    with ExitStack() as stack:
        said = {
            gateway.http_port: (b"", b"PRI * HT", b"GET /v2"),
            gateway.grpc_port: (b"", b"PRI * HT", http2.PREFACE[:-1]),
            gateway.admin_port: (b"", b"GET /met", KEPT, KEPT + b"GET /met"),
        }
        for port, beginnings in said.items():
            for beginning in beginnings:
                http1.send(stack.enter_context(http1.connection(port)), beginning)
        time.sleep(1.0)  # silent for longer than a connection that has just begun
        gateway.signal(signal.SIGTERM)
        assert gateway.process.wait(30) == 0
