"""The list of a gateway's models, as a person reads it on a narrow terminal and as columns."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from serving.cli.output import cell, print_line, print_table
from serving.models.model_state import ModelState
from serving.models.reasons import Absence

_COLUMNS = ("MODEL", "VERSION", "STATE", "PROVIDER", "THREADS", "BATCHING", "REASON")
_NARROW = ("MODEL", "VERSION", "STATE", "PROVIDER", "THREADS", "ROWS")
_SHORTENED = "ExecutionProvider"
_INDENT = "    "
_AGAIN = "as above"
_COLOURS = {"READY": "", "FAILED": "red"}
# Models of which a list needs no summary.
_SEEN_AT_ONCE = 20
# What models and versions say in the same words.
_OF_EACH = (Absence.BY_COMMAND, Absence.NOBODY_ASKED)


class Extent(NamedTuple):
    """How much a list is of: ``total`` models are there; ``cut``: more would have been listed."""

    total: int
    filtered: bool = False
    cut: bool = False


class Row(NamedTuple):
    """A version, or what is said of the whole model (``version`` None)."""

    model: str
    version: str | None
    state: str | None
    provider: str | None
    threads: int | None
    batching: str | None
    reason: str
    max_rows: int | None = None


def rows(model: dict[str, Any], *, everything: bool) -> Iterator[Row]:
    """``model``: as the admin port gives it; ``everything``: what is only on disk too."""
    name = model["name"]
    for v in model["versions"]:
        number = f"{v['version']}{' *' if v['version'] == model['default'] else ''}"
        why = _why(model, v)
        facts = (v["state"], v["provider"], v["threads"], v["batching"], why, v["max_rows"])
        yield Row(name, number, *facts)
    on_disk = model["unloaded"] if everything else ()
    for v in on_disk:
        yield Row(name, str(v["version"]), "on disk", None, None, None, _why(model, v))
    words = model_words(model)
    if on_disk and _is_said_of_each(model, words):
        return
    if words or not model["versions"]:
        yield Row(name, None, None, None, None, None, words)


def _why(model: dict[str, Any], version: dict[str, Any]) -> str:
    return "; ".join(filter(None, [_alias_words(model, version["version"]), version["reason"]]))


def _alias_words(model: dict[str, Any], version: int) -> str:
    named = [alias for alias, number in model.get("aliases", {}).items() if number == version]
    return f"alias{'es' if len(named) > 1 else ''} {', '.join(named)}" if named else ""


def model_words(model: dict[str, Any]) -> str:
    """What is to be said of a model beside its versions: pins and what they hold back, and why
    nothing answers."""
    reason, pinned = str(model["own_reason"]), model["pinned"]
    said = pinned is None or "pinned" in reason
    return reason if said else "; ".join(filter(None, [f"pinned to version {pinned}", reason]))


def _is_said_of_each(model: dict[str, Any], words: str) -> bool:
    """Whether a model's words say no more than what keeps each of its versions out."""
    absence = next((one for one in _OF_EACH if one.name == model["absence"]), None)
    return words == absence and all(v["absence"] == absence.name for v in model["unloaded"])


def print_models(
    models: Sequence[dict[str, Any]], *, everything: bool, extent: Extent | None = None
) -> None:
    """All of them: on a terminal what matters of many stands below the list, where it is seen."""
    found = [row for model in models for row in rows(model, everything=everything)]
    if not _is_terminal():
        before = [None, *found]
        print_table(_COLUMNS, [_columns(*pair) for pair in zip(found, before, strict=False)])
        return
    for line, style in narrow(found, shutil.get_terminal_size().columns):
        print_line(line, style)
    if words := summary(models, extent or Extent(len(models))):
        print_line(words, "bold")


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def summary(models: Sequence[dict[str, Any]], extent: Extent) -> str:
    """What a list of many comes to, "" where one sees it."""
    if extent.cut:
        return f"the first {len(models):,} of {_count(extent.total)}; --limit asks for more"
    if extent.filtered:
        return f"{len(models):,} of {_count(extent.total)}"
    if len(models) <= _SEEN_AT_ONCE:
        return ""
    states = Counter(state for model in models for state in model.get("states", ()))
    told = ", ".join(f"{states[state]:,} {state}" for state in ModelState if states[state])
    more = "; 'serving models --state failed' lists these" if states[ModelState.FAILED] else ""
    return f"{_count(len(models))}{f': {told}' if told else ''}{more}"


def _count(models: int) -> str:
    return f"{models:,} model{'' if models == 1 else 's'}"


def _columns(row: Row, before: Row | None) -> tuple[object, ...]:
    """One line a version, every cell filled: what is not there, or not yet, is None."""
    reason = row.reason
    if reason and before is not None and _says_the_same(before, row):
        reason = _AGAIN
    return tuple(value or None for value in (*row[:6], reason))


def narrow(found: Sequence[Row], width: int) -> Iterator[tuple[str, str]]:
    """Lines and their styles: the columns, and below them what takes a sentence."""
    cells = [_cells(row, before) for row, before in zip(found, [None, *found], strict=False)]
    table = [_NARROW, *cells]
    widths = [max(len(line[i]) for line in table) for i in range(len(_NARROW))]
    yield _joined(_NARROW, widths), "bold"
    for at, row in enumerate(found):
        if any(cells[at]):
            yield _joined(cells[at], widths), _COLOURS.get(row.state or "", "")
        after = found[at + 1] if at + 1 < len(found) else None
        if row.reason and not (after and _says_the_same(row, after)):
            for line in textwrap.wrap(cell(row.reason), max(20, width - len(_INDENT))):
                yield _INDENT + line, "dim"
    if any(row.version and row.version.endswith("*") for row in found):
        yield "* answers requests that name no version", "dim"


def _says_the_same(row: Row, after: Row) -> bool:
    return (row.model, row.state, row.reason) == (after.model, after.state, after.reason)


def _cells(row: Row, before: Row | None) -> tuple[str, ...]:
    """A model's name once; nothing for what has no column."""
    name = "" if before is not None and before.model == row.model else cell(row.model)
    provider = (row.provider or "").removesuffix(_SHORTENED)
    ready = row.state == "READY"
    largest = (str(row.max_rows) if row.max_rows else "one by one") if ready else ""
    threads = str(row.threads) if ready else ""
    return (name, row.version or "", row.state or "", provider, threads, largest)


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    pairs = zip(cells, widths, strict=True)
    return "  ".join(text.ljust(width) for text, width in pairs).rstrip()
