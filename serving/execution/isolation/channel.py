"""One line of runs into a child: a socket for heads, two pieces of shared memory for tensors."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from serving.errors import ErrorCode
from serving.execution.faults import Fault, FaultError
from serving.execution.isolation import framing, tensor_wire
from serving.execution.isolation.framing import FramingError, Message
from serving.execution.isolation.shared_memory import KEPT_BYTES, SharedMemory, Thrift
from serving.execution.run_limit import RunLimitError, RunStoppedError
from serving.execution.session import Input, Outputs
from serving.strict import Count, Many, Strict


def _timeval(seconds: float) -> bytes:
    whole = int(seconds)
    # Zero would mean for ever.
    return struct.pack("@ll", whole, max(1, int((seconds - whole) * 1e6)))


def _two_memories() -> tuple[SharedMemory, SharedMemory]:
    first = SharedMemory()
    try:
        return first, SharedMemory()
    except OSError:
        first.close()
        raise


class NonsenseError(Exception):
    """The child answered what no sane child would."""


_Code = Annotated[ErrorCode, Field(strict=False)]
_Entry = Annotated[tuple[str, Many[Count], Count, Count], Field(strict=False)]


class _Answer(Strict):
    """One of a fault, a limit that was reached, a stop, and the outputs."""

    fault: Annotated[tuple[_Code, str, str], Field(strict=False)] | None = None
    limit: float | None = None
    stopped: bool = False
    head: Many[_Entry] = ()
    size: Count = 0


class Channel:
    """For one run at a time."""

    def __init__(self, timeout: float | None = None) -> None:
        """``timeout``: seconds that a run may take until TimeoutError. Raises OSError where no
        descriptors are to be had."""
        self._fresh_memory()
        try:
            self._socket, self.theirs = framing.socket_pair()
        except OSError:
            self._close_memory()
            raise
        if timeout is not None:
            # The kernel's own: Python's would cost a system call more each time.
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                self._socket.setsockopt(socket.SOL_SOCKET, option, _timeval(timeout))
        self._stopped = 0.0

    def stop(self) -> float:
        """Have the child end the run, by hanging up: it goes on listening to us no longer.
        From any thread; seconds since that was first done."""
        now = time.monotonic()
        if not self._stopped:
            self._stopped = now
            with contextlib.suppress(OSError):  # it is gone
                self._socket.shutdown(socket.SHUT_WR)
        return now - self._stopped

    @property
    def spent(self) -> bool:
        """Whether it was stopped, and takes no further run."""
        return bool(self._stopped)

    def _fresh_memory(self) -> None:
        self._inputs, self._outputs = _two_memories()
        self._thrift = Thrift()
        self._sent_memory = False

    def run(
        self,
        names: Sequence[str],
        feeds: Mapping[str, Input],
        requests: int = 0,
        packed: bool = False,
    ) -> Outputs:
        """Outputs in memory of their own, texts as objects or ``packed``. ``requests``: that the
        rows are of; 0: unknown.

        Raises FaultError, RunLimitError or RunStoppedError as the child says; EOFError or
        OSError when it is gone, TimeoutError, NonsenseError; MemoryError where the inputs find
        no room.
        """
        message, used = self._question(names, feeds)
        message["requests"] = requests
        fds = () if self._sent_memory else (self._inputs.fd, self._outputs.fd)
        try:
            framing.send(self._socket, message, fds)
            self._sent_memory = True
            answer, received = framing.receive(self._socket, alone=True)
            if received:
                raise NonsenseError("file descriptors with an answer")
            said = _Answer.read(answer, "its answer")
            outputs = self._outputs_of(said, len(names), packed)
        except BlockingIOError:
            raise TimeoutError from None
        except (FramingError, ValueError) as error:
            raise NonsenseError(f"{type(error).__name__}: {error}") from None
        self._be_thrifty(max(used, sum(entry[3] for entry in said.head)))
        return outputs

    def _question(self, names: Sequence[str], feeds: Mapping[str, Input]) -> tuple[Message, int]:
        def reserve(size: int) -> tensor_wire.Memory:
            try:
                self._inputs.reserve(size)
            except OSError as error:
                raise MemoryError(str(error)) from error
            return self._inputs.bytes

        head, used = tensor_wire.write(list(feeds.values()), reserve)
        message = {
            "names": list(names),
            "inputs": list(feeds),
            "head": head,
            "size": self._inputs.size,
        }
        return message, used

    def _outputs_of(self, said: _Answer, count: int, packed: bool) -> Outputs:
        if said.fault is not None:
            word, text, detail = said.fault
            raise FaultError(Fault(word, text, detail))
        if said.limit is not None:
            raise RunLimitError(said.limit)
        if said.stopped:
            raise RunStoppedError
        self._outputs.map(said.size)
        values = tensor_wire.read(said.head, self._outputs.bytes)
        if len(values) != count:
            raise NonsenseError(f"{len(values)} outputs, {count} were asked for")
        return tensor_wire.kept(values, self._outputs.bytes, packed)

    @property
    def holds_much(self) -> bool:
        """Whether the memory for its tensors is worth giving back."""
        return max(self._inputs.size, self._outputs.size) > KEPT_BYTES

    def give_back(self) -> None:
        """Hold nothing until the next run."""
        self._inputs.give_back()
        self._outputs.give_back()
        self._fresh_memory()

    def _be_thrifty(self, used: int) -> None:
        if not self._thrift.is_waste(max(self._inputs.size, self._outputs.size), used):
            return
        large = self._inputs, self._outputs
        # Without descriptors for new ones, the old ones serve on.
        with contextlib.suppress(OSError):
            self._fresh_memory()
            for memory in large:
                memory.close()

    def _close_memory(self) -> None:
        self._inputs.close()
        self._outputs.close()

    def close(self) -> None:
        self._socket.close()
        self.theirs.close()
        self._close_memory()
