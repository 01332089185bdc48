"""The versions that are served, as the thread that makes statistics sees them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence

from serving.loading.facts import VersionFacts
from serving.models.views import Changes, ModelView, VersionView
from serving.observe.figures import Key
from serving.observe.statistics.columns import NO_FEATURES, Features, features_of

_MOST_LEFT = 1024


class Known:
    """``redact``: patterns of tensors of which nothing is kept, of all models. ``watch`` is called
    by one thread, the others by any."""

    def __init__(self, redact: Sequence[str]) -> None:
        self._redact = tuple(redact)
        self._views: dict[str, ModelView] = {}
        # Of versions that left lately: samples of what they answered still come.
        self._left: OrderedDict[Key, VersionFacts] = OrderedDict()
        # Of which facts, and what came of them; filled as samples come.
        self._features: dict[Key, tuple[VersionFacts, Features]] = {}

    def watch(self, changed: Changes) -> None:
        for name, view in changed.items():
            before = self._views.get(name)
            # In one step: others look meanwhile, and a model that changes is there all the time.
            if view is not None:
                self._views[name] = view
            else:
                self._views.pop(name, None)
            here = {one.number for one in view.versions} if view is not None else set()
            for one in before.versions if before is not None else ():
                if one.number not in here and one.facts.signature is not None:
                    self._left[name, one.number] = one.facts
        while len(self._left) > _MOST_LEFT:
            self._left.popitem(last=False)

    def view(self, model: str) -> ModelView | None:
        return self._views.get(model)

    def version(self, key: Key) -> VersionView | None:
        view = self._views.get(key[0])
        return next((one for one in view.versions if one.number == key[1]), None) if view else None

    def features(self, key: Key) -> Features:
        """None of a version that is long gone."""
        version = self.version(key)
        facts = version.facts if version is not None else self._left.get(key)
        if facts is None:
            return NO_FEATURES
        known = self._features.get(key)
        if known is None or known[0] is not facts:
            own = facts.config.request_log.redact if facts.config is not None else ()
            known = self._features[key] = facts, features_of(facts, (*self._redact, *own))
        return known[1]

    def forget_gone(self) -> None:
        # A copy, in one step: who reads statistics may look a version up meanwhile.
        for key in [key for key in list(self._features) if self.version(key) is None]:
            self._features.pop(key, None)
            self._left.pop(key, None)

    def bases(self, key: Key) -> Iterator[Key]:
        """Whom a version is compared with: the one that answers beside it where requests that name
        none are divided, or it is a shadow's."""
        view = self._views.get(key[0])
        if view is None or view.default is None or key[1] == view.default:
            return
        beside = {number for number, _ in (*view.route.weights, *view.route.shadows)}
        if key[1] in beside:
            yield key[0], view.default
