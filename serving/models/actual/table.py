"""The core's route table, made of the models' views."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from serving.models.views import Changes, ModelView

if TYPE_CHECKING:
    from serving import _core


def publish_to(server: _core.Server) -> Callable[[Changes], None]:
    """A function that publishes a route table in which these models' routes are other than before;
    the manager calls it with every change of its views."""
    # Here, so that the loop can be tested without the built core.
    from serving import _core

    def publish(changed: Changes) -> None:
        routes = [_route(view) for view in changed.values() if view is not None]
        server.publish(routes, [name for name, view in changed.items() if view is None])

    def _route(view: ModelView) -> _core.Route:
        route = view.route
        return _core.Route(
            view.name,
            route.queues,
            route.default,
            unavailable=route.unavailable,
            reason=route.reason,
            unloaded=route.unloaded,
            aliases=route.aliases,
            weights=route.weights,
            sticky=route.sticky,
            shadows=route.shadows,
            beside=route.beside,
        )

    return publish
