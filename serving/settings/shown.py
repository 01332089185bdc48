"""Every setting with its effective value and where that came from, for people and programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving.settings.tree import Settings


def settings_json(settings: Settings, origins: Mapping[str, str]) -> list[dict[str, Any]]:
    values = settings.model_dump(mode="json")
    return [
        {"key": key, "value": _at(values, key), "origin": origins.get(key, "default")}
        for key in settings.flat()
    ]


def _at(tree: Any, key: str) -> Any:
    for name in key.split("."):
        tree = tree[name]
    return tree
