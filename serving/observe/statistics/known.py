"""The versions that are served, as the thread that makes statistics sees them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from serving.loading.facts import VersionFacts
from serving.models.views import Changes, ModelView, VersionView
from serving.observe.figures import Key
from serving.observe.statistics.columns import NO_FEATURES, Features, features_of


class Known:
    """``redact``: patterns of tensors of which nothing is kept, of all models. ``watch`` is called
    by one thread, the others by any."""

    def __init__(self, redact: Sequence[str]) -> None:
        self._redact = tuple(redact)
        self._views: dict[str, ModelView] = {}
        # Of which facts, and what came of them; filled as samples come.
        self._features: dict[Key, tuple[VersionFacts, Features]] = {}

    def watch(self, changed: Changes) -> None:
        for name, view in changed.items():
            if view is None:
                self._views.pop(name, None)
            else:
                self._views[name] = view

    def view(self, model: str) -> ModelView | None:
        return self._views.get(model)

    def version(self, key: Key) -> VersionView | None:
        view = self._views.get(key[0])
        return next((one for one in view.versions if one.number == key[1]), None) if view else None

    def features(self, key: Key) -> Features:
        """None of a version that is gone."""
        version = self.version(key)
        if version is None:
            self._features.pop(key, None)
            return NO_FEATURES
        known = self._features.get(key)
        if known is None or known[0] is not version.facts:
            config = version.facts.config
            own = config.request_log.redact if config is not None else ()
            known = version.facts, features_of(version.facts, (*self._redact, *own))
            self._features[key] = known
        return known[1]

    def forget_gone(self) -> None:
        for key in [key for key in self._features if self.version(key) is None]:
            self._features.pop(key, None)

    def bases(self, key: Key) -> Iterator[Key]:
        """Whom a version is compared with: the one that answers beside it where requests that name
        none are divided, or it is a shadow's."""
        view = self._views.get(key[0])
        if view is None or view.default is None or key[1] == view.default:
            return
        beside = {number for number, _ in (*view.route.weights, *view.route.shadows)}
        if key[1] in beside:
            yield key[0], view.default
