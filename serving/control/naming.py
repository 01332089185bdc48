"""The model that a control call names, for all who answer about one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from serving.models.views import ModelView
from serving.protocols.views import decode_name, unknown_model

# Where the name stands in "/api/v1/models/NAME/...".
_NAME_AT = 4


class Models(Protocol):
    """Who knows all models; the manager does."""

    def views(self) -> Sequence[ModelView]: ...


def name_of(request: Request) -> str:
    """Out of the path as it was sent: the decoded one hides what was no UTF-8. Raises
    ServingError."""
    return decode_name(request.scope["raw_path"].decode("latin-1").split("/")[_NAME_AT])


def view_named(name: str, models: Models) -> ModelView | None:
    """None for one that nobody knows."""
    return next((view for view in models.views() if view.name == name), None)


async def view_of(request: Request, models: Models) -> ModelView:
    """Of the model that the path names. Raises ServingError for one that nobody knows."""
    return await known(name_of(request), models)


async def known(name: str, models: Models) -> ModelView:
    """Raises ServingError for one that nobody knows; to find names that are like it takes a while,
    so that is done in a thread."""
    found = view_named(name, models)
    if found is None:
        raise await run_in_threadpool(unknown_model, name, models.views())
    return found
