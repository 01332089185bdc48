"""What is asked of MLflow's registry: which models, by which alias, and which tags. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serving.errors import ConfigError
from serving.registry.names import MAX_VERSION, why_no_model

MOST_MODELS = 1000
_ALIAS = re.compile(r"[\w-]{1,255}")
_SCHEME = "models:/"


@dataclass(frozen=True, slots=True)
class AskedModel:
    """``alias``: what it names answers requests that name no version; "": the newest does.
    ``version``: that one does, whatever aliases say."""

    name: str
    alias: str = ""
    version: int | None = None


@dataclass(frozen=True, slots=True)
class TagRule:
    """``value`` None: any. ``wanted`` False: the tag may not be there, or not with that value."""

    key: str
    value: str | None
    wanted: bool

    def refusal(self, tags: Mapping[str, str]) -> str:
        """How tags don't pass it, in words; "" where they do."""
        found = tags.get(self.key)
        met = found is not None if self.value is None else found == self.value
        if met == self.wanted:
            return ""
        has = f"its tag '{self.key}' is '{found}'" if found is not None else f"no tag '{self.key}'"
        if not self.wanted:
            return has
        return has if self.value is None else f"{has}, not '{self.value}'"


def asked_models(words: Sequence[str], setting: str) -> tuple[AskedModel, ...]:
    """Raises ConfigError that names the ``setting``."""
    if len(words) > MOST_MODELS:
        raise ConfigError(f"{setting}: more than {MOST_MODELS} models")
    found: dict[str, AskedModel] = {}
    for word in words:
        one = _asked(word, setting)
        if one.name in found:
            raise ConfigError(f"{setting}: model '{one.name}' is named twice")
        found[one.name] = one
    return tuple(found.values())


def _asked(word: str, setting: str) -> AskedModel:
    """As MLflow's own URIs have it, the scheme left out or not."""
    text = word.removeprefix(_SCHEME)
    if "@" in text:
        name, _, alias = text.rpartition("@")
        if not _ALIAS.fullmatch(alias):
            raise ConfigError(f"{setting}: '{word}': '{alias}' can't be an alias")
        # The registry takes it for the newest version, and nobody can set it.
        return AskedModel(_name(name, word, setting), "" if alias == "latest" else alias)
    name, slash, version = text.partition("/")
    if not slash or version.lower() == "latest":
        return AskedModel(_name(name, word, setting))
    if not (version.isascii() and version.isdigit() and 0 < int(version) <= MAX_VERSION):
        raise ConfigError(f"{setting}: '{word}': expected NAME, NAME@ALIAS or NAME/VERSION")
    return AskedModel(_name(name, word, setting), version=int(version))


def _name(name: str, word: str, setting: str) -> str:
    if why := why_no_model(name):
        raise ConfigError(f"{setting}: '{word}': {why}")
    if "'" in name and '"' in name:
        raise ConfigError(f"{setting}: '{word}': MLflow can't be asked for both kinds of quotes")
    return name


def tag_rules(words: Sequence[str], setting: str) -> tuple[TagRule, ...]:
    """``KEY=VALUE``, ``KEY!=VALUE``, ``KEY`` (it is there) and ``!KEY`` (it is not). Raises
    ConfigError that names the ``setting``."""
    rules = []
    for word in words:
        key, equals, value = word.partition("=")
        negated = key.endswith("!") if equals else key.startswith("!")
        key = key.removesuffix("!") if equals else key.removeprefix("!")
        if not key.strip():
            raise ConfigError(f"{setting}: '{word}': expected KEY=VALUE, KEY!=VALUE, KEY or !KEY")
        rules.append(TagRule(key.strip(), value.strip() if equals else None, not negated))
    return tuple(rules)
