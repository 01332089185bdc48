"""How far a feature is from what it is compared with. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from serving.observe.statistics.damaged import DamagedError

# From the version's baseline; from the window before; from the version that answers beside it.
Kind = Literal["skew", "drift", "versions"]
KINDS: tuple[Kind, ...] = ("skew", "drift", "versions")


@dataclass(frozen=True, slots=True)
class Distance:
    """``distance``: None where one side has nothing to compare; ``threshold``: None where none is
    set; ``measure``: how it is measured; ``samples``: rows of the window; ``too_few``: so few that
    nothing follows of it. ``at``: the window's end, in seconds since the epoch."""

    name: str
    kind: Kind
    distance: float | None
    threshold: float | None
    measure: str
    samples: int
    too_few: bool
    at: float
    window: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, given: Any) -> Self:
        """Raises DamagedError."""
        try:
            if given["kind"] not in KINDS:
                raise ValueError("it is of no kind that is known")
            return cls(
                name=str(given["name"]),
                kind=given["kind"],
                distance=_number(given["distance"]),
                threshold=_number(given["threshold"]),
                measure=str(given["measure"]),
                samples=int(given["samples"]),
                too_few=bool(given["too_few"]),
                at=float(given["at"]),
                window=str(given["window"]),
            )
        except (ValueError, LookupError, TypeError, OverflowError) as error:
            raise DamagedError("a distance that was kept can't be read") from error


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
