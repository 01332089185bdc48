"""The steps by which a rollout's share grows, and what is wrong with some. Pure."""

from __future__ import annotations

from itertools import pairwise

WHOLE = 100
# Of one rollout.
MOST_STEPS = 100


def why_no_steps(shares: tuple[int, ...]) -> str | None:
    """What is wrong with shares in percent, in words; None: nothing."""
    if not shares or shares[-1] != WHOLE:
        return "the last step has to be 100, where the version is promoted"
    if any(not 0 < share <= WHOLE for share in shares):
        return "a step is a share in percent, 1 to 100"
    if any(later <= earlier for earlier, later in pairwise(shares)):
        return "each step has to be larger than the one before it"
    return None
