"""Makes the core's route table out of the models' views, and publishes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from serving.models.views import ModelView
from serving.rollout.policy import plan

if TYPE_CHECKING:
    from serving import _core


def publish_to(server: _core.Server) -> Callable[[tuple[ModelView, ...]], None]:
    """A function that publishes a whole new route table; the manager calls it with every new set
    of views."""
    # Here, so that the rules can be read and tested without the built core.
    from serving import _core

    def publish(views: tuple[ModelView, ...]) -> None:
        plans = [plan(view) for view in views]
        server.publish(
            [
                _core.Route(p.model, p.versions, p.default, p.unavailable, p.reason, p.unloaded)
                for p in plans
            ]
        )

    return publish
