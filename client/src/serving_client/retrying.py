"""When to ask again, and whom. Pure: what happened and what time it is are arguments."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

# A hint is spread by so much, that those who got it together don't come back together.
_HINT_SPREAD = 0.25
# A server that names a longer rest is asked again all the same: it may have been a mistake.
MAX_HINT_S = 60.0
# Time for a packet that is lost twice to be sent again.
CONNECT_S = 5.0


@dataclass(frozen=True, slots=True)
class Retry:
    """``attempts``: how often a call is tried in all, and at least once at each address.
    ``first_s``: the rest after a failure, doubled with each further one in a row, up to ``max_s``;
    in seconds. What the server says goes before both. Raises ValueError for what can't be meant.
    """

    attempts: int = 4
    first_s: float = 0.1
    max_s: float = 5.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts: at least 1, got {self.attempts}")
        if not 0 < self.first_s <= self.max_s:
            raise ValueError(f"0 < first_s <= max_s, got {self.first_s} and {self.max_s}")

    def rest_s(self, failures: int, hint: float | None, luck: float) -> float:
        """How long to leave an address alone after so many ``failures`` in a row (from 1).
        ``hint``: what the server said, in seconds; ``luck``: a random number in [0, 1)."""
        if hint is not None:
            return min(hint, MAX_HINT_S) * (1 + _HINT_SPREAD * luck)
        whole = min(self.max_s, self.first_s * 2.0 ** min(failures - 1, 30))
        return whole * (1 + luck) / 2


NO_RETRY = Retry(attempts=1)


def time_to_connect(left: float, addresses: int) -> float:
    """Of the seconds that are ``left``; one of several ``addresses`` leaves some for the others."""
    return min(CONNECT_S, left if addresses == 1 else left / 2)


class Rotation:
    """Addresses in turn; those that failed rest, and are passed over while another one doesn't.

    Its methods are called from many threads: what they change between them is one number each.
    """

    def __init__(self, count: int) -> None:
        self._turns = itertools.count()
        self._failures = [0] * count
        self._rests_until = [0.0] * count

    def __len__(self) -> int:
        return len(self._failures)

    def pick(self, now: float) -> int:
        """The next one that doesn't rest, else the one whose rest ends first."""
        count = len(self._failures)
        if count == 1:
            return 0
        turn = next(self._turns)
        for step in range(count):
            place = (turn + step) % count
            if self._rests_until[place] <= now:
                return place
        return min(range(count), key=self._rests_until.__getitem__)

    def rest_left(self, place: int, now: float) -> float:
        return max(0.0, self._rests_until[place] - now)

    def answered(self, place: int) -> None:
        if self._failures[place]:
            self._failures[place] = 0
            self._rests_until[place] = 0.0

    def failed(self, place: int, now: float) -> int:
        """How often in a row it has failed now. What fails while it rests was asked together with
        what made it rest, and counts as the same failure."""
        if self._rests_until[place] <= now:
            self._failures[place] += 1
        return max(1, self._failures[place])

    def rests(self, place: int, until: float) -> None:
        """Until then, or until what another call heard, whichever is later."""
        self._rests_until[place] = max(self._rests_until[place], until)


def pause_before_next(
    rotation: Rotation, retry: Retry, tried: int, now: float, deadline: float
) -> float | None:
    """Seconds to wait before the next attempt, after ``tried`` ones; None where there is to be
    none: all attempts were made, or its time would come after the deadline."""
    if tried >= max(retry.attempts, len(rotation) if retry.attempts > 1 else 1):
        return None
    pause = min(rotation.rest_left(place, now) for place in range(len(rotation)))
    return pause if now + pause < deadline else None
