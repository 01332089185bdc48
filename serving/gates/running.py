"""Which of two versions runs now, in memory that outlives the process that runs them."""

from __future__ import annotations

from serving.execution.isolation.shared_memory import SharedMemory

_NAMES = ("base", "candidate")


class Running:
    """The gateway makes one and sends its ``fd``; the child opens it and notes each run before it
    begins. Raises OSError where there is no memory."""

    def __init__(self, fd: int | None = None) -> None:
        self._memory = SharedMemory(fd)
        if fd is None:
            self._memory.reserve(1)
        else:
            self._memory.map(1)

    @property
    def fd(self) -> int:
        return self._memory.fd

    def note(self, which: str) -> None:
        self._memory.bytes[0] = 1 + _NAMES.index(which)

    @property
    def which(self) -> str:
        """The one that was noted last; "" before the first run."""
        place = int(self._memory.bytes[0])
        return _NAMES[place - 1] if 0 < place <= len(_NAMES) else ""

    def close(self) -> None:
        self._memory.close()
