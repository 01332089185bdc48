"""How a model stands as a whole: the words that lists are filtered and summed up by. Imports
nothing: commands that only ask a gateway need it too."""

from __future__ import annotations

from enum import StrEnum


class ModelState(StrEnum):
    """Several may be true of one model: a version answers while a newer one loads, or failed."""

    READY = "ready"
    LOADING = "loading"
    FAILED = "failed"
    UNLOADED = "unloaded"
