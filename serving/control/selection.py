"""Which models a list is asked for: by name, by how they stand, and a page at a time. Pure."""

from __future__ import annotations

import fnmatch
import itertools
import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from serving.models.model_state import ModelState
from serving.models.reasons import Absence
from serving.models.state import PENDING, State
from serving.models.views import ModelView

# Kept from being served on purpose.
_MEANT = frozenset({Absence.BY_COMMAND, Absence.NOBODY_ASKED, Absence.BY_POLICY})


@dataclass(frozen=True, slots=True)
class Selection:
    """``names``: names or patterns (``*``, ``?``, ``[...]``) of which one has to match;
    ``states``: of which one has to be true; each of them empty: whatever it is. ``after``: only
    names behind this one. ``limit``: so many models at most, None: all."""

    names: Collection[str] = ()
    states: Collection[ModelState] = ()
    after: str = ""
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """``next``: the ``after`` of the page that follows; None: this was the last."""

    models: Sequence[ModelView]
    next: str | None


def select(views: Sequence[ModelView], asked: Selection) -> Page:
    """``views``: by name. A page begins behind a name, and not at a place in the list: a model
    that is there all the while is on one page exactly, whatever comes and goes meanwhile."""
    found = _matching(views, asked)
    if asked.limit is None:
        return Page(list(found), None)
    models = list(itertools.islice(found, asked.limit))
    more = next(found, None) is not None
    return Page(models, models[-1].name if more else None)


def _matching(views: Sequence[ModelView], asked: Selection) -> Iterator[ModelView]:
    begin = bisect_right(views, asked.after, key=lambda view: view.name)
    named, states = _matcher(asked.names), frozenset(asked.states)
    for view in map(views.__getitem__, range(begin, len(views))):
        if named(view.name) and (not states or states.intersection(model_states(view))):
            yield view


def _matcher(names: Collection[str]) -> Callable[[str], object]:
    if not names:
        return lambda _: True
    return re.compile("|".join(map(fnmatch.translate, names))).match


def model_states(view: ModelView) -> tuple[ModelState, ...]:
    """Which are true of the model: ``READY``, a version answers; ``LOADING``, one is on its way;
    ``FAILED``, one failed, or the model can't be made out; ``UNLOADED``, none of these."""
    states = {version.state for version in view.versions}
    true = {
        ModelState.READY: State.READY in states,
        ModelState.LOADING: bool(states & PENDING),
        ModelState.FAILED: State.FAILED in states or _cannot_be_made_out(view),
    }
    return tuple(state for state, holds in true.items() if holds) or (ModelState.UNLOADED,)


def _cannot_be_made_out(view: ModelView) -> bool:
    """Nothing of it is loaded, and nobody meant that."""
    meant = view.held_out or view.absence in _MEANT
    return not view.versions and bool(view.reason) and not meant
