"""How ``serving start`` speaks: in lines for people, or in JSON like the log beside it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TextIO

from serving.cli.output import clean, styled

if TYPE_CHECKING:
    from serving.observe.nonblocking_writer import LineWriter
    from serving.settings import LogSettings

# What the log need not repeat to who reads the console already.
SAID = frozenset(
    {
        *("version_state", "model_unreadable", "registry_entry_ignored", "default_version"),
        *("version_held_back", "version_pinned", "signature_held_back", "trial_process_started"),
        "registry_folders_passed_over",
    }
)


class Console:
    """Never waits for whoever reads it, nor minds that nobody does."""

    def __init__(self, out: LineWriter, *, as_text: bool) -> None:
        self._out = out
        self.as_text = as_text

    def line(self, text: str, style: str = "") -> None:
        """For people only: the log says the same to programs."""
        if self.as_text:
            # Names of files and what is wrong with them are others' words.
            self._out.write(styled(clean(text), style) + "\n")

    def fact(self, event: str, **fields: object) -> None:
        """For programs only: in the form of the log."""
        if not self.as_text:
            from serving.observe.logs import json_line

            self._out.write(json_line(event, fields))


def opened(settings: LogSettings) -> tuple[Console, frozenset[str]]:
    """The console on stdout, and the events that the log leaves to it.

    Lines and JSON are never mixed in one place: beside a log in JSON there are lines only on a
    terminal that the log doesn't go to.
    """
    from serving.observe.logs import is_console
    from serving.observe.nonblocking_writer import LineWriter

    out = LineWriter(sys.stdout)
    log_as_text, together = is_console(settings, sys.stderr), _same_place(sys.stdout, sys.stderr)
    as_text = log_as_text or (out.isatty() and not together)
    leaves = log_as_text and together and settings.level != "debug"
    return Console(out, as_text=as_text), SAID if leaves else frozenset()


def _same_place(one: TextIO, other: TextIO) -> bool:
    """Whether both end in the same terminal, file or pipe."""
    try:
        return os.path.sameopenfile(one.fileno(), other.fileno())
    except (OSError, ValueError):  # one of them is no file
        return False
