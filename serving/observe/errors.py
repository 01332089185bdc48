"""What goes wrong on the way to whoever collects what is observed."""

from __future__ import annotations


class ExportError(Exception):
    """What could not be sent now, in words for the operator: no secret, no answer's text. It
    stays where it waited and is sent again."""
