"""Routes that a rollout has left which nobody knows any more: its document was lost, or can't be
read. Nobody would judge the version that has a part of the requests there. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from serving.models.views import ModelView

# A base and a candidate.
_BOTH = 2


def orphaned(views: Iterable[ModelView], known: Collection[str]) -> Iterator[tuple[str, int]]:
    """The models, and the version of each that is to have all again: only a rollout's own weights
    name their base beside the candidate. ``known``: models with a rollout."""
    for view in views:
        split = view.split
        if split.base is not None and len(split.weights) == _BOTH and view.name not in known:
            yield view.name, split.base
