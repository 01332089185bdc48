"""Takes requests of answering versions from the hub of samples, for the gates of new ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from serving.gates.replay import Replay
from serving.gates.terms import terms_of
from serving.model_config.gates import GatesConfig
from serving.models.views import Changes, ModelView, VersionView
from serving.observe import families
from serving.observe.prometheus import Exposition
from serving.settings import Settings

if TYPE_CHECKING:
    from serving import _core

# Of the requests of a version of which enough are kept: they grow old.
_REFRESHED = 1 / 256


class ReplayTaker:
    """A subscriber: takes all requests of an answering version until enough are kept, few from then
    on, and none where no gate asks for them."""

    # They would be too many among the others.
    keeps_anomalies = False

    def __init__(
        self, settings: Settings, replay: Replay, given: Mapping[str, GatesConfig]
    ) -> None:
        self._settings, self._replay, self._given = settings, replay, given
        # The answering versions' queues, by model.
        self._queues: dict[str, _core.Queue] = {}
        self._models: dict[int, str] = {}
        # Models of which enough was told of.
        self._full: set[str] = set()
        self.on_full: Callable[[str], None] = lambda model: None

    def watch(self, changed: Changes) -> None:
        """See ``Subscriber``."""
        for name, view in changed.items():
            version = None if view is None else self._wanted(view)
            if self._replay.want(name, None if version is None else version.number):
                self._full.discard(name)
            before = self._queues.pop(name, None)
            if before is not None:
                self._models.pop(id(before), None)
            if version is not None and version.queue is not None:
                self._queues[name] = version.queue
                self._models[id(version.queue)] = name

    def _wanted(self, view: ModelView) -> VersionView | None:
        default = view.default
        version = next((one for one in view.versions if one.number == default), None)
        if version is None or version.facts.config is None:
            return None
        terms = terms_of(view.name, version.facts.config, self._settings, self._given)
        return version if terms is not None and terms.safe_to_serve else None

    def rate(self, version: VersionView) -> float:
        """See ``Subscriber``."""
        model = self._models.get(id(version.queue))
        if model is None:
            return 0.0
        return _REFRESHED if self._replay.is_full(model) else 1.0

    def begin(self) -> None:
        """See ``Subscriber``."""

    def keep(self, samples: Sequence[_core.Sample]) -> None:
        """See ``Subscriber``."""
        for sample in samples:
            self._replay.take(sample)
        for model in {sample.model for sample in samples} - self._full:
            if self._replay.is_full(model):
                self._full.add(model)
                self.on_full(model)

    def end(self) -> None:
        """See ``Subscriber``."""


def add_metrics(exposition: Exposition, replay: Replay) -> None:
    """Of each model of which a gate asks for requests."""
    exposition.add(
        families.REPLAY_REQUESTS,
        lambda: [({"model": model}, count) for model, count in replay.counts().items()],
    )
