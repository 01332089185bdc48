"""What is still to be written, and what may have to be set back, kept across restarts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import Field

from serving.events import log
from serving.registry.names import MAX_VERSION
from serving.settings.registry import MOST_TAGS
from serving.state_dir import StateDir
from serving.strict import Strict, StrictError, Text, few
from serving.write_back.judgement import MOST_METRICS, Judgement
from serving.write_back.promotion import MOST_EXPECTED, AliasMark, Promotion, TagsMark

FOLDER = "write_back"
_FORM = 1

_Number = Annotated[int, Field(ge=1, le=MAX_VERSION)]
_Value = Annotated[str, Field(max_length=8000)]
_Key = Annotated[str, Field(max_length=250)]
_Seconds = Annotated[float, Field(ge=0, lt=1e12)]


class _Alias(Strict):
    name: Text
    expect: Annotated[tuple[_Number | None, ...], Field(strict=False), few(MOST_EXPECTED)]
    before: _Number | None
    ours: bool
    done: bool


class _Tags(Strict):
    wanted: Annotated[dict[_Key, _Value], few(MOST_TAGS)]
    before: Annotated[dict[_Key, _Value | None], few(MOST_TAGS)]
    done: bool


class _Promotion(Strict):
    model: Text
    candidate: _Number
    base: _Number
    at: _Seconds
    seen: bool
    stands: bool
    alias: _Alias | None
    tags: _Tags | None
    said: Text


class _Judgement(Strict):
    model: Text
    version: _Number
    word: Text
    at: _Seconds
    run: Text
    metrics: Annotated[
        tuple[Annotated[tuple[_Key, float], Field(strict=False)], ...],
        Field(strict=False),
        few(MOST_METRICS),
    ]


class _Document(Strict):
    form: int
    registry: Text
    promotion: _Promotion | None = None
    judgement: _Judgement | None = None


class Kept:
    """One document for each promotion and each judgement. ``registry``: whose they are. Safe from
    any thread."""

    def __init__(self, state: StateDir, registry: str) -> None:
        self._state, self._registry = state, registry

    def read(self) -> tuple[dict[str, Promotion], dict[tuple[str, int], Judgement]]:
        """Promotions by model, judgements by model and version, oldest first."""
        promotions, judgements = {}, {}
        for one in self._documents():
            if one.promotion is not None:
                promotions[one.promotion.model] = _promotion(one.promotion)
            if one.judgement is not None:
                found = Judgement(**dict(one.judgement))
                judgements[found.model, found.version] = found
        return promotions, judgements

    def _documents(self) -> Iterator[_Document]:
        for name in self._state.names(FOLDER):
            try:
                read = _Document.read(self._state.read(f"{FOLDER}/{name}"), "it")
            except StrictError as error:
                log.warning("state_ignored", name=f"{FOLDER}/{name}", reason=str(error))
                continue
            if (read.form, read.registry) == (_FORM, self._registry):
                yield read

    def write_promotion(self, one: Promotion) -> None:
        self._write(_promotion_name(self._registry, one.model), promotion=asdict(one))

    def forget_promotion(self, model: str) -> None:
        self._state.remove(_promotion_name(self._registry, model))

    def write_judgement(self, one: Judgement) -> None:
        self._write(_judgement_name(self._registry, one.model, one.version), judgement=asdict(one))

    def forget_judgement(self, model: str, version: int) -> None:
        self._state.remove(_judgement_name(self._registry, model, version))

    def _write(self, name: str, **what: Mapping[str, Any]) -> None:
        self._state.write(name, {"form": _FORM, "registry": self._registry, **what})


def _promotion(read: _Promotion) -> Promotion:
    fields = dict(read)
    alias, tags = read.alias, read.tags
    fields["alias"] = None if alias is None else AliasMark(**dict(alias))
    fields["tags"] = None if tags is None else TagsMark(**dict(tags))
    return Promotion(**fields)


def _promotion_name(registry: str, model: str) -> str:
    return _name("p", registry, model)


def _judgement_name(registry: str, model: str, version: int) -> str:
    return _name("v", registry, model, str(version))


def _name(*parts: str) -> str:
    text = "\n".join(parts).encode("utf-8", "surrogatepass")
    return f"{FOLDER}/{parts[0]}-{hashlib.blake2b(text, digest_size=12).hexdigest()}"
