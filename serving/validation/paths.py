"""A feature's path as one text, as TFX's anomalies have it for a key. Pure."""

from __future__ import annotations

import re

_PLAIN = re.compile(r"\([^()]*\)|[^().']+")


def serialized(path: tuple[str, ...]) -> str:
    """Steps joined by dots; one with a dot, a bracket or a quote in it stands in quotes."""
    return ".".join(_step(step) for step in path)


def _step(step: str) -> str:
    return step if _PLAIN.fullmatch(step) else "'" + step.replace("'", "''") + "'"
