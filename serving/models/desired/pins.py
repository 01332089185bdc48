"""Says, once, which version a pin lets answer and which newer ones it holds back."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from serving.events import log
from serving.models.desired.on_disk import pinned_words


class Pins:
    """Used by the manager's loop only."""

    def __init__(self) -> None:
        # Model -> the pinned version, and what it was said to hold back.
        self._told: dict[str, tuple[int, frozenset[int]]] = {}

    def tell(self, model: str, pinned: int | None, held: Sequence[int]) -> None:
        """``pinned`` answers, and holds back ``held``; None: no pin answers."""
        if pinned is None:
            self._told.pop(model, None)
            return
        before = self._told.get(model, (0, frozenset[int]()))
        self._told[model] = (pinned, frozenset(held))
        known = before[1] if before[0] == pinned else frozenset[int]()
        news = [version for version in held if version not in known]
        if news:
            words = pinned_words(model, news, pinned)
            log.info("version_held_back", model=model, version=news[-1], reason=words)
        elif before[0] != pinned:
            log.info("version_pinned", model=model, version=pinned)

    def keep_only(self, models: Collection[str]) -> None:
        for model in self._told.keys() - set(models):
            del self._told[model]
