"""The OpenAPI document of the admin port, made of its operations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from serving import __version__
from serving.control import requests, schemas
from serving.operations import Operation

_REF = "#/components/schemas/{model}"


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """OpenAPI 3.1."""
    rows = list(operations)
    kinds: set[type[BaseModel]] = {schemas.Error}
    for row in rows:
        kinds.update(kind for kind in (*row.answers.values(), row.body) if kind is not None)
    mode: JsonSchemaMode = "validation"
    used = [(kind, mode) for kind in sorted(kinds, key=_name)]
    _, definitions = models_json_schema(used, ref_template=_REF)
    paths: dict[str, Any] = {}
    for row in rows:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "serving: the admin port",
            "version": __version__,
            "description": "Metrics, health, and the control of models and versions.",
        },
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _name(kind: type[BaseModel]) -> str:
    return kind.__name__


def _operation(row: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": row.name,
        "summary": row.summary,
        "responses": {
            **{str(status): _answer(status, kind) for status, kind in row.answers.items()},
            "default": _content("It did not work; why.", schemas.Error),
        },
    }
    waiting = _WAITING if 202 in row.answers else []
    parameters = [*_path_parameters(row), *_query_parameters(row), *waiting]
    if parameters:
        described["parameters"] = parameters
    if row.body:
        needed = any(field.is_required() for field in row.body.model_fields.values())
        described["requestBody"] = {
            "required": needed,
            "content": {"application/json": {"schema": _reference(row.body)}},
        }
    if row.control:
        # The first: none is needed on the loopback interface while no token is configured.
        described["security"] = [{}, {"token": []}]
    return described


def _path_parameters(row: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "description": words, "schema": schema}
        for name, words, schema in _IN_PATHS
        if f"{{{name}}}" in row.path
    ]


_IN_PATHS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("name", "The model.", {"type": "string", "minLength": 1, "maxLength": 255}),
    ("version", "Its version.", {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}),
)


def _query_parameters(row: Operation) -> list[dict[str, Any]]:
    """One for each field; a list is one that may come several times."""
    if row.query is None:
        return []
    found = []
    for name, schema in row.query.model_json_schema()["properties"].items():
        words = schema.pop("description")
        found.append({"name": name, "in": "query", "description": words, "schema": schema})
    return found


_WAITING: list[dict[str, Any]] = [
    {
        "name": "wait",
        "in": "query",
        "description": "Answer when the command has ended; false: at once, with 202.",
        "schema": {"type": "boolean", "default": True},
    },
    {
        "name": "timeout",
        "in": "query",
        "description": "How long to wait (seconds). Then it is 202, and the command goes on.",
        "schema": {
            "type": "number",
            "exclusiveMinimum": 0,
            "maximum": requests.MAX_WAIT_S,
            "default": requests.DEFAULT_WAIT_S,
        },
    },
]
_WORDS = {200: "Done.", 202: "Under way.", 503: "Not now."}


def _answer(status: int, kind: type[BaseModel] | None) -> dict[str, Any]:
    words = _WORDS[status]
    return {"description": words} if kind is None else _content(words, kind)


def _content(words: str, kind: type[BaseModel]) -> dict[str, Any]:
    return {"description": words, "content": {"application/json": {"schema": _reference(kind)}}}


def _reference(kind: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=_name(kind))}
