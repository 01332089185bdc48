"""One inference in each form that it may have, told in the same words: gRPC with raw and with
typed contents, HTTP with JSON and with binary tensors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc
import numpy as np

from tests.clients import oip
from tests.clients.gateway import Gateway
from tests.clients.triton import channel, stub

# As docs/behaviour.md pairs them.
CODES = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


@dataclass(frozen=True)
class Question:
    """``id`` is the message's, ``request_id`` the header's."""

    model: str
    inputs: Mapping[str, np.ndarray]
    datatypes: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    outputs: Iterable[str] = ()
    parameters: Mapping[str, object] = field(default_factory=dict)
    id: str = ""
    request_id: str = ""


@dataclass(frozen=True)
class Answer:
    """``arrays``: in the order in which they came."""

    model: str
    version: str
    id: str
    arrays: dict[str, np.ndarray]
    request_id: str


class RefusedError(Exception):
    """``code``: gRPC's name, also of an HTTP status."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


class Form(Protocol):
    def __call__(self, gateway: Gateway, question: Question, /) -> Answer: ...


def over_raw(gateway: Gateway, question: Question, /, typed: bool = False) -> Answer:
    request = oip.grpc_request(
        question.model,
        question.inputs,
        datatypes=question.datatypes,
        typed=typed,
        outputs=question.outputs,
        version=question.version,
        request_id=question.id,
        parameters=question.parameters,
    )
    metadata = [("x-request-id", question.request_id)] if question.request_id else []
    with channel(gateway) as one:
        try:
            said, call = stub(one).ModelInfer.with_call(request, timeout=20, metadata=metadata)
        except grpc.RpcError as error:
            raise RefusedError(error.code().name, error.details()) from None
        told = dict(call.initial_metadata()) | dict(call.trailing_metadata())
    # However a request came: this is the smaller form.
    assert not any(output.HasField("contents") for output in said.outputs)
    arrays, request_id = oip.grpc_arrays(said), told.get("x-request-id", "")
    return Answer(said.model_name, said.model_version, said.id, arrays, request_id)


def over_typed(gateway: Gateway, question: Question, /) -> Answer:
    return over_raw(gateway, question, typed=True)


def over_json(gateway: Gateway, question: Question, /) -> Answer:
    datatypes = question.datatypes
    described = [oip.json_input(k, v, datatypes.get(k)) for k, v in question.inputs.items()]
    body = {"inputs": described, "parameters": question.parameters, **_head(question)}
    answer = _posted(gateway, question, json.dumps(body).encode(), {})
    return _answer(answer.json(), oip.json_arrays(answer.json()), answer.headers)


def over_binary(gateway: Gateway, question: Question, /) -> Answer:
    parameters = {"binary_data_output": True, **question.parameters}
    inputs, datatypes = question.inputs, question.datatypes
    body, headers = oip.binary_body(inputs, datatypes, parameters=parameters, **_head(question))
    answer = _posted(gateway, question, body, headers)
    # Absent where no tensor has a byte: then all of it is the head.
    length = answer.headers.get("inference-header-content-length", len(answer.body))
    head = json.loads(answer.body[: int(length)])
    return _answer(head, oip.binary_arrays(answer.body, answer.headers), answer.headers)


def _head(question: Question) -> dict[str, Any]:
    named = [{"name": name} for name in question.outputs]
    return {**({"id": question.id} if question.id else {}), **({"outputs": named} if named else {})}


def _posted(gateway: Gateway, question: Question, body: bytes, headers: dict[str, str]) -> Any:
    version = f"/versions/{question.version}" if question.version else ""
    if question.request_id:
        headers = {**headers, "X-Request-Id": question.request_id}
    path = f"/v2/models/{question.model}{version}/infer"
    answer = gateway.get(path, body, "POST", headers)
    if answer.status != 200:
        raise RefusedError(CODES.get(answer.status, str(answer.status)), answer.json()["error"])
    return answer


def _answer(
    head: Mapping[str, Any], arrays: dict[str, np.ndarray], headers: Mapping[str, str]
) -> Answer:
    request_id = headers.get("x-request-id", "")
    return Answer(head["model_name"], head["model_version"], head.get("id", ""), arrays, request_id)


FORMS: dict[str, Form] = {
    "raw": over_raw,
    "typed": over_typed,
    "json": over_json,
    "binary": over_binary,
}
