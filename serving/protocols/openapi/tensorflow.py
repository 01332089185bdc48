"""TensorFlow Serving's REST API in the description: calls that name any model, and a model's own
``:predict`` by columns. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from serving.protocols.openapi import common, tensors
from serving.protocols.openapi.common import Json
from serving.signature import Signature, Tensor

# No numbers of them have a form there.
_WITHOUT_FORM = tensors.BINARY_ONLY | {"UINT16"}
_TAG = "any model, TensorFlow Serving"

SCHEMAS: Json = {
    "PredictRequest": {
        "type": "object",
        "properties": {
            "signature_name": {"type": "string"},
            "instances": {"type": "array", "description": "By rows."},
            "inputs": {"description": "By columns: a tensor, or tensors by name."},
        },
    },
    "PredictResponse": {
        "type": "object",
        "properties": {"predictions": {"type": "array"}, "outputs": {}},
    },
    "ExamplesRequest": common.object_of(
        ["examples"],
        signature_name={"type": "string"},
        context={"type": "object"},
        examples=common.list_of({"type": "object"}),
    ),
    "ResultsResponse": common.object_of(["results"], results={"type": "array"}),
    "VersionStates": common.object_of(
        ["model_version_status"],
        model_version_status=common.list_of(
            common.object_of(
                ["version", "state", "status"],
                version={"type": "string"},
                state={"type": "string"},
                status={"type": "object"},
            )
        ),
    ),
}


def path_of(quoted: str) -> str:
    return f"/v1/models/{quoted}"


def paths(model: str | None) -> Json:
    """Of any model. ``model``: one to begin with."""
    found: Json = {}
    any_one = common.a_model(model)
    for path, prefix, parameters in (
        (path_of("{model}"), "tensorflow", [any_one]),
        (
            f"{path_of('{model}')}/versions/{{version}}",
            "tensorflow_version",
            [any_one, common.VERSION],
        ),
    ):
        for end, name, summary, answer in (
            ("", "status", "States of versions", common.reference("VersionStates")),
            ("/metadata", "metadata", "Signatures", {"type": "object"}),
        ):
            item = common.telling(f"{prefix}_{name}", summary, answer, _TAG, 400, 404, 503)
            found[path + end] = {**item, "parameters": parameters}
        for verb, asked, answered in (
            ("predict", "PredictRequest", "PredictResponse"),
            ("classify", "ExamplesRequest", "ResultsResponse"),
            ("regress", "ExamplesRequest", "ResultsResponse"),
        ):
            request: Json = {"schema": common.reference(asked)}
            item = common.asking(
                *(f"{prefix}_{verb}", verb.capitalize(), _TAG),
                request,
                common.reference(answered),
            )
            found[f"{path}:{verb}"] = {**item, "parameters": parameters}
    return found


def predict(
    name: str, operation: str, signature: Signature, feeds: Mapping[str, Any] | None
) -> Json | None:
    """A model's own call. ``feeds``: values of an example; None where JSON can't carry the model's
    tensors."""
    every = (*signature.inputs, *signature.outputs)
    if any(tensor.datatype in _WITHOUT_FORM for tensor in every):
        return None
    request: Json = {"schema": _request(signature)}
    example = None if feeds is None else example_of(signature, feeds)
    if example is not None:
        request["example"] = {"inputs": example}
    outputs: Json = {tensor.name: _tensor(tensor) for tensor in signature.outputs}
    answer = common.object_of(
        [], outputs={"anyOf": [{"type": "object", "properties": outputs}, {}]}
    )
    return common.asking(f"tensorflow_{operation}", f"Predict with '{name}'", name, request, answer)


def example_of(signature: Signature, feeds: Mapping[str, np.ndarray[Any, Any]]) -> Json | None:
    """Tensors by name; None where one has no form in lists."""
    found = {t.name: tensors.listed(t, feeds[t.name]) for t in signature.inputs if t.name in feeds}
    return None if any(one is None for one in found.values()) else found


def _request(signature: Signature) -> Json:
    named: Json = {
        "type": "object",
        "required": [tensor.name for tensor in signature.inputs if not tensor.optional],
        "properties": {tensor.name: _tensor(tensor) for tensor in signature.inputs},
    }
    bare = [_tensor(tensor) for tensor in signature.inputs] if len(signature.inputs) == 1 else []
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {"inputs": {"anyOf": [named, *bare]} if bare else named},
    }


def _tensor(tensor: Tensor) -> Json:
    element = tensors.element(tensor.datatype)
    if tensor.datatype == "BYTES":
        encoded = common.object_of(["b64"], b64={"type": "string"})
        element = {"anyOf": [element, encoded]}
    return tensors.lists(element, tensor.client_shape)
