"""What is desired of each model, drawn from what is on disk and what commands said."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from serving.models.actual.disk import Disk
from serving.models.answering import Answering
from serving.models.desired.candidates import ModelTarget
from serving.models.desired.store import DesiredState


class Targets:
    """Of the models on disk, and of those whose files came with a command. Used by the manager's
    loop only. ``wall``: seconds since the epoch."""

    def __init__(
        self, disk: Disk, desired: DesiredState, answering: Answering, wall: Callable[[], float]
    ) -> None:
        self._disk, self._desired = disk, desired
        self._answering, self._wall = answering, wall
        self._targets: dict[str, ModelTarget] = {}
        # Whether a look at the start could see everything.
        self._begun = False

    def __contains__(self, model: str) -> bool:
        return model in self._targets

    def names(self) -> Collection[str]:
        return self._targets.keys()

    def all(self) -> Collection[ModelTarget]:
        return self._targets.values()

    def of(self, model: str) -> ModelTarget:
        """As last drawn; of a model that is not there, as it stands."""
        return self._targets.get(model) or self._draw(model)

    def clear(self) -> None:
        self._targets = {}

    def look(self, loaded: Collection[str]) -> set[str]:
        """Take up which models there are, and forget what is nowhere any more. ``loaded``: those
        that have slots. The models that are not on disk: they may be out of sight only, which is
        the source's to say."""
        names = {found.name for found in self._disk.models}
        if not self._begun:
            self._desired.begin(names)
            self._begun = not self._disk.unseen
        uploaded = self._desired.contents.uploaded().keys()
        self._desired.keep_only(names.union(loaded))
        self._answering.keep_only(names.union(loaded, uploaded))
        return set(loaded).union(uploaded) - names

    def redraw(self, model: str) -> None:
        """What is desired of the model may be another thing now."""
        found, withdrawn = self._disk.find(model), self._disk.is_withdrawn(model)
        self._desired.see(model, found, self._disk.unseen, withdrawn=withdrawn)
        self._desired.note_configured(model, self._wall())
        if self.is_there(model):
            self._targets[model] = self._draw(model)
        else:
            self._targets.pop(model, None)

    def is_there(self, model: str) -> bool:
        """Whether it is on disk, or its files came with a command."""
        if self._disk.find(model) is not None:
            return True
        return self._desired.contents.uploaded_of(model) is not None

    def _draw(self, model: str) -> ModelTarget:
        target = self._desired.target(model, self._disk.unseen, self._wall())
        aliases = replace(target.aliases, now=self._answering.named(model))
        return replace(target, held=self._answering.held(model), aliases=aliases)
