"""Who or what changed a model's route lately, when and why: kept across restarts, bounded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from serving.events import log
from serving.rollout.route import RouteChange
from serving.state_dir import StateDir
from serving.strict import Strict, StrictError, Text, few

# Of one model, and of all together: the document stays below a megabyte or two.
KEPT_OF_ONE = 64
KEPT = 2048
# The document's name in the state directory.
ROUTES = "routes"
_FORM = 1


class RouteHistory:
    """Written by the manager's loop; ``of`` may be asked from any thread."""

    def __init__(self, state: StateDir | None) -> None:
        # A model's changes, oldest first; the models in the order of their last one.
        self._changes: OrderedDict[str, tuple[RouteChange, ...]] = _read(state)
        self._count = sum(map(len, self._changes.values()))
        self._changed = False

    def of(self, model: str) -> tuple[RouteChange, ...]:
        """Oldest first."""
        return self._changes.get(model, ())

    def add(self, model: str, change: RouteChange) -> None:
        before = self._changes.pop(model, ())
        kept = (*before, change)[-KEPT_OF_ONE:]
        self._changes[model] = kept
        self._count += len(kept) - len(before)
        while self._count > KEPT:
            _, lost = self._changes.popitem(last=False)
            self._count -= len(lost)
        self._changed = True

    def join(self, state: StateDir) -> None:
        """What another gateway kept goes before what happened here."""
        ours, theirs = self._changes, _read(state)
        self._changes, self._count = OrderedDict(), 0
        for model, changes in (*theirs.items(), *ours.items()):
            for change in changes:
                if change not in self.of(model):
                    self.add(model, change)
        self._changed = True

    def save(self, state: StateDir) -> None:
        """Write it, if something was added."""
        if self._changed:
            self._changed = False
            state.write(ROUTES, _document(self._changes))


class _Change(Strict):
    at: Annotated[float, Field(ge=0, lt=1e12)]
    by: Text = ""
    what: Text
    reason: Text = ""


class _Document(Strict):
    form: Annotated[int, Field(ge=_FORM, le=_FORM)]
    models: Annotated[
        dict[str, Annotated[list[_Change], few(KEPT_OF_ONE)]],
        few(KEPT),
    ]


def _document(models: Mapping[str, tuple[RouteChange, ...]]) -> dict[str, Any]:
    return {
        "form": _FORM,
        "models": {
            model: [
                {"at": one.at, "by": one.by, "what": one.what, "reason": one.reason}
                for one in changes
            ]
            for model, changes in models.items()
        },
    }


def _read(state: StateDir | None) -> OrderedDict[str, tuple[RouteChange, ...]]:
    document = state.read(ROUTES) if state is not None else None
    if document is None:
        return OrderedDict()
    try:
        models = _Document.read(document, "it").models
    except StrictError as error:
        log.warning("state_ignored", name=ROUTES, reason=str(error))
        return OrderedDict()
    return OrderedDict(
        (model, tuple(RouteChange(one.at, one.by, one.what, one.reason) for one in changes))
        for model, changes in models.items()
    )
