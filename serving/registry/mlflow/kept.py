"""What is known of the registry's models, kept for a start while it does not answer."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from pydantic import Field

from serving.registry.mlflow.answers import MOST_ALIASES, RegisteredVersion
from serving.registry.mlflow.following import Known
from serving.registry.names import MAX_VERSION
from serving.state_dir import StateDir
from serving.strict import Count, Few, Strict, StrictError, Text, few

_FORM = 1
# Of a model: what aliases name, and the newest.
_MOST = 200

_Number = Annotated[int, Field(ge=1, le=MAX_VERSION)]
_Aliases = Annotated[dict[Text, _Number], few(MOST_ALIASES)]


class _Version(Strict):
    number: _Number
    source: Annotated[str, Field(max_length=8000)]
    run_id: Text
    model_id: Text
    created: Count


class _Document(Strict):
    form: int
    registry: Text
    model: Text
    versions: Few[_Version]
    aliases: _Aliases
    good: _Aliases


class KeptModels:
    """One document for each model. ``registry``: whose they are."""

    def __init__(self, state: StateDir | None, registry: str) -> None:
        self._state, self._registry = state, registry
        self._written: dict[str, Any] = {}

    def read(self, model: str) -> Known | None:
        """None where nothing is known of it."""
        found = self._state.read(self._name(model)) if self._state is not None else None
        if found is None:
            return None
        try:
            read = _Document.read(found, "it")
        except StrictError:
            return None
        if (read.form, read.registry, read.model) != (_FORM, self._registry, model):
            return None
        versions = tuple(RegisteredVersion(**dict(one)) for one in read.versions)
        return Known(versions, read.aliases, read.good)

    def write(self, model: str, known: Known) -> None:
        """Where it is another than the one before."""
        if self._state is None:
            return
        document = self._document(model, known)
        if self._written.get(model) != document:
            self._written[model] = document
            self._state.write(self._name(model), document)

    def _document(self, model: str, known: Known) -> dict[str, Any]:
        named = {*known.aliases.values(), *known.good.values()}
        chosen = sorted(known.versions, key=lambda one: (one.number in named, one.number))[-_MOST:]
        versions = [
            {
                "number": one.number,
                "source": one.source,
                "run_id": one.run_id,
                "model_id": one.model_id,
                "created": max(one.created, 0),
            }
            for one in sorted(chosen, key=lambda one: one.number)
        ]
        return {
            "form": _FORM,
            "registry": self._registry,
            "model": model,
            "versions": versions,
            "aliases": dict(known.aliases),
            "good": dict(known.good),
        }

    def _name(self, model: str) -> str:
        text = f"{self._registry}\n{model}".encode()
        return f"mlflow/{hashlib.blake2b(text, digest_size=12).hexdigest()}"
