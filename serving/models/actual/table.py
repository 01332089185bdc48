"""The core's route table, made of the models' views."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from serving.models.views import ModelView

if TYPE_CHECKING:
    from serving import _core


def publish_to(server: _core.Server) -> Callable[[tuple[ModelView, ...]], None]:
    """A function that publishes a whole new route table; the manager calls it with every new set
    of views."""
    # Here, so that the loop can be tested without the built core.
    from serving import _core

    def publish(views: tuple[ModelView, ...]) -> None:
        server.publish([_route(view) for view in views])

    def _route(view: ModelView) -> _core.Route:
        route = view.route
        return _core.Route(
            view.name,
            route.queues,
            route.default,
            unavailable=route.unavailable,
            reason=route.reason,
            unloaded=route.unloaded,
        )

    return publish
