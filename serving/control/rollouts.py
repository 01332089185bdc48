"""The control of rollouts: how they stand, and the commands about them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.control import requests, schemas
from serving.control import rollout_schemas as forms
from serving.control.api import client_of, outcome_of
from serving.control.naming import Models, known, name_of
from serving.control.status import failure
from serving.delivery.book import Given
from serving.delivery.requested import Start, Verb
from serving.errors import ErrorCode, ServingError
from serving.models.commands.command import SUPERSEDED
from serving.operations import Operation
from serving.rollout import features
from serving.rollout.canary import Rollout
from serving.rollout.drift import Compared, Drift, thresholds
from serving.rollout.evidence import missing
from serving.rollout.features import Features
from serving.rollout.figures import Answers
from serving.rollout.rules import Rules

_SUMMARIES: dict[Verb, str] = {
    "pause": "Keep a rollout where it is; what is too bad is rolled back all the same",
    "resume": "Let a paused rollout go on",
    "promote": "Have a rollout's version answer all requests now, whatever the judge says",
    "abort": "End a rollout: the version from before answers all requests",
}


class Controller(Protocol):
    """Who carries rollouts out."""

    def all(self) -> Sequence[Rollout]: ...
    def of(self, model: str) -> Rollout | None: ...
    def begin(self, asked: Start) -> Given: ...
    def change(self, model: str, verb: Verb, by: str) -> Given: ...
    def rules_of(self, model: str) -> Rules: ...


class RolloutApi:
    """The operations about rollouts. The gate has been passed already."""

    def __init__(self, controller: Controller, models: Models) -> None:
        self._controller, self._models = controller, models

    def operations(self) -> tuple[Operation, ...]:
        base = "/api/v1/models/{name}/rollout"
        done: dict[int, type[BaseModel] | None] = {
            200: forms.RolloutAnswer,
            202: forms.RolloutAnswer,
        }
        return (
            Operation(
                *("GET", "/api/v1/rollouts", "listRollouts"),
                "The last rollout of each model, how far it is and why",
                self._list,
                {200: forms.RolloutList},
            ),
            Operation(
                *("GET", base, "rolloutStatus"),
                "A model's last rollout",
                self._status,
                {200: forms.RolloutInfo},
            ),
            Operation(
                *("POST", f"{base}/start", "startRollout"),
                "Have a version take over step by step, judged against the one that answers",
                self._start,
                done,
                forms.StartBody,
            ),
            *(
                Operation(
                    *("POST", f"{base}/{verb}", f"{verb}Rollout"),
                    summary,
                    partial(self._change, verb),
                    done,
                    schemas.ReasonBody,
                )
                for verb, summary in _SUMMARIES.items()
            ),
        )

    async def _list(self, _: Request) -> Response:
        found = await run_in_threadpool(self._controller.all)
        return JSONResponse({"rollouts": [self._told(one) for one in found]})

    async def _status(self, request: Request) -> Response:
        name = name_of(request)
        found = await run_in_threadpool(self._controller.of, name)
        if found is None:
            await known(name, self._models)
            raise ServingError(ErrorCode.NOT_FOUND, f"no rollout of '{name}' is known")
        return JSONResponse(self._told(found))

    def _told(self, rollout: Rollout) -> dict[str, Any]:
        return rollout_json(rollout, self._controller.rules_of(rollout.model))

    async def _start(self, request: Request) -> Response:
        name, said = name_of(request), await requests.body(request, forms.StartBody)
        await known(name, self._models)
        asked = Start(
            model=name,
            candidate=said.version,
            base=said.base,
            shares=None if said.steps is None else tuple(said.steps),
            every_s=said.every,
            min_requests=said.min_requests,
            sticky=said.sticky,
            by=client_of(request),
        )
        seconds = requests.waiting(request).seconds
        return await self._answer(await run_in_threadpool(self._controller.begin, asked), seconds)

    async def _change(self, verb: Verb, request: Request) -> Response:
        name = name_of(request)
        said = await requests.body(request, schemas.ReasonBody)
        await known(name, self._models)
        seconds, by = requests.waiting(request).seconds, client_of(request)
        by += f": {said.reason}" if said.reason else ""
        given = await run_in_threadpool(self._controller.change, name, verb, by)
        return await self._answer(given, seconds)

    async def _answer(self, given: Given, seconds: float) -> Response:
        """Once the route is set, or that failed."""
        until = time.monotonic() + seconds
        done = True
        for ticket in given.tickets:
            outcome = await outcome_of(ticket, max(0.0, until - time.monotonic()))
            # The rollout's next step may have set the route anew meanwhile.
            failed = outcome is not None and not outcome.ok and outcome.message != SUPERSEDED
            if outcome is not None and failed and not await self._is_set(given.rollout):
                raise failure(outcome)
            done = done and outcome is not None
        now = await self._now(given.rollout)
        answer = {"done": done, "rollout": self._told(now)}
        return JSONResponse(answer, status_code=200 if done else 202)

    async def _now(self, rollout: Rollout) -> Rollout:
        return await run_in_threadpool(self._controller.of, rollout.model) or rollout

    async def _is_set(self, rollout: Rollout) -> bool:
        """Whether the route is as the rollout wants it, or by now wants it: then what failed is a
        version that can't be loaded, or not yet, and that is told by the rollout."""
        wanted = (rollout.weights, (await self._now(rollout)).weights)
        views = (view for view in self._models.views() if view.name == rollout.model)
        return any(dict(view.split.weights) in wanted for view in views)


def rollout_json(rollout: Rollout, rules: Rules) -> dict[str, Any]:
    evidence = rollout.evidence
    return {
        "model": rollout.model,
        "version": rollout.candidate,
        "base": rollout.base,
        "phase": rollout.phase.value,
        "share": rollout.share,
        "step": rollout.step + 1,
        "steps": list(rollout.steps.shares),
        "every": rollout.steps.every_s,
        "min_requests": rollout.steps.min_requests,
        "sticky": rollout.sticky,
        "reason": rollout.reason,
        "by": rollout.by,
        "spent": rollout.spent_s,
        "answered": rollout.answered,
        "proof": 1 - missing(evidence, rules),
        "started": rollout.started,
        "changed": rollout.changed,
        "drift": _drift_json(evidence.drift, rules),
        "canary": _answers_json(evidence.canary),
        "base_answers": _answers_json(evidence.base),
    }


def _answers_json(answers: Answers) -> dict[str, Any]:
    return {
        "requests": answers.requests,
        "errors": dict(answers.errors),
        "inspected": answers.inspected,
        "nonfinite": answers.nonfinite,
    }


def _drift_json(drift: Drift, rules: Rules) -> dict[str, Any]:
    """Of those distributions that are compared."""
    told: dict[str, Any] = {}
    for name, most in thresholds(rules).items():
        found: Compared = getattr(drift, name)
        last = found.last
        told[name] = {
            "allowed": most,
            "apart": None if last is None else last.apart,
            "chance": None if last is None else min(1.0, last.chance),
            "answers": int(found.worth),
            "needed": rules.drift_count,
            "feature": None,
        }
    return told | _features_json(drift.features, rules)


def _features_json(found: Features, rules: Rules) -> dict[str, Any]:
    """Of what statistics are compared of."""
    told: dict[str, Any] = {}
    for name, most in features.thresholds(rules).items():
        one = (found.last.farthest or {}).get(name) if found.last is not None else None
        told[name] = {
            "allowed": most,
            "apart": None if one is None else one.distance,
            "chance": None if one is None else one.distance - one.sure,
            "answers": found.now.requests,
            "needed": rules.drift_count,
            "feature": None if one is None else one.feature,
        }
    return told
