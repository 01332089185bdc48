"""The console's calls, which are for everybody: an overview, curves, and what changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from serving import __version__
from serving.control.console import forms, overview
from serving.control.console.stream import Listener, Stream
from serving.control.naming import Models, known, name_of
from serving.control.rollouts import rollout_json
from serving.control.selection import Selection, select
from serving.models.model_state import ModelState
from serving.models.views import Changes, ModelView
from serving.observe.curves import levels
from serving.observe.curves.keeper import Curves
from serving.observe.curves.ring import SPANS, columns
from serving.observe.figures import Key
from serving.observe.recent_errors import RecentErrors
from serving.operations import Operation
from serving.queries import query_of
from serving.rollout.canary import Rollout
from serving.rollout.rules import Rules

# Rollouts that one event tells of.
_MOST_ROLLOUTS = 50


class Rollouts(Protocol):
    def all(self) -> Sequence[Rollout]: ...
    def rules_of(self, model: str) -> Rules: ...


class ConsoleApi:
    """The gate has been passed already. ``about``: the server's name and whether it is ready;
    ``http_port``: where models answer; ``most_listeners``: clients of the stream, each of which
    holds a connection of few."""

    def __init__(
        self,
        models: Models,
        rollouts: Rollouts,
        curves: Curves,
        errors: RecentErrors,
        about: Callable[[], tuple[str, bool]],
        http_port: int,
        most_listeners: int,
        has_statistics: bool = False,
    ) -> None:
        self._models, self._rollouts, self._curves = models, rollouts, curves
        self._errors, self._about, self._http_port = errors, about, http_port
        self._has_statistics = has_statistics
        self.stream = Stream(most_listeners, self._told_rollouts)
        curves.on_step = self._stepped

    def note(self, changed: Changes) -> None:
        """A listener of the models' views."""
        self.stream.note("models", changed.keys())

    def _stepped(self, keys: Collection[Key]) -> None:
        self.stream.note("figures", {model for model, _ in keys})

    def operations(self) -> tuple[Operation, ...]:
        return (
            Operation(
                *("GET", "/api/v1/overview", "overview"),
                "Models at a glance: who answers, how fast and how well, a page at a time",
                self._overview,
                {200: forms.Overview},
                query=forms.OverviewQuery,
            ),
            Operation(
                *("GET", "/api/v1/curves", "curves"),
                "What a model's versions did and took in the last hour or day, step by step",
                self._curves_of,
                {200: forms.CurvesAnswer},
                query=forms.CurvesQuery,
            ),
            Operation(
                *("GET", "/api/v1/models/{name}/errors", "modelErrors"),
                "The last errors that a model's clients were told",
                self._errors_of,
                {200: forms.ModelErrors},
            ),
            Operation(
                *("GET", "/api/v1/events/stream", "eventStream"),
                "What changes, as server-sent events: `models` and `figures` name models that are"
                " worth another look (`more`: not all of them), `rollouts` has those under way",
                self._stream,
                {200: None},
                query=forms.StreamQuery,
            ),
        )

    async def _overview(self, request: Request) -> Response:
        asked = query_of(request, forms.OverviewQuery)
        return await run_in_threadpool(self._page, asked)

    def _page(self, asked: forms.OverviewQuery) -> Response:
        views, figures = self._models.views(), self._curves.now()
        rollouts = {one.model: one for one in self._rollouts.all() if one.under_way}
        states = [ModelState(state) for state in asked.state]
        page = select(views, Selection(asked.name, states, asked.after or "", asked.limit))
        name, ready = self._about()
        return JSONResponse(
            {
                "at": time.time(),
                "name": name,
                "version": __version__,
                "ready": ready,
                "http_port": self._http_port,
                "statistics": self._has_statistics,
                "counts": overview.counts_json(views),
                **overview.rates_json(figures),
                "models": [
                    self._model(view, figures, rollouts.get(view.name)) for view in page.models
                ],
                "next": page.next,
            }
        )

    def _model(self, view: ModelView, figures: Any, rollout: Rollout | None) -> dict[str, Any]:
        told = self._rollout_json(rollout) if rollout is not None else None
        return {**overview.model_json(view, figures, rollout), "rollout": told}

    async def _curves_of(self, request: Request) -> Response:
        asked = query_of(request, forms.CurvesQuery)
        answer, is_empty = await run_in_threadpool(self._curves_answer, asked)
        if is_empty:
            await known(asked.model, self._models)
        return answer

    def _curves_answer(self, asked: forms.CurvesQuery) -> tuple[Response, bool]:
        """And whether nothing is known of the model's past."""
        span = SPANS[asked.span]
        found = self._curves.of(asked.model, span)
        memory = self._curves.memory_of(asked.model, span)
        answer = JSONResponse(
            {
                "model": asked.model,
                "span": span.name,
                "step_s": span.step_s,
                "end": time.time(),
                "curves": [
                    {"version": version, **columns(found[version], span)}
                    for version in _chosen(found, asked.version)
                ],
                "memory": [
                    {
                        "version": version,
                        "measured": memory[version].measured,
                        **levels.columns(memory[version].changes, span),
                    }
                    for version in _chosen(memory, asked.version)
                ],
            }
        )
        return answer, not found and not memory

    async def _errors_of(self, request: Request) -> Response:
        name = name_of(request)
        found = [asdict(one) for one in self._errors.of(name)]
        if not found:
            await known(name, self._models)
        return JSONResponse({"name": name, "errors": found})

    async def _stream(self, request: Request) -> Response:
        asked = query_of(request, forms.StreamQuery)
        listener = self.stream.follow()
        return _Followed(self.stream, listener, asked.seconds)

    def _told_rollouts(self) -> dict[str, Any]:
        under_way = [one for one in self._rollouts.all() if one.under_way]
        told = [self._rollout_json(one) for one in under_way[:_MOST_ROLLOUTS]]
        return {"rollouts": told, "more": len(under_way) > len(told)}

    def _rollout_json(self, rollout: Rollout) -> dict[str, Any]:
        return rollout_json(rollout, self._rollouts.rules_of(rollout.model))


def _chosen(versions: Collection[int], one: int | None) -> list[int]:
    """The newest, or the one that was asked for."""
    if one is not None:
        return [one] if one in versions else []
    return sorted(versions)[-forms.MOST_CURVES :]


class _Followed(StreamingResponse):
    """Gives the listener's place back however it ends, also where the client left before its first
    event."""

    def __init__(self, stream: Stream, listener: Listener, seconds: float | None) -> None:
        super().__init__(
            stream.events(listener, seconds),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )
        self._stream, self._listener = stream, listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._stream.leave(self._listener)
