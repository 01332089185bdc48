"""What of the description is the same whatever is served: calls that name any model, and the forms
of their answers. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]

_REF = "#/components/schemas/"
_TEXT: Json = {"type": "string"}
_WHOLE: Json = {"type": "integer", "minimum": 0}


def reference(name: str) -> Json:
    return {"$ref": f"{_REF}{name}"}


def content(schema: Json, words: str) -> Json:
    return {"description": words, "content": {"application/json": {"schema": schema}}}


def errors(*statuses: int, form: str = "Error") -> Json:
    """``statuses`` that a call is known for, and any other. ``form``: the schema of what tells
    why."""
    return {
        **{str(status): content(reference(form), _WORDS[status]) for status in statuses},
        "default": content(reference(form), "It did not work; why."),
    }


_WORDS = {
    400: "The request is malformed, or does not fit the model.",
    404: "There is no such model or version.",
    413: "The body, or the answer, is larger than limits.max_message_bytes.",
    415: "A content type or encoding that is not taken.",
    429: "Too much waits. `Retry-After` says when to come again.",
    501: "What was asked has no form here, or is not built.",
    503: "Not now: loading, or too much waits. `Retry-After` says when to come again.",
    504: "The deadline passed.",
}


def object_of(required: Sequence[str], **properties: Json) -> Json:
    return {"type": "object", "required": list(required), "properties": properties}


def list_of(items: Json) -> Json:
    return {"type": "array", "items": items}


SCHEMAS: Json = {
    "Error": object_of(["error"], error=_TEXT),
    "Live": object_of(["live"], live={"type": "boolean"}),
    "Ready": object_of(["ready"], ready={"type": "boolean"}),
    "ModelReady": object_of(["name", "ready"], name=_TEXT, ready={"type": "boolean"}),
    "Server": object_of(
        ["name", "version", "extensions"], name=_TEXT, version=_TEXT, extensions=list_of(_TEXT)
    ),
    "Models": object_of(["models"], models=list_of(_TEXT)),
    "Tensor": object_of(
        ["name", "datatype", "shape"],
        name=_TEXT,
        datatype=_TEXT,
        shape=list_of({"type": "integer", "minimum": -1}),
    ),
    "Model": object_of(
        ["name", "versions", "platform", "inputs", "outputs"],
        name=_TEXT,
        versions=list_of(_TEXT),
        platform=_TEXT,
        inputs=list_of(reference("Tensor")),
        outputs=list_of(reference("Tensor")),
        properties={"type": "object", "additionalProperties": _TEXT},
    ),
    "Index": list_of(
        object_of(["name"], name=_TEXT, version=_TEXT, state=_TEXT, reason=_TEXT),
    ),
    "Statistics": object_of(["model_stats"], model_stats=list_of({"type": "object"})),
    "InferenceRequest": object_of(
        ["inputs"],
        id={**_TEXT, "maxLength": 128},
        parameters={"type": "object"},
        inputs=list_of(
            object_of(
                ["name", "datatype", "shape"],
                name=_TEXT,
                datatype=_TEXT,
                shape=list_of(_WHOLE),
                parameters={"type": "object"},
                data={"type": "array"},
            )
        ),
        outputs=list_of(object_of(["name"], name=_TEXT, parameters={"type": "object"})),
    ),
    "InferenceResponse": object_of(
        ["model_name", "model_version", "outputs"],
        model_name=_TEXT,
        model_version=_TEXT,
        id=_TEXT,
        parameters={"type": "object"},
        outputs=list_of({"type": "object"}),
    ),
}

MODEL: Json = {
    "name": "model",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
VERSION: Json = {
    "name": "version",
    "in": "path",
    "required": True,
    "schema": {"type": "integer", "minimum": 1},
}
_LENGTH: Json = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "description": "Bytes of the JSON before binary tensors. Without it all of the body is JSON.",
    "schema": _WHOLE,
}


def a_model(example: str | None) -> Json:
    """The parameter that names one. ``example``: one that is there."""
    return MODEL if example is None else {**MODEL, "example": example}


def telling(name: str, summary: str, answer: Json, tag: str, *statuses: int) -> Json:
    """A GET. ``statuses``: of errors."""
    described = {"operationId": name, "summary": summary, "tags": [tag]}
    return {
        "get": {
            **described,
            "responses": {"200": content(answer, "So it is."), **errors(*statuses)},
        }
    }


def asking(name: str, summary: str, tag: str, request: Json, answer: Json) -> Json:
    """A POST of JSON. ``request``: a media type; ``answer``: a schema."""
    return {
        "post": {
            "operationId": name,
            "summary": summary,
            "tags": [tag],
            "requestBody": {"required": True, "content": {"application/json": request}},
            "responses": {
                "200": content(answer, "The outputs."),
                **errors(400, 404, 413, 415, 429, 501, 503, 504),
            },
        }
    }


def inference(name: str, summary: str, tag: str, request: Json, answer: Json) -> Json:
    """A POST of tensors. ``request``, ``answer``: media types of their JSON."""
    binary: Json = {"schema": {}}
    return {
        "post": {
            "operationId": name,
            "summary": summary,
            "tags": [tag],
            "parameters": [_LENGTH],
            "requestBody": {
                "required": True,
                "content": {"application/json": request, "application/octet-stream": binary},
            },
            "responses": {
                "200": {
                    "description": "The outputs; with binary tensors where those are asked for.",
                    "content": {"application/json": answer, "application/octet-stream": binary},
                },
                **errors(400, 404, 413, 415, 503, 504),
            },
        }
    }


def of_a_model(path: str, tag: str, parameters: list[Json], prefix: str) -> Json:
    """Path -> item, of what can be asked of a model at ``path``, but inference."""
    object_: Json = {"type": "object"}
    rows = {
        "": ("metadata", "Inputs, outputs and versions", reference("Model")),
        "/ready": ("ready", "Whether it answers", reference("ModelReady")),
        "/config": ("config", "Triton's configuration of it", object_),
        "/stats": ("statistics", "What was asked of it", reference("Statistics")),
    }
    found: Json = {}
    for end, (name, summary, answer) in rows.items():
        item = telling(f"{prefix}{name}", summary, answer, tag, 400, 404, 503)
        if end == "/ready":
            item["get"]["responses"]["503"] = content(
                {"anyOf": [answer, reference("Error")]}, "It does not."
            )
        found[path + end] = {**item, **({"parameters": parameters} if parameters else {})}
    return found


def paths(model: str | None = None) -> Json:
    """Of the server, and of any model. ``model``: one to begin with."""
    any_one = a_model(model)
    any_model, any_version = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
    ready = telling("ready", "Whether requests should be sent here", reference("Ready"), "server")
    ready["get"]["responses"]["503"] = content(reference("Ready"), "They should not.")
    generic = (
        {"schema": reference("InferenceRequest")},
        {"schema": reference("InferenceResponse")},
    )
    index = telling(
        "index", "Models and versions, and their states", reference("Index"), "server", 400
    )
    index["post"] = index.pop("get")
    index["post"]["requestBody"] = {
        "content": {"application/json": {"schema": object_of([], ready={"type": "boolean"})}}
    }
    return {
        "/v2/health/live": telling("live", "Whether it answers", reference("Live"), "server"),
        "/v2/health/ready": ready,
        "/v2": telling("server", "Name, version, extensions", reference("Server"), "server"),
        "/v2/models": telling("models", "The models' names", reference("Models"), "server"),
        "/v2/models/stats": telling(
            "statistics", "Of all models", reference("Statistics"), "server"
        ),
        "/v2/repository/index": index,
        **of_a_model(any_model, "any model", [any_one], "any_model_"),
        **of_a_model(any_version, "any model", [any_one, VERSION], "any_version_"),
        f"{any_model}/openapi.json": {
            **telling(
                "any_model_openapi",
                "Its own description",
                {"type": "object"},
                "any model",
                400,
                404,
                503,
            ),
            "parameters": [any_one],
        },
        f"{any_model}/infer": {
            **inference("any_model_infer", "Ask it", "any model", *generic),
            "parameters": [any_one],
        },
        f"{any_version}/infer": {
            **inference("any_version_infer", "Ask one version", "any model", *generic),
            "parameters": [any_one, VERSION],
        },
    }
