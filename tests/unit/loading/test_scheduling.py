"""Threads that serve ask the kernel for short turns; those that load don't.

See ``core/engine/src/scheduling.rs``, and ``sched_setattr(2)``.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import struct
import threading
import urllib.request
from pathlib import Path

import pytest

from serving import _core
from serving.loading.loaded import LoadedSlot
from serving.loading.loader import Loader
from serving.model_config.schema import ModelConfig
from serving.settings import load_settings
from tests import small_models
from tests.clients.gateway import wait_until
from tests.unit import graphs

SHORT_NS = 100_000
_GETATTR = {"x86_64": 315, "aarch64": 275}.get(platform.machine())
_libc = ctypes.CDLL(None, use_errno=True)


def turn_ns(thread: int) -> int:
    """What a thread runs before others may; 0 where the kernel doesn't say."""
    attributes = ctypes.create_string_buffer(48)
    if _GETATTR is None or _libc.syscall(_GETATTR, thread, attributes, len(attributes), 0):
        return 0
    return int(struct.unpack("=IIQiIQQQ", attributes.raw)[5])


pytestmark = pytest.mark.skipif(
    not turn_ns(threading.get_native_id()), reason="this kernel knows no turns (Linux 6.12)"
)


def threads() -> set[Path]:
    return set(Path("/proc/self/task").iterdir())


def turns(name: str, before: set[Path]) -> list[int]:
    """Of this process's threads that were not there before and whose system's name begins so."""
    named = [one for one in threads() - before if (one / "comm").read_text().startswith(name)]
    return [turn_ns(int(one.name)) for one in named]


def _ask(server: _core.Server, slot: LoadedSlot) -> None:
    """The first request, which the threads begin with."""
    server.publish([_core.Route("m", {1: slot.queue}, 1)])
    server.set_ready(True)
    signature = slot.facts.signature
    assert signature is not None
    (x,) = signature.inputs
    data = [1.0] * (4 if x.shape[-1] == 4 else 1)
    tensor = {"name": x.name, "datatype": "FP32", "shape": [1, len(data)], "data": data}
    host, port = server.http_address
    body = json.dumps({"inputs": [tensor]}).encode()
    urllib.request.urlopen(f"http://{host}:{port}/v2/models/m/infer", body, timeout=30).close()


def test_who_serves_takes_short_turns_and_who_loads_does_not(tmp_path: Path) -> None:
    given = {"http_port": 0, "grpc_port": 0, "loading.trial": "off", "threads.io": 2}
    settings, _ = load_settings(given, None, {})
    before = threads()
    server = _core.Server(settings.core())
    server.start()
    place = graphs.write(tmp_path, graphs.softmax())
    loader = Loader(settings)
    slot = None
    try:
        wait_until(
            lambda: turns("serving-io", before) == [SHORT_NS] * 2, 5, "I/O threads take short turns"
        )
        slot = loader(name="m", version=1, path=place, config=ModelConfig(), settings=settings)
        _ask(server, slot)
        serving = [one.native_id for one in threading.enumerate() if one.name == "run m:1 #0"]
        assert serving != []
        wait_until(
            lambda: [turn_ns(one or 0) for one in serving] == [SHORT_NS], 5, "so do instances"
        )
        assert turn_ns(threading.get_native_id()) != SHORT_NS
    finally:
        if slot is not None:
            slot.close(10)
        loader.close()
        server.stop()


def test_fault_106_whose_runs_compute_long_gives_way(tmp_path: Path) -> None:
    """Who reads the sockets interrupts it, and waits for no turn of its to end."""
    settings, _ = load_settings({"http_port": 0, "grpc_port": 0, "loading.trial": "off"}, None, {})
    server = _core.Server(settings.core())
    server.start()
    place = small_models.write(tmp_path, "m", small_models.slow(0.05))
    loader = Loader(settings)
    slot = loader(name="m", version=1, path=place, config=ModelConfig(), settings=settings)
    try:
        for _ in range(4):
            _ask(server, slot)
        (serving,) = [
            one.native_id or 0 for one in threading.enumerate() if one.name == "run m:1 #0"
        ]
        own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        wait_until(
            lambda: os.getpriority(os.PRIO_PROCESS, serving) == min(19, own + 5), 5, "it is nicer"
        )
        assert turn_ns(serving) != SHORT_NS
    finally:
        slot.close(10)
        loader.close()
        server.stop()
