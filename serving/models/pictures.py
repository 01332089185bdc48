"""The newest picture of all models: drawn by the loop, published, and read by everyone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from serving.events import log
from serving.models.views import ModelView, VersionView

Views = tuple[ModelView, ...]


class Pictures:
    """``publish`` gets every new picture. ``show`` is the loop's, the rest anyone's."""

    def __init__(self, publish: Callable[[Views], None]) -> None:
        self._publish = publish
        # Whether the newest picture is drawn and published.
        self.shown = False
        # Swapped whole.
        self.views: Views = ()
        self._by_name: Mapping[str, ModelView] = {}
        self._listeners: tuple[Callable[[Views], None], ...] = ()

    def names(self) -> Iterable[str]:
        return self._by_name.keys()

    def lookup(self, model: str, version: int | None) -> VersionView | None:
        view = self._by_name.get(model)
        number = version if version is not None or view is None else view.default
        versions = view.versions if view is not None else ()
        return next((v for v in versions if v.number == number), None)

    def listen(self, listener: Callable[[Views], None]) -> None:
        self._listeners = (*self._listeners, listener)

    def show(self, changed: Mapping[str, ModelView | None]) -> None:
        """Publish with these models drawn anew (None: gone); again the next time when that
        fails."""
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
