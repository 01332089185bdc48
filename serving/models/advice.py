"""The commands that a message tells people to give, as they can be pasted into a shell."""

from __future__ import annotations

import shlex


def accept(model: str, version: int) -> str:
    """What lets a version answer that its signature holds back."""
    return f"serving models accept {shlex.quote(model)} {version}"


def bless(model: str, version: int) -> str:
    """What lets a version take traffic that its gates keep from it."""
    return f"serving models bless {shlex.quote(model)} {version} --reason WHY"


def unpin(model: str) -> str:
    """What lets go of a pin."""
    return f"serving models default {shlex.quote(model)} auto"


def load(model: str, version: int) -> str:
    """What loads a version, whatever the version policy says."""
    return f"serving models load {shlex.quote(model)} {version}"


def roll_out(model: str, version: int) -> str:
    """What has a version take over step by step."""
    return f"serving rollout start {shlex.quote(model)} {version}"


def clear_weights(model: str) -> str:
    """What gives the answer back to the version policy."""
    return f"serving rollout weights {shlex.quote(model)} --clear"
