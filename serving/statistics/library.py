"""Apache DataSketches, which the extra ``statistics`` installs."""

from __future__ import annotations

from typing import Any

from serving.errors import ConfigError


def datasketches() -> Any:
    """The library. Raises ConfigError where it is not installed."""
    try:
        import datasketches as library
    except ModuleNotFoundError:
        raise ConfigError(
            "statistics need the package 'datasketches': pip install 'serving[statistics]'"
        ) from None
    return library
