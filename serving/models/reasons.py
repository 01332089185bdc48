"""Why something is meant not to be loaded: a kind for those who tell it apart, and its words.
Imports nothing: commands that only ask a gateway need it too."""

from __future__ import annotations

from enum import StrEnum


class Absence(StrEnum):
    """Of a model: why nothing of it is to answer; of a version on disk: what keeps it out. The
    value is what a model says of itself."""

    BY_COMMAND = "unloaded by command"
    NOBODY_ASKED = "not loaded: nobody has asked for it"
    BY_POLICY = "no version on disk is under its version policy"
    NO_VERSION = "it has no version"
