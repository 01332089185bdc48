"""The control of models: their state, and the commands about them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.control import requests, routes, schemas
from serving.control.naming import Models, known, name_of, view_named, view_of
from serving.control.selection import Selection, select
from serving.control.status import failure
from serving.control.views import event_json, models_json, status_json
from serving.errors import ErrorCode, ServingError
from serving.models.commands.command import (
    AcceptVersion,
    BlessVersion,
    Command,
    LoadModel,
    Outcome,
    Rollback,
    SetAlias,
    SetDefault,
    Ticket,
    UnloadModel,
)
from serving.models.model_state import ModelState
from serving.models.state import Transition
from serving.operations import Operation
from serving.queries import query_of
from serving.rollout.route import RouteChange


class Commander(Models, Protocol):
    """Who carries out commands and remembers what happened; the manager is one."""

    def command(self, command: Command, by: str = "", reason: str = "") -> Ticket: ...
    def history(self, model: str) -> Sequence[Transition]: ...
    def route_history(self, model: str) -> Sequence[RouteChange]: ...


class ControlApi:
    """The operations under ``/api/v1/models``. The gate has been passed already."""

    def __init__(self, commander: Commander, most_waiting: int) -> None:
        """``most_waiting``: calls that wait for a command's end; each holds a connection of
        few."""
        self._commander = commander
        self._most_waiting = most_waiting
        self._waiting = 0

    def operations(self) -> tuple[Operation, ...]:
        base = "/api/v1/models/{name}"
        done: dict[int, type[BaseModel] | None] = {
            200: schemas.CommandAnswer,
            202: schemas.CommandAnswer,
        }
        return (
            Operation(
                *("GET", "/api/v1/models", "listModels"),
                "Models with their versions and states: all of them, a page, or what is asked for",
                self._list,
                {200: schemas.Models},
                query=schemas.ModelsQuery,
            ),
            Operation(
                *("GET", base, "modelStatus"),
                "One model",
                self._status,
                {200: schemas.ModelInfo},
            ),
            Operation(
                *("GET", f"{base}/history", "modelHistory"),
                "What happened to a model's versions lately, and which was to answer",
                self._history,
                {200: schemas.History},
            ),
            Operation(
                *("POST", f"{base}/load", "loadModel"),
                "Load what is on disk now, one version or what the version policy wants",
                partial(self._with_version, LoadModel),
                done,
                schemas.VersionBody,
            ),
            Operation(
                *("POST", f"{base}/unload", "unloadModel"),
                "Let go of one version, or of all of them, the last one too",
                partial(self._with_version, UnloadModel),
                done,
                schemas.VersionBody,
            ),
            Operation(
                *("POST", f"{base}/default", "setDefault"),
                "Pin the version that answers unnamed requests, or end the pin",
                self._default,
                done,
                schemas.DefaultBody,
            ),
            Operation(
                *("POST", f"{base}/accept", "acceptVersion"),
                "Let a version answer unnamed requests that was held back for its signature",
                self._accept,
                done,
                schemas.AcceptBody,
            ),
            Operation(
                *("POST", f"{base}/bless", "blessVersion"),
                "Let a version take traffic that its gates keep from it, with a reason",
                self._bless,
                done,
                schemas.BlessBody,
            ),
            Operation(
                *("POST", f"{base}/label", "setAlias"),
                "Give a version that answers another name, an alias; or take that away",
                self._label,
                done,
                schemas.AliasBody,
            ),
            Operation(
                *("POST", f"{base}/rollback", "rollback"),
                "Answer with the version that answered before, and pin it",
                self._rollback,
                done,
                schemas.ReasonBody,
            ),
            Operation(
                *("GET", f"{base}/route", "modelRoute"),
                "Which version of a model answers whom",
                self._route,
                {200: routes.RouteInfo},
            ),
            Operation(
                *("POST", f"{base}/route", "setRoute"),
                "Divide a model's requests among versions",
                self._set_route,
                done,
                routes.RouteBody,
            ),
            Operation(
                *("GET", f"{base}/route/history", "routeHistory"),
                "Who or what changed a model's route, when and why",
                self._route_history,
                {200: routes.RouteHistory},
            ),
        )

    async def _list(self, request: Request) -> Response:
        asked = query_of(request, schemas.ModelsQuery)
        return await run_in_threadpool(self._page, asked)

    def _page(self, asked: schemas.ModelsQuery) -> Response:
        """Written here too, in a thread: a thousand models are a megabyte."""
        views = self._commander.views()
        states = [ModelState(state) for state in asked.state]
        chosen = Selection(asked.name, states, asked.after or "", asked.limit)
        page = select(views, chosen)
        models = models_json(page.models)
        return JSONResponse({"models": models, "next": page.next, "total": len(views)})

    async def _status(self, request: Request) -> Response:
        view = await view_of(request, self._commander)
        return JSONResponse(await run_in_threadpool(status_json, view))

    def _model(self, name: str) -> dict[str, Any] | None:
        view = view_named(name, self._commander)
        return status_json(view) if view is not None else None

    async def _history(self, request: Request) -> Response:
        name = name_of(request)
        events = [event_json(event) for event in self._commander.history(name)]
        if not events:
            await known(name, self._commander)
        return JSONResponse({"name": name, "events": events})

    async def _with_version(
        self, kind: type[LoadModel | UnloadModel], request: Request
    ) -> Response:
        name, said = name_of(request), await requests.body(request, schemas.VersionBody)
        return await self._do(request, kind(name, said.version))

    async def _default(self, request: Request) -> Response:
        name, said = name_of(request), await requests.body(request, schemas.DefaultBody)
        version = None if said.version == "auto" else said.version
        return await self._do(request, SetDefault(name, version), said.reason)

    async def _accept(self, request: Request) -> Response:
        name, said = name_of(request), await requests.body(request, schemas.AcceptBody)
        return await self._do(request, AcceptVersion(name, said.version))

    async def _bless(self, request: Request) -> Response:
        name, said = name_of(request), await requests.body(request, schemas.BlessBody)
        return await self._do(request, BlessVersion(name, said.version, said.reason), said.reason)

    async def _label(self, request: Request) -> Response:
        name, said = name_of(request), await requests.body(request, schemas.AliasBody)
        return await self._do(request, SetAlias(name, said.alias, said.version), said.reason)

    async def _rollback(self, request: Request) -> Response:
        name = name_of(request)
        said = await requests.body(request, schemas.ReasonBody)
        return await self._do(request, Rollback(name), said.reason)

    async def _route(self, request: Request) -> Response:
        return JSONResponse(routes.route_json(await view_of(request, self._commander)))

    async def _set_route(self, request: Request) -> Response:
        name, said = name_of(request), await requests.body(request, routes.RouteBody)
        return await self._do(request, said.command(name), said.reason)

    async def _route_history(self, request: Request) -> Response:
        view = await view_of(request, self._commander)
        changes = [routes.change_json(one) for one in self._commander.route_history(view.name)]
        return JSONResponse({"name": view.name, "changes": changes})

    async def _do(self, request: Request, command: Command, reason: str = "") -> Response:
        seconds = requests.waiting(request).seconds
        if seconds and self._waiting >= self._most_waiting:
            raise ServingError(
                ErrorCode.FULL,
                "too many calls wait for their commands: use wait=false, or try later",
            )
        ticket = self._commander.command(command, client_of(request), reason)
        self._waiting += 1
        try:
            outcome = await outcome_of(ticket, seconds)
        finally:
            self._waiting -= 1
        if outcome is not None and not outcome.ok:
            raise failure(outcome)
        model = await run_in_threadpool(self._model, command.model)
        default = model["default"] if model is not None else None
        answer = {"done": outcome is not None, "default": default, "model": model}
        return JSONResponse(answer, status_code=202 if outcome is None else 200)


def client_of(request: Request) -> str:
    """Who asks, as far as the port knows: an address."""
    return request.client.host if request.client is not None else ""


async def outcome_of(ticket: Ticket, seconds: float) -> Outcome | None:
    """The command's outcome, or None when it did not come in time."""
    if not seconds:
        return ticket.wait(0)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def tell(_: Outcome) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits
            loop.call_soon_threadsafe(ended.set)

    ticket.on_done(tell)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(ended.wait(), seconds)
    return ticket.wait(0)
