"""What MLflow's registry says of a model, held against its form. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serving.registry.names import MAX_VERSION

READY = "READY"
# Of one model; the newest count.
MOST_VERSIONS = 10_000
MOST_ALIASES = 64
_MOST_TAGS = 1000
_LONGEST = 8000
# Milliseconds since the epoch: what a date can be made of.
_LATEST = 2**47


class AnswerError(ValueError):
    """An answer that is not the registry's, in words."""


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """``source``: where its artifacts are, as the registry has it; ``created``: milliseconds since
    the epoch. ``run_id``, ``model_id``: "" where it has none."""

    number: int
    status: str = READY
    source: str = ""
    run_id: str = ""
    model_id: str = ""
    created: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)

    def fingerprint(self, registry: str, model: str) -> str:
        """What its files are told by: a version of a registry does not change, and one that was
        deleted and made anew was made at another time."""
        rows = (registry, model, self.number, self.source, self.run_id, self.created)
        return hashlib.blake2b(repr(rows).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """``raw``: changes whenever the answer does."""

    name: str
    aliases: Mapping[str, int]
    latest: tuple[RegisteredVersion, ...]
    raw: str


def registered_model(answer: Mapping[str, Any], name: str) -> RegisteredModel:
    """Of ``registered-models/get``. Raises AnswerError."""
    found = _table(answer.get("registered_model"), "registered_model")
    if found.get("name") != name:
        raise AnswerError("it is of another model")
    aliases: dict[str, int] = {}
    for one in _tables(found.get("aliases"), "aliases", MOST_ALIASES):
        aliases[_text(one, "alias", 255)] = _version(one)
    latest = _tables(found.get("latest_versions"), "latest_versions", MOST_VERSIONS)
    return RegisteredModel(
        name, aliases, tuple(_registered(one, name) for one in latest), repr(found)
    )


def model_versions(answer: Mapping[str, Any], name: str) -> tuple[list[RegisteredVersion], str]:
    """Of ``model-versions/search``: a page, and where the next one begins. Raises AnswerError."""
    rows = _tables(answer.get("model_versions"), "model_versions", MOST_VERSIONS)
    return [_registered(one, name) for one in rows], _text(answer, "next_page_token", _LONGEST)


def model_version(answer: Mapping[str, Any], name: str) -> RegisteredVersion:
    """Of ``model-versions/get``. Raises AnswerError."""
    return _registered(_table(answer.get("model_version"), "model_version"), name)


def _registered(one: Mapping[str, Any], name: str) -> RegisteredVersion:
    if one.get("name") != name:
        raise AnswerError("it has a version of another model")
    created = one.get("creation_timestamp", 0)
    if type(created) is not int or not 0 <= created < _LATEST:
        raise AnswerError("a creation_timestamp is no time in milliseconds")
    tags = {
        _text(tag, "key", _LONGEST): _text(tag, "value", _LONGEST)
        for tag in _tables(one.get("tags"), "tags", _MOST_TAGS)
    }
    return RegisteredVersion(
        number=_version(one),
        status=_text(one, "status", 64) or READY,
        source=_text(one, "source", _LONGEST),
        run_id=_text(one, "run_id", 256),
        model_id=_text(one, "model_id", 256),
        created=created,
        tags=tags,
    )


def _version(one: Mapping[str, Any]) -> int:
    """They come as texts."""
    text = str(one.get("version", ""))[:20]
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= MAX_VERSION):
        raise AnswerError(f"'{text}' is no version")
    return int(text)


def _text(one: Mapping[str, Any], key: str, most: int) -> str:
    value = one.get(key, "")
    if not isinstance(value, str) or len(value) > most:
        raise AnswerError(f"its {key} is no short text")
    # JSON can hold halves of characters, which nothing else can.
    return value.encode(errors="backslashreplace").decode()


def _table(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise AnswerError(f"its {what} is no object")
    return value


def _tables(value: object, what: str, most: int) -> Sequence[Mapping[str, Any]]:
    found = [] if value is None else value
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise AnswerError(f"its {what} are no list of objects")
    if len(found) > most:
        raise AnswerError(f"it has more than {most} {what}")
    return found
