"""What the settings have written back, held against the tags by which versions are taken. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from serving.errors import ConfigError
from serving.gates.verdict import BLESSED
from serving.registry.mlflow.asked import TagRule
from serving.settings.registry import WriteBackSettings

_SETTING = "registry.mlflow.write_back"


@dataclass(frozen=True, slots=True)
class Terms:
    """``alias`` "": none is moved; ``tags`` of a promoted version. ``verdicts``: whether what gates
    say is written; ``verdict_tag`` "": as metrics only. ``note``: why less than the settings say is
    written, "" where nothing is left out."""

    alias: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    verdicts: bool = False
    verdict_tag: str = ""
    note: str = ""

    @property
    def of_promotions(self) -> bool:
        return bool(self.alias or self.tags)


def terms_of(settings: WriteBackSettings, rules: Sequence[TagRule]) -> Terms:
    """``rules``: by which versions are taken. Raises ConfigError for tags that would have a
    version taken no more once it is promoted."""
    tags = {}
    for word in settings.tags:
        key, _, value = word.partition("=")
        tags[key.strip()] = value.strip()
    for key, value in tags.items():
        if refusal := _refusal(rules, key, value):
            raise ConfigError(
                f"{_SETTING}.tags: a version with {key}={value} is not taken by"
                f" registry.mlflow.tags ({refusal})"
            )
    tag, note = settings.verdict_tag if settings.verdicts else "", ""
    if tag and (refusal := _refusal(rules, tag, BLESSED)):
        note = f"no tag '{tag}' is written: registry.mlflow.tags would take no blessed version"
        tag = ""
    return Terms(settings.alias, tags, settings.verdicts, tag, note)


def _refusal(rules: Sequence[TagRule], key: str, value: str) -> str:
    return next((why for r in rules if r.key == key and (why := r.refusal({key: value}))), "")
