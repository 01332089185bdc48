"""Whether statistics are made, by the settings and what is installed."""

from __future__ import annotations

from importlib.util import find_spec

from serving.errors import ConfigError
from serving.observe.statistics.taker import Statistics
from serving.settings import Settings
from serving.state_dir import StateDir
from serving.statistics.library import datasketches


def open_statistics(settings: Settings, state: StateDir) -> Statistics | None:
    """None: they are off. Raises ConfigError where they are asked for and the extra is missing."""
    enabled = settings.statistics.enabled
    needed = settings.canary.drift.by_statistics
    if not enabled and needed:
        raise ConfigError(
            "settings canary.drift.inputs and canary.drift.outputs go by statistics, which are off:"
            " set statistics.enabled, or leave both 0"
        )
    if not enabled or (enabled == "auto" and not needed and find_spec("datasketches") is None):
        return None
    # Now, and not while the first request waits for the interpreter.
    datasketches()
    return Statistics(settings, state)
