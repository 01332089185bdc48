"""onnxruntime itself: imported late, quiet, without telemetry; its shared threads, if asked for."""

from __future__ import annotations

import importlib
import os
import threading
from typing import Any

from serving.errors import ConfigError
from serving.settings import Settings

# Only what ends the process. Every lesser error also comes back as an exception, and a
# client's bad data must not fill the log with onnxruntime's own lines.
SEVERITY_FATAL = 4

# A session's entry, and the value that switches it on.
FRUGAL_ARENA = ("session.use_env_allocators", "1")

_lock = threading.Lock()
_pool: tuple[int, int] | None = None


def ort() -> Any:
    """The onnxruntime module.

    Its telemetry is on by default and starts at the import (fact C16), so it is
    switched off first; an operator's own ``ORT_DISABLE_TELEMETRY=0`` is left as it is.

    Raises ConfigError, naming the extras, where onnxruntime is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    # Options that a model file brings along are not the operator's (fault 13).
    os.environ.pop("ORT_LOAD_CONFIG_FROM_MODEL", None)
    try:
        module = importlib.import_module("onnxruntime")
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise ConfigError(f"onnxruntime is installed but not whole: {error}") from error
        raise ConfigError(
            "onnxruntime is not installed: install 'serving[cpu]' or 'serving[gpu]'"
            " (not both: their files overwrite each other)"
        ) from error
    except ImportError as error:
        raise ConfigError(f"onnxruntime cannot be imported: {error}") from error
    module.set_default_logger_severity(SEVERITY_FATAL)
    return module


def share_frugal_arena() -> None:
    """Give this process one arena, for sessions with the entry ``FRUGAL_ARENA``, that grows by
    what is asked for and no more.

    An arena of onnxruntime's own doubles what it asks for next even when a request fails: after
    one input that asks for terabytes the next small one takes all that a memory limit leaves.
    To be called before the first session that uses it.
    """
    module = ort()
    cpu = module.OrtMemoryInfo(
        "Cpu", module.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, module.OrtMemType.DEFAULT
    )
    as_requested = 1
    module.create_and_register_allocator(
        cpu, module.OrtArenaCfg({"arena_extend_strategy": as_requested})
    )


def start_global_pool(settings: Settings) -> tuple[int, int] | None:
    """Make the thread pool that all sessions share, if ``threads.shared_pool`` says so; its
    (intra-op, inter-op) threads, or None.

    To be called once, before the first session. onnxruntime cannot change the pool later,
    so a second call leaves it as it is and returns the sizes it has.

    Raises ConfigError where onnxruntime is not installed, with or without a pool: a gateway
    that can load nothing should not start.
    """
    global _pool  # noqa: PLW0603 - onnxruntime has one pool a process, and so have we
    module = ort()
    with _lock:
        if _pool is None and settings.threads.shared_pool:
            sizes = (settings.intra_op_threads, settings.threads.inter_op)
            module.set_global_thread_pool_sizes(*sizes)
            _pool = sizes
        return _pool


def global_pool() -> tuple[int, int] | None:
    """The shared pool's (intra-op, inter-op) threads; ``None`` where there is no such pool."""
    return _pool
