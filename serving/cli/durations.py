"""Durations as people write them: ``10m``, ``1h30m``, ``45s``, ``90``."""

from __future__ import annotations

import re

from serving.cli.output import UserError, clean

_UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
_WHOLE = re.compile(
    r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9}(?:\.\d{1,6})?)s)?", re.ASCII
)
_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,6})?", re.ASCII)


def seconds(text: str) -> float:
    """Raises UserError for what is no duration."""
    if _SECONDS.fullmatch(text):
        return float(text)
    found = _WHOLE.fullmatch(text)
    if not text or found is None:
        raise UserError(f"expected a duration such as 10m, 90s or 1h30m, got '{clean(text)}'", 2)
    parts = zip(found.groups(), _UNITS.values(), strict=True)
    return sum(float(count) * unit for count, unit in parts if count is not None)


def words(seconds: float) -> str:
    """The two largest units that are not nothing: ``1h30m``."""
    left, told = round(seconds), []
    for unit, size in _UNITS.items():
        count, left = divmod(left, int(size))
        if count:
            told.append(f"{count}{unit}")
    return "".join(told[:2]) or "0s"
