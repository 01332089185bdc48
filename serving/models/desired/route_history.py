"""Whose changes of routes are kept: a bounded number of each model, and of all together. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace

from serving.models.desired.overrides import MOST_CHANGES, Overrides
from serving.rollout.route import LONGEST_CHANGE, RouteChange

# Of all models: with 500 characters of a reason each they are two megabytes, nine where each is as
# long as one can be.
KEPT = 2048


def noted(current: Overrides, change: RouteChange) -> Overrides:
    """With the change as the last one."""
    change = replace(change, what=change.what[:LONGEST_CHANGE])
    return replace(current, changes=(*current.changes, change)[-MOST_CHANGES:])


class KeptChanges:
    """How many are kept of each model, the one that changed last at the end."""

    def __init__(self, overrides: Mapping[str, Overrides]) -> None:
        last = {
            model: current.changes[-1].at for model, current in overrides.items() if current.changes
        }
        self._counts = OrderedDict(
            (model, len(overrides[model].changes)) for model in sorted(last, key=last.__getitem__)
        )
        self._count = sum(self._counts.values())

    def put(self, model: str, count: int) -> list[str]:
        """So many are kept of the model now; the models whose changes go for that."""
        self._count += count - self._counts.pop(model, 0)
        if count:
            self._counts[model] = count
        lost = []
        while self._count > KEPT:
            oldest, fewer = self._counts.popitem(last=False)
            self._count -= fewer
            lost.append(oldest)
        return lost
