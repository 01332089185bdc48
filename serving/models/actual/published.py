"""The newest views of all models: made by the manager's loop, published, read by any thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from serving.events import log
from serving.models.views import ModelView, VersionView

Views = tuple[ModelView, ...]


class PublishedViews:
    """``publish`` gets every new set of views, then the listeners do. ``show`` is for the loop,
    the rest for any thread."""

    def __init__(self, publish: Callable[[Views], None]) -> None:
        self._publish = publish
        # Whether the newest views could be published.
        self.shown = False
        # Replaced as a whole, so that readers need no lock.
        self.views: Views = ()
        self._by_name: Mapping[str, ModelView] = {}
        self._listeners: tuple[Callable[[Views], None], ...] = ()

    def lookup(self, model: str, version: int | None) -> VersionView | None:
        view = self._by_name.get(model)
        number = version if version is not None or view is None else view.default
        versions = view.versions if view is not None else ()
        return next((v for v in versions if v.number == number), None)

    def listen(self, listener: Callable[[Views], None]) -> None:
        self._listeners = (*self._listeners, listener)

    def show(self, changed: Mapping[str, ModelView | None]) -> None:
        """Publish all views, those of these models replaced (None: the model is gone). What could
        not be published is published with the next call."""
        drawn = {name: view for name, view in self._by_name.items() if name not in changed}
        drawn.update((name, view) for name, view in changed.items() if view is not None)
        self._by_name = drawn
        self.views = tuple(drawn[name] for name in sorted(drawn))
        try:
            self._publish(self.views)
        except Exception:  # noqa: BLE001 - the old table goes on answering
            log.exception("publish_failed")
            return
        self.shown = True
        for listener in self._listeners:
            try:
                listener(self.views)
            except Exception:  # noqa: BLE001 - a listener's trouble is its own
                log.exception("listener_failed")
