"""The child that runs one version.

``parent.runner.Hosted`` runs it as
``python -m serving.execution.isolation.child.main <fd> <parent> <name>``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from serving import machine
from serving._core import PackedTexts, note_run
from serving.errors import ConfigError, LoadError, Retry
from serving.execution import runtime
from serving.execution.faults import (
    Fault,
    FaultError,
    Limit,
    classify,
    no_room_for_an_answer,
    too_large_an_answer,
)
from serving.execution.files import ModelFiles, open_files
from serving.execution.isolation import framing, refusals, snapshot, tensor_wire
from serving.execution.isolation.child.serve import give_way, serve
from serving.execution.isolation.child_memory import RunMemory, arena_sweeper
from serving.execution.isolation.framing import Message
from serving.execution.isolation.shared_memory import SharedMemory
from serving.execution.run_limit import RunLimitError, RunStoppedError
from serving.execution.session import Array, Runner, runner_of
from serving.model_config import plain
from serving.model_config.schema import ModelConfig
from serving.settings import Settings

# From one word to end to the next, for runs that go on: onnxruntime forgets one that comes just
# between two runs.
_LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Answers:
    """Limits on answers, in bytes: ``one`` request's, and those of ``all`` runs of the process."""

    one: int
    all: int

    def most(self, requests: int) -> int:
        """The limit for a run of so many requests; 0, no limit, where their number is not known. A
        batch whose answers are over it is run again in parts."""
        return min(requests * self.one, max(self.one, self.all))


class Host:
    """The version in this process: loaded once, then run on as many threads as there are
    channels."""

    def __init__(self) -> None:
        self._runner: Runner | None = None
        self._hangups = _Hangups(self._stop)
        self._memory: RunMemory | None = None
        self._answers = Answers(0, 0)

    def handle(self, message: Message, fds: list[int]) -> Message:
        """``load`` (with a snapshot of the files, empty or full) or ``channel`` (its socket)."""
        (fd,) = fds
        if message["do"] == "channel":
            thread = threading.Thread(target=self._serve, args=(fd,), name="run", daemon=True)
            try:
                thread.start()
            except BaseException:  # there is none for it
                os.close(fd)
                raise
            return {}
        try:
            return self._load(message, fd)
        except (LoadError, ConfigError) as error:
            return {"refused": refusals.to_plain(error)}
        except RuntimeError as error:
            return {"refused": refusals.to_plain(refusals.short_of_threads(error))}
        finally:
            os.close(fd)

    def _load(self, message: Message, fd: int) -> Message:
        settings = Settings.model_validate(message["settings"])
        sys.setswitchinterval(settings.threads.switch_interval_s)
        runtime.start_global_pool(settings)
        config = _frugal(plain.from_plain(message["config"]))
        if snapshot.is_empty(fd):
            with open_files(Path(message["path"]), config.model_filename) as files:
                _check_same(files, message["fingerprint"])
                _keep(fd, files)
        self._runner = runner = runner_of(snapshot.read(fd), config, settings, message["name"])
        limits = settings.limits
        self._answers = Answers(limits.max_message_bytes, int(message["process_bytes"]))
        arena = config.session.enable_mem_arena
        more = int(message["memory_bytes"])
        self._memory = RunMemory(more, arena_sweeper()) if arena else RunMemory(more)
        if message["niceness"]:
            give_way(int(message["niceness"]))
        return {
            "signature": _signature(runner),
            "nodes": runner.providers,
            "provider": runner.provider,
            "threads": runner.threads,
            "notes": list(runner.notes),
        }

    def _stop(self, thread: int) -> None:
        if self._runner is not None:
            self._runner.stop(thread)

    def _serve(self, fd: int) -> None:
        assert self._runner is not None
        assert self._memory is not None
        with (
            contextlib.suppress(EOFError, OSError),
            socket.socket(fileno=fd) as channel,
            self._hangups.watched(fd),
        ):
            line = _Line(self._runner, self._memory, self._answers)
            while True:
                message, fds = framing.receive(channel, alone=True)
                began = time.monotonic()
                framing.send(channel, line.answer(message, fds))
                note_run(time.monotonic() - began)


class _Hangups:
    """Sees when the server hangs up in the middle of a run: nobody waits for it any more.
    ``stop`` ends what a thread runs."""

    def __init__(self, stop: Callable[[int], None]) -> None:
        self._stop = stop
        self._epoll = select.epoll()
        # By the descriptor of its channel.
        self._threads: dict[int, int] = {}
        threading.Thread(target=self._watch, name="hangups", daemon=True).start()

    @contextlib.contextmanager
    def watched(self, fd: int) -> Iterator[None]:
        """While the calling thread runs what comes on this channel."""
        self._threads[fd] = threading.get_ident()
        self._epoll.register(fd, select.EPOLLRDHUP)
        try:
            yield
        finally:
            self._epoll.unregister(fd)
            del self._threads[fd]

    def _watch(self) -> None:
        while True:
            for fd, _ in self._epoll.poll():
                thread = self._threads.get(fd)
                if thread is not None:
                    self._stop(thread)
            time.sleep(_LOOK_S)


class _Line:
    """The runs of one channel, one after another."""

    def __init__(self, runner: Runner, memory: RunMemory, answers: Answers) -> None:
        self._runner = runner
        self._memory = memory
        self._answers = answers
        # Of this run, all its answers; 0: no more is known than that memory is limited.
        self._most = 0
        self._inputs = self._outputs = SharedMemory()

    def answer(self, message: Message, fds: list[int]) -> Message:
        if fds:
            self._inputs.close()
            self._outputs.close()
            self._inputs, self._outputs = (SharedMemory(fd) for fd in fds)
        try:
            return self._run(message)
        except RunLimitError as error:
            return {"limit": error.seconds}
        except RunStoppedError:
            return {"stopped": True}
        except Exception as error:  # noqa: BLE001 - a model may fail in any way
            memory = self._memory
            return _fault(classify(error, Limit(memory.run_bytes, shared=memory.shared)))

    def _run(self, message: Message) -> Message:
        self._inputs.map(message["size"])
        self._most = self._answers.most(message["requests"])
        values = tensor_wire.read(message["head"], self._inputs.bytes)
        feeds = dict(zip(message["inputs"], map(_fed, values), strict=True))
        outputs = self._memory.hold(partial(self._runner.run, message["names"], feeds))
        head, _ = tensor_wire.write(outputs, self._reserve)
        return {"head": head, "size": self._outputs.size}

    def _reserve(self, size: int) -> tensor_wire.Memory:
        if 0 < self._most < size:
            raise FaultError(too_large_an_answer(size, self._most))
        if size > self._memory.run_bytes:
            raise MemoryError(f"outputs of {size} bytes")
        try:
            self._outputs.reserve(size)
        except OSError as error:
            raise FaultError(no_room_for_an_answer(error)) from None
        return self._outputs.bytes


def _fed(value: tensor_wire.Read) -> Array:
    if isinstance(value, PackedTexts):
        return value.objects()
    return value[1] if isinstance(value, tuple) else value


def _frugal(config: ModelConfig) -> ModelConfig:
    """Memory is limited here."""
    if not config.session.enable_mem_arena:
        return config
    runtime.share_frugal_arena()
    key, value = runtime.FRUGAL_ARENA
    entries = {key: value, **config.session.entries}
    return replace(config, session=replace(config.session, entries=entries))


def _fault(fault: Fault) -> Message:
    return {"fault": [fault.code.value, fault.message, fault.detail[:4000]]}


def _check_same(files: ModelFiles, fingerprint: str) -> None:
    """Where another process runs the version, too: the same files, or none."""
    if fingerprint and files.fingerprint() != fingerprint:
        raise LoadError("its files have changed since it was loaded")


def _keep(fd: int, files: ModelFiles) -> None:
    try:
        snapshot.fill(fd, files)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise LoadError(machine.file_size_words(), str(error)) from None
        words = "there is not enough memory for the model's files"
        raise LoadError(words, str(error), Retry.LATER, for_memory=True) from None


def _signature(runner: Runner) -> Message:
    return asdict(runner.signature)


def main() -> None:
    """Never returns."""
    serve(Host().handle)


if __name__ == "__main__":
    main()
