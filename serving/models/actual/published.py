"""The newest views of all models: made by the manager's loop, published, read by any thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from serving.events import log
from serving.models.views import Changes, ModelView, VersionView

Views = tuple[ModelView, ...]


class PublishedViews:
    """``publish`` gets the views that changed, then the listeners do. ``show`` is for the loop,
    the rest for any thread."""

    def __init__(self, publish: Callable[[Changes], None]) -> None:
        self._publish = publish
        # Whether the newest views could be published.
        self.shown = False
        # Changed together under the lock; one of them alone is read without it.
        self._lock = threading.Lock()
        self._by_name: dict[str, ModelView] = {}
        # All of them, from when somebody asks until one changes.
        self._views: Views | None = ()
        self._unpublished: dict[str, ModelView | None] = {}
        self._listeners: tuple[Callable[[Changes], None], ...] = ()

    @property
    def views(self) -> Views:
        """By name; the same object as long as nothing changed."""
        with self._lock:
            if self._views is None:
                self._views = tuple(self._by_name[name] for name in sorted(self._by_name))
            return self._views

    def view(self, model: str) -> ModelView | None:
        return self._by_name.get(model)

    def lookup(self, model: str, version: int | None) -> VersionView | None:
        view = self._by_name.get(model)
        number = version if version is not None or view is None else view.default
        versions = view.versions if view is not None else ()
        return next((v for v in versions if v.number == number), None)

    def listen(self, listener: Callable[[Changes], None]) -> None:
        self._listeners = (*self._listeners, listener)

    def show(self, changed: Changes) -> None:
        """Publish these views in place of the models' former ones (None: the model is gone). What
        could not be published is published with the next call."""
        self._take_up(changed)
        self._unpublished.update(changed)
        try:
            self._publish(self._unpublished)
        except Exception:  # noqa: BLE001 - the old table goes on answering
            log.exception("publish_failed")
            return
        published, self._unpublished = self._unpublished, {}
        self.shown = True
        for listener in self._listeners:
            try:
                listener(published)
            except Exception:  # noqa: BLE001 - a listener's trouble is its own
                log.exception("listener_failed")

    def _take_up(self, changed: Mapping[str, ModelView | None]) -> None:
        with self._lock:
            for name, view in changed.items():
                if view is None:
                    self._by_name.pop(name, None)
                else:
                    self._by_name[name] = view
            if changed:
                self._views = None
