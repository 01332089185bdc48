"""The documents: of the whole port, and of one model."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from urllib.parse import quote

from serving import __version__
from serving.errors import ErrorCode, ServingError
from serving.models.state import State
from serving.models.views import ModelView, VersionView
from serving.protocols.openapi import common, tensors
from serving.protocols.openapi.common import Json
from serving.protocols.views import Directory, find_model, find_version

# Models in the document of all; and what each may add to it.
MOST_MODELS = 100
_MOST_TENSORS = 64
_MOST_ELEMENTS = 1024
# In a model's own.
_MOST_OWN_ELEMENTS = 65_536

_GENERAL = (
    "Models by the Open Inference Protocol v2. Binary tensors follow the JSON"
    " (`application/octet-stream` with `Inference-Header-Content-Length`)."
)


class Documents:
    """The document of all models, made anew only after they changed. Safe from any thread."""

    def __init__(self) -> None:
        self._kept: tuple[Sequence[ModelView], str, bytes] | None = None

    def all(self, directory: Directory, server_name: str) -> bytes:
        views, kept = directory.views(), self._kept
        if kept is not None and kept[0] is views and kept[1] == server_name:
            return kept[2]
        text = as_bytes(document(views, server_name))
        self._kept = (views, server_name, text)
        return text


def as_bytes(found: Json) -> bytes:
    return json.dumps(found, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def document(views: Sequence[ModelView], server_name: str) -> Json:
    """OpenAPI 3.1: every call that names any model, and inference of each of the first
    ``MOST_MODELS`` that answer."""
    answering = [(view, version) for view in views if (version := _default(view)) is not None]
    shown = answering[:MOST_MODELS]
    words = _GENERAL
    if len(answering) > len(shown):
        words += f" Here are the first {len(shown)} of {len(answering)} models;"
    words += " `/v2/models/NAME/openapi.json` describes one."
    paths = common.paths(shown[0][0].name if shown else None)
    for view, version in shown:
        paths[f"{_path(view.name)}/infer"] = _inference(
            view.name, version, _MOST_ELEMENTS, _MOST_TENSORS
        )
    return _document(server_name, words, paths)


def model_document(directory: Directory, name: str, server_name: str) -> Json:
    """Of the version that answers who names none. Raises ServingError."""
    view = find_model(directory, name)
    version = find_version(view, None)
    if version.facts.signature is None:
        raise ServingError(ErrorCode.INTERNAL, f"model '{name}' has no signature")
    path, versioned = _path(name), f"{_path(name)}/versions/{{version}}"
    general: tuple[Json, Json] = (
        {"schema": common.reference("InferenceRequest")},
        {"schema": common.reference("InferenceResponse")},
    )
    paths: Json = {
        f"{path}/infer": _inference(name, version, _MOST_OWN_ELEMENTS, None),
        f"{versioned}/infer": {
            **common.inference("infer_version", "Ask one version", name, *general),
            "parameters": [common.VERSION],
        },
        **common.of_a_model(path, name, [], ""),
        **common.of_a_model(versioned, name, [common.VERSION], "version_"),
    }
    return _document(server_name, f"{_GENERAL} This is '{name}' alone.", paths)


def _document(server_name: str, words: str, paths: Json) -> Json:
    return {
        "openapi": "3.1.0",
        "info": {"title": server_name, "version": __version__, "description": words},
        "paths": paths,
        "components": {"schemas": common.SCHEMAS},
    }


def _default(view: ModelView) -> VersionView | None:
    return next(
        (v for v in view.versions if v.number == view.default and v.state is State.READY), None
    )


def _path(name: str) -> str:
    """Braces would be a parameter."""
    return f"/v2/models/{quote(name, safe='')}"


def _word(name: str) -> str:
    """A part of an identifier, another one for each name."""
    return re.sub(r"[^A-Za-z0-9_]", lambda found: f"_{ord(found[0]):x}_", name.replace("_", "__"))


def _inference(name: str, version: VersionView, elements: int, most: int | None) -> Json:
    """Without a schema of its own where it has more than ``most`` tensors."""
    facts, summary = version.facts, f"Ask '{name}' (now version {version.number})"
    signature = facts.signature
    if signature is None or (most is not None and len(signature.inputs + signature.outputs) > most):
        request: Json = {"schema": common.reference("InferenceRequest")}
        answer: Json = {"schema": common.reference("InferenceResponse")}
        item = common.inference(f"infer_{_word(name)}", summary, name, request, answer)
        item["post"]["description"] = "Its own description has its inputs and outputs."
        return item
    request = {"schema": tensors.request_schema(signature)}
    answer = {"schema": tensors.answer_schema(name, signature)}
    example = tensors.example(facts, elements)
    if example is not None:
        request["example"] = example
    item = common.inference(f"infer_{_word(name)}", summary, name, request, answer)
    item["post"]["description"] = _words(version, example is not None)
    return item


def _words(version: VersionView, has_example: bool) -> str:
    facts = version.facts
    if has_example:
        return "The example works as it is; its values are generated, or MLflow's input example."
    if facts.signature is not None and tensors.in_binary(facts.signature):
        return "It has inputs of FP16 or BF16, which JSON can't carry: they go in the binary part."
    if facts.example is not None:
        return "An example would be too large to stand here."
    return "No generated input runs on it, so there is no example."
