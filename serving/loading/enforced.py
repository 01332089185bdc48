"""What a version's schema asks of every request, as the core is to hold them against it.

A schema that can't be used is told in words and fails nothing: the version itself is as good as it
was, and one that is refused for a mistyped file would take its callers' answers with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from serving.model_config.validation import Mode, ValidationConfig
from serving.registry.mlmodel import Declared
from serving.settings import Settings
from serving.signature import Signature

if TYPE_CHECKING:
    from serving import _core
    from serving.validation.constraints import Constraint

# Notes of a schema that are told one by one, and characters of one: names in it are others' words.
_MOST_TOLD = 5
_MOST_WORDS = 300


def checks_of(
    folders: Sequence[Path],
    signature: Signature,
    declared: Declared,
    given: ValidationConfig,
    settings: Settings,
) -> tuple[list[_core.Constraint], tuple[str, ...]]:
    """And notes. ``folders``: where the schema may lie, the first that has one goes before the
    others; ``declared``: what MLflow says of the inputs."""
    usual = given.mode or settings.validation.mode
    if usual == "off" and all(mode == "off" for mode in given.features.values()):
        return [], ()
    # Messages take a while to be made, and most versions have no schema.
    from serving.statistics.files import SCHEMA, read, schema_in
    from serving.statistics.metadata import FormatError, Kind
    from serving.validation.constraints import compiled

    path = schema_in(folders)
    if path is None:
        # By the setting alone any model may be without one.
        asked = given.mode is not None or bool(given.features)
        return [], (f"requests are not checked: there is no {SCHEMA}",) if asked else ()
    try:
        schema = read(path, Kind.SCHEMA)
    except FormatError as error:
        return [], (f"requests are not checked: {SCHEMA}: {error}",)
    shapes = {one.name: one.client_shape for one in signature.inputs}
    found = compiled(schema, shapes, _names(signature, declared))
    datatypes = {one.name: one.datatype for one in signature.inputs}
    modes = {one.feature: given.features.get(one.feature, usual) for one in found.constraints}
    left_out = [*found.left_out, *_unfit(found.constraints, datatypes)]
    left_out += [
        f"{name}: validation.features names it, and the schema does not"
        for name in given.features
        if name not in modes
    ]
    checks = []
    for one in found.constraints:
        if modes[one.feature] != "off" and _fits(one, datatypes) and _asks(one):
            try:
                checks.append(_for_core(one, modes[one.feature], shapes))
            except (ValueError, OverflowError) as error:
                left_out.append(f"{one.feature}: {_why_senseless(error)}")
    return checks, tuple(_notes(left_out))


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
