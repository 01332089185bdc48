"""What a version's schema asks of every request, as the core is to hold them against it.

A schema that can't be used is told in words and fails nothing: the version itself is as good as it
was, and one that is refused for a mistyped file would take its callers' answers with it. One that
was good, and is mistyped when it is edited, holds on as it was.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from serving.events import log
from serving.model_config.validation import SCHEMA, Mode, ValidationConfig
from serving.registry.mlmodel import Declared
from serving.settings import Settings
from serving.signature import Signature

if TYPE_CHECKING:
    from serving import _core
    from serving.validation.constraints import Constraint

# Notes of a schema that are told one by one, and characters of one: names in it are others' words.
_MOST_TOLD = 5
_MOST_WORDS = 300
# Of a file: what tells that it is another than before; None: there is none.
_Stamp = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class Terms:
    """Of a version: what a schema is held against, and what becomes of anomalies. ``declared``:
    what MLflow says of the inputs; ``given``: what the model's configuration says."""

    model: str
    version: int
    signature: Signature
    declared: Declared
    given: ValidationConfig
    settings: Settings

    @property
    def usual(self) -> Mode:
        return self.given.mode or self.settings.validation.mode

    @property
    def is_off(self) -> bool:
        return self.usual == "off" and all(mode == "off" for mode in self.given.features.values())


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a schema asks of requests, each with its mode, and that as the core has it; ``wrong``:
    why it could not be read."""

    rules: tuple[tuple[Constraint, Mode], ...] = ()
    checks: tuple[_core.Constraint, ...] = ()
    notes: tuple[str, ...] = ()
    wrong: str = ""


class Enforced:
    """What requests of one loaded version are held against. The version's own schema, which is one
    of its files, is read at its load; the model's, which is edited, whenever ``look`` is called.

    From any thread; one that looks keeps others waiting.
    """

    def __init__(self, terms: Terms, version: Path, model: Path) -> None:
        """``version``, ``model``: the folders in which it may lie, the first goes before."""
        self._terms = terms
        self._lock = threading.Lock()
        self._queue: _core.Queue | None = None
        # The same folder may be both: then somebody edits it.
        self._is_own = version != model and os.path.lexists(version / SCHEMA)
        path = (version if self._is_own else model) / SCHEMA
        self._stamp = _stamp(path)
        self._asked = _asked(terms, path if self._stamp is not None else None)
        self._trouble = (
            f"requests are not checked: {self._asked.wrong}" if self._asked.wrong else ""
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What is other than asked for, in words."""
        return (*self._asked.notes, *filter(None, [self._trouble]))

    def begin(self, queue: _core.Queue) -> None:
        """Have requests in this line checked."""
        with self._lock:
            self._queue = queue
            if self._asked.rules:
                queue.check(self._asked.checks)

    def look(self, model: Path) -> bool:
        """Take up what the model's schema says now; ``model``: its folder. Whether ``notes`` are
        others. A schema that can't be used changes nothing, and is told once."""
        with self._lock:
            if self._terms.is_off or self._is_own:
                return False
            path = model / SCHEMA
            stamp = _stamp(path)
            if stamp == self._stamp:
                return False
            before, self._stamp = self.notes, stamp
            self._take(_asked(self._terms, path if stamp is not None else None))
            return self.notes != before

    def _take(self, asked: _Asked) -> None:
        wrong = asked.wrong
        if not wrong and asked.rules != self._asked.rules and self._queue is not None:
            try:
                self._queue.check(asked.checks)
            except ValueError as error:
                wrong = f"{SCHEMA}: {error}"
        if wrong:
            self._keep(wrong)
            return
        self._tell_changed(asked)
        self._asked, self._trouble = asked, ""

    def _keep(self, wrong: str) -> None:
        held = bool(self._asked.rules)
        effect = "what it said before holds" if held else "requests are not checked"
        self._trouble = f"{effect}: {wrong}"
        log.warning("request_schema_unusable", **self._names(), reason=wrong, effect=effect)

    def _tell_changed(self, asked: _Asked) -> None:
        if asked.rules == self._asked.rules and not self._trouble:
            return
        features = len({one.feature for one, _ in asked.rules})
        log.info("request_schema_changed", **self._names(), features=features)

    def _names(self) -> dict[str, str | int]:
        return {"model": self._terms.model, "version": self._terms.version}


def _asked(terms: Terms, path: Path | None) -> _Asked:
    """By the schema in this file; None: there is none."""
    if terms.is_off:
        return _Asked()
    if path is None:
        # By the setting alone any model may be without one.
        asked = terms.given.mode is not None or bool(terms.given.features)
        return _Asked(notes=(f"requests are not checked: there is no {SCHEMA}",) if asked else ())
    # Messages take a while to be made, and most versions have no schema.
    from serving.statistics.files import read_schema_in
    from serving.statistics.metadata import FormatError
    from serving.validation.constraints import compiled

    try:
        schema = read_schema_in(path.parent)
    except FormatError as error:
        return _Asked(wrong=f"{SCHEMA}: {error}")
    signature, given = terms.signature, terms.given
    shapes = {one.name: one.client_shape for one in signature.inputs}
    found = compiled(schema, shapes, _names(signature, terms.declared))
    datatypes = {one.name: one.datatype for one in signature.inputs}
    modes = {one.feature: given.features.get(one.feature, terms.usual) for one in found.constraints}
    left_out = [*found.left_out, *_unfit(found.constraints, datatypes)]
    left_out += [
        f"{name}: validation.features names it, and the schema does not"
        for name in given.features
        if name not in modes
    ]
    rules, checks = [], []
    for one in found.constraints:
        mode = modes[one.feature]
        if mode != "off" and _fits(one, datatypes) and _asks(one):
            try:
                checks.append(_for_core(one, mode, shapes))
                rules.append((one, mode))
            except (ValueError, OverflowError) as error:
                left_out.append(f"{one.feature}: {_why_senseless(error)}")
    return _Asked(tuple(rules), tuple(checks), tuple(_notes(left_out)))


def _stamp(path: Path) -> _Stamp:
    """A link to nothing had better be told than taken for no schema."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0) if os.path.lexists(path) else None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _fits(one: Constraint, datatypes: Mapping[str, str]) -> bool:
    return one.numbers == (datatypes[one.tensor] != "BYTES")


def _asks(one: Constraint) -> bool:
    """Whether there is anything that a value of it could be and should not."""
    bounds = (one.least, one.most, one.values, one.least_values, one.most_values)
    limits = one.required or one.whole or not (one.nan and one.infinite)
    return limits or any(bound is not None for bound in bounds)


def _unfit(all_: Sequence[Constraint], datatypes: Mapping[str, str]) -> Iterator[str]:
    for one in all_:
        if not _fits(one, datatypes):
            said = "numbers" if one.numbers else "texts"
            yield f"{one.feature}: it is of {said}, and its input of {datatypes[one.tensor]}"


def _for_core(one: Constraint, mode: Mode, shapes: Mapping[str, Sequence[int]]) -> _core.Constraint:
    from serving import _core

    asked = asdict(one)
    feature, tensor, at = (asked.pop(key) for key in ("feature", "tensor", "column"))
    values = asked.pop("values")
    column = None if at is None else (at, shapes[tensor][1])
    texts = None if values is None else list(values)
    return _core.Constraint(
        feature, tensor, column, refuses=mode == "reject", values=texts, **asked
    )


def _why_senseless(error: ValueError | OverflowError) -> str:
    """Any number may stand in a file."""
    if isinstance(error, OverflowError):
        return "its shape or value_count is none that a row can have"
    return str(error)


def _names(signature: Signature, declared: Declared) -> dict[str, list[str]]:
    """Of the columns of a data frame that becomes the only input that must be there."""
    required = [one.name for one in signature.inputs if not one.optional]
    names = [field.name or "" for field in declared.fields]
    if declared.form != "columns" or declared.unusable or len(required) != 1 or not all(names):
        return {}
    return {required[0]: names}


def _notes(left_out: Sequence[str]) -> Iterator[str]:
    for words in left_out[:_MOST_TOLD]:
        yield f"not asked of requests: {words[:_MOST_WORDS]}"
    if len(left_out) > _MOST_TOLD:
        yield f"not asked of requests: {len(left_out) - _MOST_TOLD} more things in its schema"
