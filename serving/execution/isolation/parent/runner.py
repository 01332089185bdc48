"""One child process with a version loaded in it: from its start, over all its runs, to its end."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from serving._core import Computing
from serving.errors import ConfigError, ErrorCode, LoadError, Retry
from serving.execution.faults import Fault, FaultError
from serving.execution.isolation import refusals
from serving.execution.isolation.channel import Channel, NonsenseError
from serving.execution.isolation.crashes import CrashError, NotRunningError
from serving.execution.isolation.framing import Message
from serving.execution.isolation.idle_channels import IdleChannels
from serving.execution.isolation.parent.process import Child, ChildDiedError, ChildFailedError
from serving.execution.isolation.parent.starting import HOST
from serving.execution.run_limit import RunLimitError, RunStoppedError
from serving.execution.session import Input, Outputs
from serving.signature import DATATYPES, LeftOut, Signature, Tensor
from serving.strict import MOST, Count, Many, Strict, StrictError, few

# The child ends a run at its limit itself; whatever does not end so is ended with its process.
_GRACE = 1.5
_GRACE_S = 1.0
# For the child to end a run that it was told to stop.
_STOP_S = 1.0
_VMSTAT = Path("/proc/vmstat")


@dataclass(slots=True)
class HostSpec:
    """``message`` loads the version; ``files`` is the snapshot's descriptor, filled by the
    first child. ``load_bytes``: memory that a child may take up to the end of its load.
    ``run_timeout_s`` 0: without end."""

    name: str
    message: Message
    files: int
    load_bytes: int
    load_timeout_s: float
    run_timeout_s: float

    def close(self) -> None:
        """Give the snapshot up."""
        if self.files >= 0:
            os.close(self.files)
            self.files = -1


@dataclass(frozen=True, slots=True)
class Facts:
    """What a child says of the version it has loaded."""

    signature: Signature
    nodes: dict[str, int]
    provider: str
    threads: int
    notes: tuple[str, ...]


class Hosted:
    """A child with its version. ``run`` may be called from any number of threads at once."""

    facts: Facts

    def __init__(self, spec: HostSpec, child: Child) -> None:
        self.spec = spec
        self.child = child
        self._lock = threading.Lock()
        self._idle = IdleChannels()
        # By the thread whose run is in it.
        self._busy: dict[int, Channel] = {}
        self._running = 0
        self._dead = False
        # Killed by us, since a run that nobody waited for went on in it.
        self.hung = False
        self._began = time.monotonic()
        self._oom_kills = _oom_kills()

    @classmethod
    def start(
        cls, spec: HostSpec, started: Callable[[Hosted], None] = lambda hosted: None
    ) -> Hosted:
        """A child that has loaded the version. ``started`` hears of it before it loads.

        Raises LoadError, ConfigError.
        """
        try:
            child = Child(HOST, name=spec.name, memory_bytes=spec.load_bytes)
        except OSError as error:
            words = "no process can be started for it"
            raise LoadError(words, str(error), Retry.LATER) from error
        hosted = cls(spec, child)
        try:
            started(hosted)
            hosted.facts = hosted._load()
        except BaseException:
            child.kill()
            hosted.close()
            raise
        return hosted

    def _load(self) -> Facts:
        spec = self.spec
        try:
            answer = self.child.ask(spec.message, [spec.files], spec.load_timeout_s)
        except TimeoutError:
            words = f"its process did not load it within {spec.load_timeout_s:g} s"
            raise LoadError(words) from None
        except ChildDiedError as error:
            raise _load_death(error) from None
        except ChildFailedError as error:
            raise LoadError("its process could not load it", str(error)) from None
        if "refused" in answer:
            raise _refusal(answer["refused"])
        return _facts(answer)

    def run(
        self,
        names: Sequence[str],
        feeds: Mapping[str, Input],
        requests: int = 0,
        packed: bool = False,
    ) -> Outputs:
        """Texts of the outputs are ``packed``, or objects.

        Raises FaultError, RunLimitError, RunStoppedError, MemoryError; CrashError when the
        child ended; NotRunningError when it had; OSError where there are no descriptors for it.
        """
        channel = self._take()
        try:
            # What computes in a child takes the CPU from those who answer, too.
            with Computing():
                outputs = channel.run(names, feeds, requests, packed)
        except TimeoutError:
            raise self._over_limit(channel) from None
        except NonsenseError as error:
            self.child.kill()
            self._lost(channel)
            raise CrashError(f"it answered nonsense: {error}", alone=self._was_alone()) from None
        except (EOFError, OSError):
            if channel.spent and not self.hung and self.child.alive:
                # It was stopped before it began.
                self._give_back(channel)
                raise RunStoppedError from None
            self._lost(channel)
            killed = self._was_killed()
            raise CrashError(self.died(), self._was_alone(), killed) from None
        except BaseException:
            self._give_back(channel)
            raise
        self._give_back(channel)
        return outputs

    def stop(self, thread: int, alone: bool = True) -> None:
        """Have the child end what this thread runs in it. A child that does not is killed, but not
        while somebody waits for another run in it (not ``alone``)."""
        with self._lock:
            channel = self._busy.get(thread)
            if channel is None or channel.stop() < _STOP_S or self._dead or not alone:
                return
            self.hung = True
        self.child.kill()

    def _timeout(self) -> float | None:
        limit = self.spec.run_timeout_s
        return limit * _GRACE + _GRACE_S if limit else None

    def _take(self) -> Channel:
        with self._lock:
            if self._dead:
                raise NotRunningError("the model's process has ended")
            self._running += 1
            if (idle := self._idle.take()) is not None:
                self._busy[threading.get_ident()] = idle
                return idle
        channel = self._open()
        try:
            with channel.theirs:
                self.child.ask({"do": "channel"}, [channel.theirs.fileno()], self._timeout())
        except TimeoutError:
            raise self._over_limit(channel) from None
        except ChildDiedError as error:
            self._lost(channel)
            raise NotRunningError(str(error)) from None
        except ChildFailedError as error:
            # It had no thread for it, and goes on.
            self._unused(channel)
            words = "the model's process has no thread for this request just now"
            raise FaultError(Fault(ErrorCode.UNAVAILABLE, words, str(error))) from None
        return channel

    def _open(self) -> Channel:
        """A channel for the calling thread's run, which the child does not know yet."""
        try:
            channel = Channel(self._timeout())
        except OSError:
            with self._lock:
                self._running -= 1
            raise
        with self._lock:
            self._busy[threading.get_ident()] = channel
        return channel

    def _over_limit(self, channel: Channel) -> RunLimitError:
        """The child did not even answer that its limit was reached."""
        self.child.kill()
        self._lost(channel)
        return RunLimitError(self.spec.run_timeout_s)

    def _give_back(self, channel: Channel) -> None:
        with self._lock:
            self._running -= 1
            del self._busy[threading.get_ident()]
            if not (self._dead or channel.spent):
                self._idle.put(channel)
                return
        channel.close()

    def _unused(self, channel: Channel) -> None:
        with self._lock:
            self._running -= 1
            self._busy.pop(threading.get_ident(), None)
        channel.close()

    def _lost(self, channel: Channel) -> None:
        """What was running when it ended stays counted: that says who was alone."""
        with self._lock:
            self._dead = True
            self._busy.pop(threading.get_ident(), None)
        channel.close()

    def _was_alone(self) -> bool:
        """Whether the one run in it is the cause of its end."""
        with self._lock:
            if self._running > 1:
                return False
        return not self._was_killed()

    def _was_killed(self) -> bool:
        """Whether its end is nobody's who ran: our own word for a run that went on, or SIGKILL
        that is not the kernel's, for want of memory."""
        if self.hung:
            return True
        killed = self.child.end().signal_number == signal.SIGKILL
        return killed and self._oom_kills is not None and _oom_kills() == self._oom_kills

    def died(self) -> str:
        """How it ended, in words (``SIGFPE``)."""
        if self.hung:
            return "killed: a run that nobody waited for did not end"
        return self.child.end().words

    def lived(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self._began

    def close(self) -> None:
        """End it, and give back what is not in use by a run."""
        with self._lock:
            self._dead = True
        self._idle.close()
        self.child.kill()
        self.child.close()


def _oom_kills() -> int | None:
    """How often the kernel has ended a process for want of memory; None where it won't say."""
    try:
        for line in _VMSTAT.read_text().splitlines():  # file: the kernel's
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return None


def _load_death(error: ChildDiedError) -> LoadError:
    if error.signal_number == signal.SIGKILL:
        # Nobody but the kernel, for want of memory, is likely to; that may pass.
        return LoadError("its process was killed while it loaded it", retry=Retry.LATER)
    return LoadError(f"its process ended while it loaded it ({error.words})")


def _refusal(said: object) -> LoadError | ConfigError:
    try:
        return refusals.from_plain(said)
    except ValueError as error:
        return LoadError("its process refused it in words that are not known", str(error))


def _facts(answer: Message) -> Facts:
    try:
        read = _Loaded.read(answer, "its process's answer")
    except StrictError as error:
        words = "its process described the model in words that are not known"
        raise LoadError(words, str(error)) from None
    said = read.signature
    signature = Signature(
        tuple(Tensor(**dict(one)) for one in said.inputs),
        tuple(Tensor(**dict(one)) for one in said.outputs),
        tuple(LeftOut(**dict(one)) for one in said.left_out),
    )
    return Facts(signature, read.nodes, read.provider, read.threads, read.notes)


def _datatype(name: str) -> str:
    if name not in DATATYPES:
        raise ValueError("is no datatype")
    return name


_Shape = Many[Annotated[int, Field(ge=-1, lt=2**63)]]


class _Tensor(Strict):
    name: str
    datatype: Annotated[str, AfterValidator(_datatype)]
    shape: _Shape
    optional: bool
    dim_names: Many[str]
    described: _Shape | None


class _LeftOut(Strict):
    name: str
    type: str


class _Signature(Strict):
    inputs: Many[_Tensor]
    outputs: Many[_Tensor]
    left_out: Many[_LeftOut]


class _Loaded(Strict):
    signature: _Signature
    nodes: Annotated[dict[str, Count], few(MOST)]
    provider: str
    threads: Count
    notes: Many[str]
