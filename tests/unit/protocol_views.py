"""Views of models as the manager would show them, and a call that records its answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from serving.errors import ErrorCode
from serving.loading.facts import VersionFacts
from serving.model_config import ModelConfig
from serving.models.actual.routes import route_of
from serving.models.state import State
from serving.models.views import ModelView, VersionView
from serving.protocols import grpc_calls
from serving.protocols.call_context import CallContext
from serving.protocols.calls import answer_call
from serving.protocols.repository import RepositoryControl
from serving.registry.folder_origin import FolderOrigin
from serving.signature import LeftOut, Signature, Tensor

SIGNATURE = Signature(
    inputs=(Tensor("x", "FP32", (-1, 4)), Tensor("k", "INT64", (), optional=True)),
    outputs=(Tensor("y", "BYTES", (-1,)),),
    left_out=(LeftOut("probabilities", "seq(map(int64,tensor(float)))"),),
)


FACTS = VersionFacts(
    config=ModelConfig(),
    signature=SIGNATURE,
    batching="unbatched: input 'k' has no dynamic axis 0",
    provider="CPUExecutionProvider",
    provider_nodes={"CPUExecutionProvider": 3},
    threads=1,
    instances=1,
    load_seconds=0.1,
)


class Counted:
    """Counters as the core gives them."""

    def __init__(self, counted: Mapping[str, Any]) -> None:
        self._counted = counted

    def snapshot(self) -> dict[str, Any]:
        return dict(self._counted)


def version(number: int, **more: Any) -> VersionView:
    """A READY version; ``more`` replaces fields, those of its facts too."""
    known = {one.name for one in fields(VersionFacts)}
    given: dict[str, Any] = {
        "number": number,
        "state": State.READY,
        "facts": replace(FACTS, **{key: more.pop(key) for key in known & more.keys()}),
        "ready_since": 1.0,
        "stats": Counted({}),
        # Only its presence is read: a version without one does not answer.
        "queue": object(),
        "origin": FolderOrigin(Path("m") / str(number)),
    }
    return VersionView(**{**given, **more})


def failed(number: int, reason: str) -> VersionView:
    return VersionView(number, State.FAILED, FolderOrigin(Path("m") / str(number)), reason)


def model(name: str, *versions: VersionView, reason: str = "") -> ModelView:
    ready = [v.number for v in versions if v.state is State.READY]
    route = route_of(versions, max(ready, default=None), reason)
    return ModelView(name, versions, route, reason)


class Models:
    """A directory of models that does not change."""

    def __init__(self, *views: ModelView) -> None:
        self._views = views

    def views(self) -> tuple[ModelView, ...]:
        return self._views

    def view(self, model: str) -> ModelView | None:
        return next((view for view in self._views if view.name == model), None)


@dataclass
class RecordedCall:
    """Stands in for the core's: it keeps what it is answered with."""

    protocol: Literal["grpc", "http"]
    method: str
    path: str = ""
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    request_id: str | None = None
    service: str = grpc_calls.SERVICE
    answer: bytes | None = None
    failure: tuple[str, str, str] | None = None

    def hold(self, more: int) -> bool:
        return True

    def is_awaited(self) -> bool:
        return self.answer is None and self.failure is None

    def respond(self, body: bytes) -> bool:
        assert self.answer is None
        assert self.failure is None
        self.answer = body
        return True

    def fail(self, word: str, message: str, detail: str = "") -> bool:
        assert self.answer is None
        assert self.failure is None
        self.failure = (ErrorCode(word), message, detail)
        return True


def call(
    models: Any, recorded: RecordedCall, control: RepositoryControl | None = None
) -> RecordedCall:
    """Answered, unless it waits for a command's end."""
    answer_call(recorded, CallContext(models, "serving", control))
    return recorded


def http(models: Any, method: str, path: str, body: bytes = b"") -> Any:
    """The decoded JSON; or the error as (word, message)."""
    done = call(models, RecordedCall("http", method, path, body))
    if done.failure is not None:
        return done.failure[:2]
    assert done.answer is not None
    return json.loads(done.answer)
