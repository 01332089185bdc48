"""How much memory versions may take: each alone, and all together.

Told apart on purpose: a model that is too large stays so and fails; a total that is used up
may have room again, so that load is tried anew.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from serving.errors import LoadError, Retry
from serving.execution.private_copy import mapped_bytes
from serving.model_config.schema import ModelConfig
from serving.settings import Settings

_PROC = Path("/proc")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_UNITS = ("KB", "MB", "GB", "TB")


def model_budget(config: ModelConfig, settings: Settings) -> int:
    """Bytes that one version of this model may take."""
    said = config.memory_bytes or settings.loading.model_memory_bytes
    return min(said or settings.models_bytes, settings.models_bytes)


def check_alone(need: int, budget: int, what: str) -> None:
    """Raises LoadError where ``need`` bytes are more than the model may take at all."""
    if need > budget:
        raise LoadError(f"{what} {words(need)}, and it may take {words(budget)}")


def words(count: int) -> str:
    """``1.5 GB``."""
    if count < 1000:
        return f"{count} bytes"
    power = min((len(str(count)) - 1) // 3, len(_UNITS))
    return f"{count / 1000**power:.3g} {_UNITS[power - 1]}"


def resident(pid: int | None = None) -> int:
    """Bytes of memory that a process (this one, without ``pid``) has taken for itself, files
    mapped not counted; 0 where the system does not tell, or the process is gone."""
    statm = _PROC / ("self" if pid is None else str(pid)) / "statm"
    try:
        _, all_, of_files, *_ = statm.read_bytes().split()  # file: the kernel's
    except OSError:
        return 0
    return (int(all_) - int(of_files)) * _PAGE


class Meter:
    """How much this process has grown since the meter was made, weights that it has mapped
    included, against a budget (bytes).

    ``tidy`` is called before each reading. The allocator keeps what was freed by rules that
    hang on all that went before, so that of equal models the first seems to take up to three
    times as much: a process with nothing else to do gives it back first.
    """

    def __init__(self, budget: int, tidy: Callable[[], None] = lambda: None) -> None:
        self.budget = budget
        self._tidy = tidy
        self._start = self._reading()

    @property
    def grown(self) -> int:
        return max(0, self._reading() - self._start)

    def _reading(self) -> int:
        self._tidy()
        return resident() + mapped_bytes()


class Ledger:
    """What all versions hold together. Safe from any thread."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._lock = threading.Lock()
        self._held = 0

    @property
    def held(self) -> int:
        """Bytes."""
        return self._held

    def reserve(self, size: int) -> Reservation:
        """Raises LoadError, to be tried later, while there is no room for it."""
        reservation = Reservation(self)
        reservation.resize(size)
        return reservation

    def change(self, by: int) -> None:
        """Take ``by`` bytes more, or give some back (negative). Raises as ``reserve`` does."""
        with self._lock:
            if by > 0 and self._held + by > self.total:
                held, total = words(self._held), words(self.total)
                raise LoadError(
                    f"there is no room for its {words(by)}: the versions loaded take {held} of"
                    f" the {total} for all together",
                    retry=Retry.LATER,
                )
            self._held += by


class Reservation:
    """Bytes held in a ledger, until released; also a context that releases where it fails."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.size = 0

    def resize(self, size: int) -> None:
        """Hold ``size`` bytes from now on; raises LoadError, and stays, where that is too much."""
        self._ledger.change(size - self.size)
        self.size = size

    def release(self) -> None:
        self.resize(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.release()
