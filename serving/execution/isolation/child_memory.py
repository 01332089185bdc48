"""The memory that runs in a child may take, and how it is had back after one that took too much.

Where the limit (RLIMIT_DATA: the heap and private mappings, not memory shared with others) is
met, onnxruntime's allocation fails and the process lives. But its arena keeps what runs took, in
pieces that fit no other run, and loses what it has just been given where it can't note it down.
So after such a failure, and when nothing runs, the arena is swept and the limit drawn anew.
"""

from __future__ import annotations

import contextlib
import resource
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np

from serving import machine
from serving.execution.faults import short_of_memory
from serving.execution.runtime import FRUGAL_ARENA, SEVERITY_FATAL, ort
from serving.own_memory import memory_of

Result = TypeVar("Result")

# Beyond the limit, for everything but runs: their failure must still be told.
_ROOM = 32 * 1024 * 1024
# A pause in which memory is given back, and how much is worth it.
QUIET_S = 5.0
_WORTH = 64 * 1024 * 1024
# ``y = x``, one number, as ONNX (IR 8, opset 17).
_IDENTITY = (
    b'\x08\x08\x12\x00:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01'
    b"\x12\x04\n\x02\x08\x01b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\x11"
)


class RunMemory:
    """``run_bytes``: what all runs together may take beyond what the process has when this is
    made, its model loaded; less than ``more_bytes`` where the operator set a tighter limit.

    ``give_back`` has onnxruntime's arena let go of what nothing uses.
    """

    def __init__(
        self,
        more_bytes: int,
        give_back: Callable[[], object] = lambda: None,
        quiet_s: float = QUIET_S,
    ) -> None:
        self._more_bytes = more_bytes
        self._give_back = give_back
        self._quiet_s = quiet_s
        self._lock = threading.Lock()
        self._running = self._runs = 0
        # Whether the arena may hold what an earlier run took.
        self._used = False
        self._woken = threading.Event()
        self._loaded = memory_of("RssAnon")
        self._hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        self._limit = self._drawn()
        self.run_bytes = more_bytes
        if self._hard != resource.RLIM_INFINITY:
            self.run_bytes = max(0, min(more_bytes, self._limit - memory_of("VmData")))
        self._set(self._limit + _ROOM)
        threading.Thread(target=self._watch, name="give back", daemon=True).start()

    @property
    def shared(self) -> bool:
        """Whether more than one run is under way."""
        return self._running > 1

    def hold(self, run: Callable[[], Result]) -> Result:
        """``run()`` within the limit; again where it failed while earlier runs' memory was still
        about. Raises what ``run`` raises."""
        for last in (False, True):
            used = self._used
            try:
                return self._held(run)
            except Exception as error:
                if not short_of_memory(error):
                    raise
                self.sweep()
                if last or not used:
                    raise
        raise AssertionError

    def _held(self, run: Callable[[], Result]) -> Result:
        with self._lock:
            self._running += 1
            self._runs += 1
            if self._running == 1:
                self._set(self._limit)
        try:
            result = run()
            self._used = True
            return result
        finally:
            with self._lock:
                self._running -= 1
                if not self._running:
                    self._set(self._limit + _ROOM)
            self._woken.set()

    def sweep(self) -> None:
        """Give back what runs have left."""
        self._used = False
        with contextlib.suppress(Exception):  # not even that: the next pause tries again
            self._give_back()
        machine.trim()
        with self._lock:
            if not self._running:
                self._limit = self._drawn()
                self._set(self._limit + _ROOM)

    def _drawn(self) -> int:
        """What was lost without ever being touched does not count; what is held does."""
        held = max(0, memory_of("RssAnon") - self._loaded)
        limit = memory_of("VmData") + self._more_bytes - held
        return limit if self._hard == resource.RLIM_INFINITY else min(limit, self._hard - _ROOM)

    def _set(self, limit: int) -> None:
        with contextlib.suppress(ValueError, OSError):  # where the system has no such limit
            resource.setrlimit(resource.RLIMIT_DATA, (max(0, limit), self._hard))

    def _watch(self) -> None:
        """Sweep at the first pause after runs; then sleep until there are some again."""
        while True:
            self._woken.wait()
            runs = self._runs
            time.sleep(self._quiet_s)
            if self._runs == runs and not self._running:
                self._woken.clear()
                if memory_of("RssAnon") > self._loaded + _WORTH:
                    self.sweep()


def arena_sweeper() -> Callable[[], object]:
    """What has the process's frugal arena give back all that is free in it: onnxruntime does so
    at the end of a run that asks for it, of whatever session."""
    module = ort()
    options = module.SessionOptions()
    options.add_session_config_entry(*FRUGAL_ARENA)
    options.intra_op_num_threads = 1
    options.log_severity_level = SEVERITY_FATAL
    session: Any = module.InferenceSession(
        _IDENTITY, options, providers=["CPUExecutionProvider"], read_config_from_model=0
    )
    wanted = module.RunOptions()
    wanted.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    give_back = partial(session.run, None, {"x": np.zeros(1, np.float32)}, wanted)
    # The arena never gives its first piece back: let that be a small one.
    give_back()
    return give_back
