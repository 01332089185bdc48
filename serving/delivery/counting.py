"""Whose outputs and times the core counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from serving.delivery.measures import Key
from serving.delivery.windows import keys_of
from serving.rollout.canary import Rollout
from serving.rollout.rules import Rules

CountOutputs = Callable[[list[Key], list[Key], list[Key]], None]


class Counting:
    """``count_outputs``: see ``Rollouts``."""

    def __init__(self, count_outputs: CountOutputs) -> None:
        self._count_outputs = count_outputs
        self._counts = False

    def count(self, judged: Sequence[Rollout], rules_of: Callable[[str], Rules]) -> None:
        """Have those counted of rollouts that are judged by them, and of all how long requests
        take; of no others; a version that was loaded anew, too."""
        nonfinite, distributions, times = list[Key](), list[Key](), list[Key]()
        for rollout in judged:
            rules = rules_of(rollout.model)
            if rules.watches_drift:
                distributions += keys_of([rollout])
            elif rules.nonfinite:
                nonfinite += keys_of([rollout])
            else:
                times += keys_of([rollout])
        if judged or self._counts:
            self._count_outputs(nonfinite, distributions, times)
        self._counts = bool(judged)
