"""What the gates' child says of a version, read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving.gates.verdict import Check, ReadCheck
from serving.strict import Count, Few, Strict, Text


class _Counts(Strict):
    recorded: Count
    own: Count
    generated: Count
    failed_there: Count = 0


class _Replayed(Strict):
    checks: Few[ReadCheck]
    counts: _Counts


class _Checks(Strict):
    checks: Few[ReadCheck]


class _Timed(Strict):
    checks: Few[ReadCheck]
    untimed: Text = ""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of the requests, and how many of each kind there were; ``failed_there``: on the
    answering version, so that they prove nothing."""

    checks: tuple[Check, ...]
    recorded: int
    own: int
    generated: int
    failed_there: int = 0

    @property
    def total(self) -> int:
        return self.recorded + self.own + self.generated

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Replayed:
        """Raises ValueError for anything that the child can't have meant."""
        read = _Replayed.read(dict(said), "what was replayed")
        checks = tuple(Check(**dict(check)) for check in read.checks)
        return cls(checks, **dict(read.counts))


@dataclass(frozen=True, slots=True)
class Timed:
    """``untimed``: why the answering version could not be timed, "" where it could."""

    checks: tuple[Check, ...]
    untimed: str

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Timed:
        """Raises as ``Replayed.of``."""
        read = _Timed.read(dict(said), "what was timed")
        return cls(tuple(Check(**dict(check)) for check in read.checks), read.untimed)


def checks_said(said: Mapping[str, Any]) -> tuple[Check, ...]:
    """Raises as ``Replayed.of``."""
    read = _Checks.read(dict(said), "what was looked at")
    return tuple(Check(**dict(check)) for check in read.checks)
