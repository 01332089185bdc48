"""MLflow's scoring protocol in the description: calls that name any model or none, and a model's
own ``/invocations``. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving.protocols.openapi import common, tensors
from serving.protocols.openapi.common import Json
from serving.registry.mlmodel import Declared, Field
from serving.signature import Signature

_TAG = "any model, MLflow"
_FORMS = ("inputs", "instances", "dataframe_split", "dataframe_records")
_TEXT: Json = {"type": "string"}
# MLflow's names of a column's types -> JSON's; datetime and binary are texts.
_KINDS: Mapping[str, Json] = {
    "boolean": {"type": ["boolean", "integer", "string"]},
    "integer": {"type": ["number", "string"]},
    "long": {"type": ["number", "string"]},
    "float": {"type": ["number", "string", "boolean", "null"]},
    "double": {"type": ["number", "string", "boolean", "null"]},
    "string": _TEXT,
    "datetime": {"type": ["string", "number", "null"]},
    "binary": _TEXT,
}

SCHEMAS: Json = {
    "ScoringRequest": {
        "type": "object",
        "description": "With exactly one of the forms.",
        "properties": {
            "inputs": {"description": "A tensor, or tensors by name; or columns by name."},
            "instances": {"description": "The same, or a list with an object a row."},
            "dataframe_split": common.object_of(
                ["data"],
                columns=common.list_of({"type": ["string", "number"]}),
                index={"type": "array"},
                data=common.list_of({"type": "array"}),
            ),
            "dataframe_records": common.list_of({"type": "object"}),
            "params": {},
        },
    },
    "ScoringResponse": common.object_of(["predictions"], predictions={"type": ["array", "object"]}),
    "ScoringError": common.object_of(
        ["error_code", "message"],
        error_code=_TEXT,
        message=_TEXT,
        sqlstate=_TEXT,
        error_class=_TEXT,
    ),
}


def path_of(quoted: str) -> str:
    return f"/models/{quoted}/invocations"


def paths(model: str | None) -> Json:
    """Of any model, and of none. ``model``: one to begin with."""
    any_one = common.a_model(model)
    request: Json = {"schema": common.reference("ScoringRequest")}
    found: Json = {}
    for path, name, parameters in (
        ("/invocations", "score", []),
        (path_of("{model}"), "any_model_score", [any_one]),
        (
            "/models/{model}/versions/{version}/invocations",
            "any_version_score",
            [any_one, common.VERSION],
        ),
    ):
        item = _scoring(name, "Ask it, as MLflow's clients do", _TAG, request)
        found[path] = {**item, **({"parameters": parameters} if parameters else {})}
    for path, name, parameters in (
        ("/ping", "ping", []),
        ("/health", "health", []),
        ("/version", "version", []),
        ("/models/{model}/ping", "any_model_ping", [any_one]),
    ):
        # An empty line and a bare text, though they are called JSON, as MLflow's are.
        answer: Json = {"description": "So it is.", "content": {"application/json": {}}}
        call: Json = {
            "operationId": f"scoring_{name}",
            "summary": "The version" if name == "version" else "Whether it answers",
            "tags": [_TAG],
            "responses": {"200": answer, **_errors(404, 503)},
        }
        found[path] = {"get": call, **({"parameters": parameters} if parameters else {})}
    return found


def scoring(
    name: str,
    operation: str,
    signature: Signature,
    declared: Declared,
    feeds: Mapping[str, Any] | None,
) -> Json | None:
    """A model's own call. ``feeds``: values of an example; None where requests can't be held
    against what is ``declared``."""
    if declared.unusable:
        return None
    request: Json = {"schema": _request(signature, declared)}
    example = None if feeds is None else _example(signature, declared, feeds)
    if example is not None:
        request["example"] = example
    return _scoring(f"score_{operation}", f"Ask '{name}', as MLflow's clients do", name, request)


def _scoring(name: str, summary: str, tag: str, request: Json) -> Json:
    table: Json = {"schema": _TEXT}
    body = {"application/json": request, "text/csv": table}
    return {
        "post": {
            "operationId": name,
            "summary": summary,
            "description": "Also as CSV, and in Parquet (`application/vnd.apache.parquet`).",
            "tags": [tag],
            "requestBody": {"required": True, "content": body},
            "responses": {
                "200": common.content(common.reference("ScoringResponse"), "The outputs."),
                **_errors(400, 404, 413, 429, 501, 503, 504),
                "415": {
                    "description": "A content type that is not taken.",
                    "content": {"text/plain": {"schema": _TEXT}, "application/json": {}},
                },
            },
        }
    }


def _errors(*statuses: int) -> Json:
    return common.errors(*statuses, form="ScoringError")


def _request(signature: Signature, declared: Declared) -> Json:
    if declared.form == "columns":
        rows = _records(declared.fields)
        forms: Json = {"dataframe_records": rows}
    else:
        named = {t.name: _nested(t.datatype, t.client_shape) for t in signature.inputs}
        forms = {"inputs": {"anyOf": [{"type": "object", "properties": named}, {}]}}
    others: Json = {name: {} for name in _FORMS if name not in forms}
    return {"type": "object", "properties": {**forms, **others, "params": {}}}


def _records(fields: Sequence[Field]) -> Json:
    named = [field for field in fields if field.name is not None]
    row: Json = {
        "type": "object",
        "required": [field.name for field in named if field.required],
        "properties": {field.name: _column(field) for field in named},
    }
    return common.list_of(row)


def _column(field: Field) -> Json:
    """What no input asks for may be anything."""
    kind = _KINDS.get(field.values)
    return {} if kind is None else tensors.lists(dict(kind), (-1,) * field.lists)


def _nested(datatype: str, shape: Sequence[int]) -> Json:
    element = tensors.element(datatype)
    if datatype != "BYTES":
        # numpy reads numbers in texts, too, and what is missing as NaN.
        element = {"type": ["number", "string", "boolean", "null"]}
    return tensors.lists(element, shape)


def _example(signature: Signature, declared: Declared, feeds: Mapping[str, Any]) -> Json | None:
    """The values that ran, in the form that the signature asks for; None where they have none."""
    if declared.form == "columns":
        rows = _rows(signature, declared.fields, feeds)
        return None if rows is None else {"dataframe_records": rows}
    named = {t.name: tensors.listed(t, feeds[t.name]) for t in signature.inputs if t.name in feeds}
    if any(one is None for one in named.values()):
        return None
    return {"inputs": _renamed(named, signature, declared)}


def _renamed(named: Mapping[str, Any], signature: Signature, declared: Declared) -> Any:
    """A tensor without a name is the only input's."""
    nameless = declared.form == "tensors" and declared.fields[0].name is None
    return next(iter(named.values())) if nameless and len(named) == 1 else dict(named)


def _rows(
    signature: Signature, fields: Sequence[Field], feeds: Mapping[str, Any]
) -> list[Json] | None:
    """Columns of numbers alone: those of the only input's matrix, or each of an input's own."""
    if any(field.name is None or field.lists for field in fields):
        return None
    required = [tensor.name for tensor in signature.inputs if not tensor.optional]
    if len(required) == 1:
        matrix = np.asarray(feeds.get(required[0]))
        matrix = matrix.reshape(-1, 1) if matrix.ndim == 1 else matrix
        if matrix.ndim != 2 or matrix.shape[1] != len(fields):
            return None
        columns = list(matrix.T)
    else:
        columns = [np.asarray(feeds.get(field.name or "")) for field in fields]
        if any(column.ndim != 1 or len(column) != len(columns[0]) for column in columns):
            return None
    cells = [_cells(field, column) for field, column in zip(fields, columns, strict=True)]
    if any(not one for one in cells):
        return None
    names = [field.name or "" for field in fields]
    return [dict(zip(names, row, strict=True)) for row in zip(*cells, strict=True)]


def _cells(field: Field, column: np.ndarray[Any, Any]) -> list[Any] | None:
    """None where the column's type can't stand for the values that ran."""
    kind, values = column.dtype.kind, column
    if kind == "f":
        if not np.isfinite(column).all():
            return None
        if field.values in ("boolean", "integer", "long"):
            values = column.astype(np.int64)
            if not np.array_equal(values, column):
                return None
        if field.values == "boolean" and not np.isin(values, (0, 1)).all():
            return None
        return [value.item() if values is not column else float(str(value)) for value in values]
    fits = {"b": {"boolean"}, "i": {"integer", "long"}, "u": {"integer", "long"}, "O": {"string"}}
    if field.values in fits.get(kind, set()) or (
        kind in "biu" and field.values in ("float", "double")
    ):
        return list(values.tolist())
    return None
