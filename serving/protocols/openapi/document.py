"""The documents: of the whole port, and of one model."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from serving import __version__
from serving.errors import ErrorCode, ServingError
from serving.loading.facts import VersionFacts
from serving.models.state import State
from serving.models.views import ModelView, VersionView
from serving.protocols.openapi import common, mlflow, tensorflow, tensors
from serving.protocols.openapi.common import Json
from serving.protocols.views import Directory, find_model, find_version

# Models in the document of all; and what each may add to it.
MOST_MODELS = 100
_MOST_TENSORS = 64
_MOST_ELEMENTS = 1024
# Of an example in the forms of TensorFlow Serving and MLflow there.
_MOST_ELSEWHERE = 256
# In a model's own.
_MOST_OWN_TENSORS = 4096
_MOST_OWN_ELEMENTS = 4096
# Models' own documents that are kept, and how large one may be (bytes).
MOST_OWN = 16
MOST_OWN_BYTES = 1024 * 1024

_GENERAL = (
    "Models by the Open Inference Protocol v2. Binary tensors follow the JSON"
    " (`application/octet-stream` with `Inference-Header-Content-Length`). Below `/v1` stands"
    " TensorFlow Serving's REST API; `/invocations`, and `/models`, are MLflow's scoring protocol."
)
_SCHEMAS: Json = {**common.SCHEMAS, **tensorflow.SCHEMAS, **mlflow.SCHEMAS}


@dataclass(frozen=True, slots=True)
class _Kept:
    """A model's own document, and what it was made of."""

    facts: VersionFacts
    number: int
    server_name: str
    text: bytes

    def is_of(self, version: VersionView, server_name: str) -> bool:
        made_of = self.facts is version.facts and self.number == version.number
        return made_of and self.server_name == server_name


class Documents:
    """The document of all models, and those of single ones: made anew only after a change. Safe
    from any thread."""

    def __init__(self) -> None:
        self._kept: tuple[Sequence[ModelView], str, bytes] | None = None
        self._own: dict[str, _Kept] = {}
        self._lock = threading.Lock()

    def all(self, directory: Directory, server_name: str) -> bytes:
        views, kept = directory.views(), self._kept
        if kept is not None and kept[0] is views and kept[1] == server_name:
            return kept[2]
        text = as_bytes(document(views, server_name))
        self._kept = (views, server_name, text)
        return text

    def of_model(self, directory: Directory, name: str, server_name: str) -> bytes:
        """Of the version that answers who names none; of the ``MOST_OWN`` that were made last it
        is kept. Raises ServingError."""
        version = _answering(directory, name)
        kept = self._own.get(name)
        if kept is not None and kept.is_of(version, server_name):
            return kept.text
        text = as_bytes(_of_version(name, version, server_name, _MOST_OWN_TENSORS))
        if len(text) > MOST_OWN_BYTES:
            # So that it is made once, and not for everyone who asks.
            text = as_bytes(_of_version(name, version, server_name, 0))
        self._keep(name, _Kept(version.facts, version.number, server_name, text))
        return text

    def _keep(self, name: str, made: _Kept) -> None:
        with self._lock:
            self._own.pop(name, None)
            self._own[name] = made
            if len(self._own) > MOST_OWN:
                del self._own[next(iter(self._own))]


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
    first = shown[0][0].name if shown else None
    paths = {**common.paths(first), **tensorflow.paths(first), **mlflow.paths(first)}
    for view, version in shown:
        paths[f"{_path(view.name)}/infer"] = _inference(
            view.name, version, _MOST_ELEMENTS, _MOST_TENSORS
        )
        paths.update(_elsewhere(view.name, version, _MOST_ELSEWHERE, _MOST_TENSORS))
    return _document(server_name, words, paths)


def _answering(directory: Directory, name: str) -> VersionView:
    version = find_version(find_model(directory, name), None)
    if version.facts.signature is None:
        raise ServingError(ErrorCode.INTERNAL, f"model '{name}' has no signature")
    return version


def _of_version(name: str, version: VersionView, server_name: str, most: int) -> Json:
    """``most``: tensors of a model that has schemas and examples of its own here."""
    path, versioned = _path(name), f"{_path(name)}/versions/{{version}}"
    general: tuple[Json, Json] = (
        {"schema": common.reference("InferenceRequest")},
        {"schema": common.reference("InferenceResponse")},
    )
    paths: Json = {
        f"{path}/infer": _inference(name, version, _MOST_OWN_ELEMENTS, most),
        **_elsewhere(name, version, _MOST_OWN_ELEMENTS, most),
        f"{versioned}/infer": {
            **common.inference("version_infer", "Ask one version", name, *general),
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
        "components": {"schemas": _SCHEMAS},
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


def _is_shown(version: VersionView, most: int) -> bool:
    """Whether it has schemas of its own: with no more than ``most`` tensors and columns."""
    signature, fields = version.facts.signature, version.facts.declared.fields
    if signature is None:
        return False
    return len(signature.inputs) + len(signature.outputs) + len(fields) <= most


def _elsewhere(name: str, version: VersionView, elements: int, most: int) -> Json:
    """The same model as TensorFlow Serving's clients, and MLflow's, ask it: path -> item."""
    facts, quoted, operation = version.facts, quote(name, safe=""), _word(name)
    if facts.signature is None or not _is_shown(version, most):
        return {}
    found = facts.example
    feeds = None if found is None or found.elements > elements else found.make()
    items = {
        f"{tensorflow.path_of(quoted)}:predict": tensorflow.predict(
            name, operation, facts.signature, feeds
        ),
        mlflow.path_of(quoted): mlflow.scoring(
            name, operation, facts.signature, facts.declared, feeds
        ),
    }
    return {path: item for path, item in items.items() if item is not None}


def _inference(name: str, version: VersionView, elements: int, most: int) -> Json:
    """Without a schema of its own where it has more than ``most`` tensors."""
    facts, summary = version.facts, f"Ask '{name}' (now version {version.number})"
    signature = facts.signature
    if signature is None or not _is_shown(version, most):
        request: Json = {"schema": common.reference("InferenceRequest")}
        answer: Json = {"schema": common.reference("InferenceResponse")}
        item = common.inference(f"infer_{_word(name)}", summary, name, request, answer)
        item["post"]["description"] = _FEWER if most else _LARGE
        return item
    request = {"schema": tensors.request_schema(signature)}
    answer = {"schema": tensors.answer_schema(name, signature)}
    example = tensors.example(facts, elements)
    if example is not None:
        request["example"] = example
    item = common.inference(f"infer_{_word(name)}", summary, name, request, answer)
    item["post"]["description"] = _words(version, example is not None)
    return item


_FEWER = "Its own description has its inputs and outputs."
_LARGE = "It has too many inputs and outputs to stand here: GET the model's path for them."


def _words(version: VersionView, has_example: bool) -> str:
    facts = version.facts
    if has_example:
        return "The example works as it is; its values are generated, or MLflow's input example."
    if facts.signature is not None and tensors.in_binary(facts.signature):
        return "It has inputs of FP16 or BF16, which JSON can't carry: they go in the binary part."
    if facts.example is not None:
        return "An example would be too large to stand here."
    return "No generated input runs on it, so there is no example."
