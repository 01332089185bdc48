"""What is known of promotions, and which verdicts are still to be written: bounded, and kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from serving.models.views import ModelView
from serving.write_back.judgement import Judgement
from serving.write_back.kept import Kept
from serving.write_back.promotion import Promotion, as_asked, routed
from serving.write_back.terms import Terms

# Promotions that are known, the last one of each model; the oldest go.
MOST_PROMOTIONS = 2000
# Judgements that wait at once; the oldest go.
MOST_JUDGEMENTS = 1000

Key = tuple[str, int]


class Book:
    """Safe from any thread. Promotions are kept before what changes them returns, judgements by
    ``keep_judgements``. ``terms``: what they do not ask for any more is not written."""

    def __init__(self, kept: Kept, terms: Terms) -> None:
        self._kept, self._terms = kept, terms
        self._lock = threading.Lock()
        self._promotions, judgements = self._read(kept)
        self._judgements = OrderedDict(judgements)
        # Of which what is kept is not what is known.
        self._unkept: set[Key] = set()

    def _read(self, kept: Kept) -> tuple[dict[str, Promotion], dict[Key, Judgement]]:
        promotions, judgements = kept.read()
        terms = self._terms
        asked = (as_asked(one, terms.alias, tags=bool(terms.tags)) for one in promotions.values())
        known = {one.model: one for one in asked if one is not None}
        return known, judgements if terms.verdicts else {}

    def take_over(self, kept: Kept) -> list[str]:
        """Keep all there from now on, with what another gateway has left there of what nothing is
        known of here. The models of which it left a promotion."""
        promotions, judgements = self._read(kept)
        with self._lock:
            self._kept = kept
            taken = [model for model in promotions if model not in self._promotions]
            for one in self._promotions.values():
                kept.write_promotion(one)
            self._promotions |= {model: promotions[model] for model in taken}
            ours = self._judgements
            self._judgements = OrderedDict(judgements) | ours
            self._unkept |= ours.keys()
        return taken

    # Promotions.

    def promotions(self) -> tuple[Promotion, ...]:
        """By model."""
        with self._lock:
            return tuple(self._promotions[model] for model in sorted(self._promotions))

    def knows(self, model: str) -> bool:
        return model in self._promotions

    def promote(self, model: str, made: Callable[[Promotion | None], Promotion]) -> None:
        """``made``: the promotion, of the one before it."""
        with self._lock:
            self._put(made(self._promotions.get(model)))
            if len(self._promotions) > MOST_PROMOTIONS:
                oldest = min(self._promotions.values(), key=lambda one: one.at)
                del self._promotions[oldest.model]
                self._kept.forget_promotion(oldest.model)

    def route(self, model: str, view: ModelView) -> bool:
        """The model's route may be another; whether that changes its promotion."""
        with self._lock:
            before = self._promotions.get(model)
            return before is not None and self._changed(before, routed(before, view))

    def replace(self, before: Promotion, after: Promotion) -> bool:
        """Whether ``before`` still is the model's promotion, so that it becomes ``after``."""
        with self._lock:
            if self._promotions.get(before.model) != before:
                return False
            self._changed(before, after)
            return True

    def _changed(self, before: Promotion, after: Promotion) -> bool:
        if after == before:
            return False
        self._put(after)
        return True

    def _put(self, one: Promotion) -> None:
        self._promotions[one.model] = one
        self._kept.write_promotion(one)

    # Judgements.

    def judgements(self) -> tuple[Judgement, ...]:
        """Those that wait, oldest first."""
        with self._lock:
            return tuple(self._judgements.values())

    def judge(self, one: Judgement) -> None:
        """In place of the one on the same version that waits."""
        key = (one.model, one.version)
        with self._lock:
            self._judgements[key] = one
            self._judgements.move_to_end(key)
            self._unkept.add(key)

    def written(self, one: Judgement) -> bool:
        """It waits no more; False: another one does by now."""
        key = (one.model, one.version)
        with self._lock:
            if self._judgements.get(key) is not one:
                return False
            del self._judgements[key]
            kept = self._kept
        kept.forget_judgement(*key)
        return True

    def keep_judgements(self) -> list[Key]:
        """On disk, too; of which versions they were given up, since too many wait."""
        dropped: list[Key] = []
        with self._lock:
            while len(self._judgements) > MOST_JUDGEMENTS:
                dropped.append(self._judgements.popitem(last=False)[0])
            unkept, self._unkept = self._unkept, set()
            waiting = [self._judgements[key] for key in unkept if key in self._judgements]
        for key in dropped:
            self._kept.forget_judgement(*key)
        for one in waiting:
            self._kept.write_judgement(one)
        return dropped
