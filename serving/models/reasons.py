"""Why a version is not loaded, in words that others look for as well. Imports nothing: commands
that only ask a gateway need them too."""

from __future__ import annotations

NOBODY_ASKED = "not loaded: nobody has asked for it"
# Why the version policy leaves out a version, or all that a model has.
BY_POLICY = "the version policy is"
NONE_BY_POLICY = "no version on disk is under its version policy"
