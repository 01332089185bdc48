"""What the state directory keeps, and another hand may have changed."""

from __future__ import annotations


class DamagedError(ValueError):
    """What was kept of statistics can't be read."""
