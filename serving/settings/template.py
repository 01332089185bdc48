"""A settings file to start from: every setting with its meaning, out of the one table of them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from serving.settings.tree import Settings, describe

_WIDTH = 96
# What is written in place of a secret.
_HIDDEN = "*****"
_HEAD = """\
# Settings of `serving start --config FILE`, every one with its default. To change one, take
# the `#` before it away. The environment (SERVING_LIMITS__MAX_STREAMS) and flags come after
# this file. docs/settings.md has the same words.
"""


def commented_yaml(settings: Settings, origins: Mapping[str, str]) -> str:
    """A YAML file that loads as ``settings``: what is not a default stands in it, the rest in
    comments. Secrets stay out of it."""
    return "\n".join(_lines(settings.model_dump(mode="json"), origins))


def _lines(values: Mapping[str, Any], origins: Mapping[str, str]) -> Iterator[str]:
    yield _HEAD
    open_: list[str] = []
    for key, description in describe():
        *sections, name = key.split(".")
        shared = _shared(open_, sections)
        for depth in range(shared, len(sections)):
            yield f"{'  ' * depth}{sections[depth]}:"
        open_ = sections
        indent = "  " * len(sections)
        yield textwrap.fill(
            description, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
        )
        value = _at(values, key)
        left_out = origins.get(key, "default") == "default" or _is_secret(value)
        yield f"{indent}{'#' if left_out else ''}{name}: {_text(value)}\n"


def _is_secret(value: Any) -> bool:
    parts = value.values() if isinstance(value, Mapping) else [value]
    return _HIDDEN in list(parts)


def _shared(open_: list[str], sections: list[str]) -> int:
    """How many sections that are open hold the next setting, too."""
    count = 0
    for one, other in zip(open_, sections, strict=False):
        if one != other:
            break
        count += 1
    return count


def _at(values: Mapping[str, Any], key: str) -> Any:
    found: Any = values
    for name in key.split("."):
        found = found[name]
    return found


def _text(value: Any) -> str:
    """On one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=True)
    return text.removesuffix("...\n").strip()
