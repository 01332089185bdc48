"""Waiting for memory to be given back."""

from __future__ import annotations

import threading


def trims_end(timeout: float) -> bool:
    """Wait until all that trimmers of this process were asked for is done; whether it was within
    ``timeout`` seconds."""
    trimming = [one for one in threading.enumerate() if one.name == "trim"]
    for one in trimming:
        one.join(timeout)
    return not any(one.is_alive() for one in trimming)
