"""What a program is made of, in the order in which it starts; it stops in the reverse one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self


class Running(Protocol):
    def start(self) -> None: ...

    def stop(self) -> object: ...


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Part:
    """``start`` None: it is there from when it is made. ``stop`` is also asked of a part whose
    start failed, which may have come half the way."""

    name: str
    stop: Callable[[], object]
    start: Callable[[], None] | None = None

    @classmethod
    def of(cls, name: str, running: Running | None) -> Self:
        """None: what is off has nothing to start or stop."""
        return cls(name, _nothing) if running is None else cls(name, running.stop, running.start)


class Parts:
    """Started and stopped as a whole."""

    def __init__(self, *parts: Part) -> None:
        self._parts = parts
        self._to_stop = [part for part in parts if part.start is None]

    def start(self) -> None:
        """Where one fails, all that are there are stopped, and its error is raised."""
        try:
            for part in self._parts:
                if part.start is not None:
                    self._to_stop.append(part)
                    part.start()
        except BaseException:
            self._stop_all()
            raise

    def stop(self) -> None:
        """Stop those that were started, also after one that fails, whose error is raised then."""
        errors = self._stop_all()
        if errors:
            raise errors[0]

    def _stop_all(self) -> list[Exception]:
        errors: list[Exception] = []
        for part in reversed(self._parts):
            if part not in self._to_stop:
                continue
            try:
                part.stop()
            except Exception as error:  # noqa: BLE001 - the others are to stop all the same
                error.add_note(f"while '{part.name}' was stopped")
                errors.append(error)
        self._to_stop = []
        return errors
