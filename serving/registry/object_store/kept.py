"""What a store was last found to have, kept for a start while it does not answer."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from serving.registry.names import MAX_VERSION
from serving.registry.remote.origin import RemoteOrigin
from serving.registry.snapshot import FoundModel
from serving.state_dir import StateDir
from serving.strict import Few, Strict, StrictError, Text, few

_FORM = 1
_MOST_MODELS = 10_000
# Of a model: the newest.
_MOST_VERSIONS = 50

_Number = Annotated[int, Field(ge=1, le=MAX_VERSION)]


class _Version(Strict):
    number: _Number
    key: Text


class _Model(Strict):
    name: Text
    config: Text
    versions: Few[_Version]


class _Document(Strict):
    form: int
    url: Text
    models: Annotated[tuple[_Model, ...], Field(strict=False), few(_MOST_MODELS)]


class KeptStore:
    """One document for each URL."""

    def __init__(self, state: StateDir | None, url: str) -> None:
        self._state, self._url = state, url
        digest = hashlib.blake2b(url.encode(), digest_size=12).hexdigest()
        self._name = f"stores/{digest}"
        self._written: Any = None

    def read(self) -> list[tuple[str, str, dict[int, str]]]:
        """Of each model the name, what its configuration is told by, and its versions' keys."""
        found = self._state.read(self._name) if self._state is not None else None
        if found is None:
            return []
        try:
            read = _Document.read(found, "it")
        except StrictError:
            return []
        if (read.form, read.url) != (_FORM, self._url):
            return []
        return [
            (one.name, one.config, {version.number: version.key for version in one.versions})
            for one in read.models
        ]

    def write(self, models: Sequence[FoundModel]) -> None:
        """Where it is another than the one before; nothing where nothing is there."""
        if self._state is None or not models:
            return
        document = {"form": _FORM, "url": self._url, "models": [_model(one) for one in models]}
        if document != self._written:
            self._written = document
            self._state.write(self._name, document)


def _model(found: FoundModel) -> dict[str, Any]:
    whole = [one for one in found.versions if one.whole and isinstance(one.origin, RemoteOrigin)]
    return {
        "name": found.name,
        "config": found.config_stamp,
        "versions": [
            {"number": one.number, "key": one.fingerprint} for one in whole[-_MOST_VERSIONS:]
        ],
    }
