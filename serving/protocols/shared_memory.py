"""Triton's calls on shared memory: what a client may register, see and forget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from serving.authorization import Gate
from serving.errors import ErrorCode, ServingError
from serving.events import log
from serving.protocols.views import shown

DISABLED = (
    "Client shared memory is disabled: this server takes none (setting shared_memory.enabled)"
)


class Region(NamedTuple):
    """``key``: the shared memory object's; ``offset`` into it and ``byte_size``: in bytes."""

    name: str
    key: str
    offset: int
    byte_size: int


class Regions(Protocol):
    """Who has them; the core's server does. What is refused comes back as an error word and its
    words. An empty name stands for all."""

    def register_region(
        self, name: str, key: str, offset: int, byte_size: int
    ) -> tuple[str, str, str] | None: ...

    def unregister_region(self, name: str) -> None: ...

    def regions(self) -> Sequence[tuple[str, str, int, int]]: ...


class SharedMemory:
    """System shared memory of clients, as far as the settings allow it; and none of a GPU's."""

    def __init__(self, regions: Regions | None = None, gate: Gate | None = None) -> None:
        """Without both it is off."""
        self._regions, self._gate = regions, gate

    @property
    def works(self) -> bool:
        """Whether any region can be registered."""
        return self._regions is not None and self._gate is not None and not self._gate.shut

    def status(self, name: str) -> list[Region]:
        """The region of that name, or all where it is empty. Raises ServingError."""
        found = [Region(*one) for one in self._regions.regions()] if self._regions else []
        chosen = [one for one in found if name in ("", one.name)]
        if name and not chosen:
            raise _unknown("system", name)
        return chosen

    def register(
        self, headers: Mapping[str, str], name: str, key: str, offset: int, byte_size: int
    ) -> None:
        """Raises ServingError."""
        refusal = self.admit(headers).register_region(name, key, offset, byte_size)
        if refusal is not None:
            code, words, detail = refusal
            raise ServingError(ErrorCode(code), words, detail)
        log.info("region_registered", region=shown(name), bytes=byte_size)

    def unregister(self, headers: Mapping[str, str], name: str) -> None:
        """Of one that is not there nothing is left to do. Raises ServingError."""
        self.admit(headers).unregister_region(name)
        log.info("region_unregistered", region=shown(name))

    def cuda_status(self, name: str) -> list[Region]:
        """There is none. Raises ServingError where one is asked for."""
        if name:
            raise _unknown("cuda", name)
        return []

    def register_cuda(self, headers: Mapping[str, str], name: str) -> None:
        """Raises ServingError, always."""
        self.admit(headers)
        words = f"failed to register CUDA shared memory region: '{shown(name)}', GPUs not supported"
        raise ServingError(ErrorCode.BAD_REQUEST, words)

    def unregister_cuda(self, headers: Mapping[str, str]) -> None:
        """Raises ServingError where the caller may not."""
        self.admit(headers)

    def admit(self, headers: Mapping[str, str]) -> Regions:
        """To be asked before anything is changed. Raises ServingError."""
        if self._regions is None or self._gate is None:
            raise ServingError(ErrorCode.UNIMPLEMENTED, DISABLED)
        self._gate.check(headers)
        return self._regions


def _unknown(kind: str, name: str) -> ServingError:
    words = f"Unable to find {kind} shared memory region: '{shown(name)}'"
    return ServingError(ErrorCode.NOT_FOUND, words)
