"""The console put together, for who runs the gateway."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from serving.control.console.api import ConsoleApi, Rollouts
from serving.control.console.pages import Pages
from serving.control.console.predictions import Predictions
from serving.control.naming import Models
from serving.models.views import Changes, ModelView
from serving.observe.curves.keeper import Curves, Figures
from serving.observe.curves.memory import MemoryCurves
from serving.observe.recent_errors import RecentErrors
from serving.operations import Operation
from serving.settings import Settings


class Changing(Models, Protocol):
    def view(self, model: str) -> ModelView | None: ...
    def on_change(self, listener: Callable[[Changes], None]) -> None: ...


class Console:
    """``pages`` None: browsers get what others get."""

    def __init__(
        self,
        settings: Settings,
        source: Figures,
        models: Changing,
        rollouts: Rollouts,
        is_ready: Callable[[], bool],
        http_address: tuple[str, int],
        *,
        has_statistics: bool = False,
    ) -> None:
        most = settings.console.curve_versions
        self._curves = Curves(source, most, memory=MemoryCurves(models.views, most))
        self._errors = RecentErrors(lambda name: models.view(name) is not None)
        self.pages = Pages() if settings.console.enabled else None
        self._api = ConsoleApi(
            models,
            rollouts,
            self._curves,
            self._errors,
            lambda: (settings.name, is_ready()),
            http_address[1],
            max(1, settings.places.admin // 4),
            has_statistics,
        )
        self._predictions = Predictions(http_address, settings.limits.request_timeout_s)
        models.on_change(self._api.note)

    def note(self, record: Mapping[str, Any]) -> None:
        """One of the core's records, for the errors among them."""
        self._errors.note(record)

    def operations(self) -> tuple[Operation, ...]:
        return (*self._api.operations(), *self._predictions.operations())

    def start(self) -> None:
        self._curves.start()

    def stop(self) -> None:
        """Whoever follows the events is let go before the port closes."""
        self._api.stream.stop()
        self._curves.stop()
