"""What lies in a base path, by its names alone."""

from __future__ import annotations

import os

from serving.registry.names import MODEL_FILE, is_digits, version_number


def versions_below(path: str) -> frozenset[int]:
    """The versions that folders there are named after. Raises OSError."""
    with os.scandir(path) as entries:
        names = [entry.name for entry in entries]
    found = {number for name in names if (number := _number(name))}
    return frozenset(found | {1} if MODEL_FILE in names else found)


def _number(name: str) -> int:
    try:
        return version_number(name, zeros=True) if is_digits(name) else 0
    except ValueError:
        return 0
