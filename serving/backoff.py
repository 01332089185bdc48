"""How long to wait after something failed: twice as long each time, up to a limit. Pure."""

from __future__ import annotations

# Beyond it a float has no larger power of two.
_MOST_DOUBLINGS = 64


def wait_s(failed: int, first: float, longest: float, chance: float = 1.0) -> float:
    """Seconds until the next try after so many failed in turn: ``first`` after one.

    ``chance``, 0 to 1, shortens it to half at most, so that many don't come back together.
    """
    wait = min(longest, first * 2.0 ** min(max(failed - 1, 0), _MOST_DOUBLINGS))
    return wait * (0.5 + 0.5 * chance)
