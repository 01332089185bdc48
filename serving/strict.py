"""The one way to read what others may have written: documents, caches, what a child says.

What is read becomes a frozen ``Strict``, or an error that says in words what is wrong and where.
No value is taken for one of another type, no key that is not known is passed over, and nothing
is read that is not bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

# Characters of a text, and entries of a list.
MOST = 4096
_MOST_SHOWN = 64
# How pydantic marks a key that is wrong itself.
_KEY = "[key]"

Value = TypeVar("Value")


class StrictError(ValueError):
    """What was read is not what it should be: words for a user, without a path."""


class Strict(BaseModel):
    """A table with these keys and no others."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, value: object) -> object:
        """At once: of each of a million keys that are not known pydantic would make an error."""
        if not isinstance(value, dict):
            raise ValueError("is not an object")
        fields = cls.model_fields
        for name, field in fields.items():
            if name not in value and field.is_required():
                raise ValueError(f"has no '{name}'")
        unknown = [key for key in value if key not in fields]
        if unknown:
            raise ValueError(f"has the unknown key '{_shown(min(unknown))}'")
        return value

    @classmethod
    def read(cls, value: object, what: str) -> Self:
        """Raises StrictError, in words about ``what`` (``its manifest``)."""
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise StrictError(_words(first["loc"], dict(first), what)) from None


def few(most: int) -> BeforeValidator:
    """Refuses more entries before any of them is looked at."""
    return BeforeValidator(partial(_few, most=most))


def _few(value: Any, most: int) -> Any:
    if isinstance(value, list | dict) and len(value) > most:
        raise ValueError(f"has more than {most} entries")
    return value


def as_text(text: str) -> str:
    """What a ``Text`` may be, for who writes one: names of files, for example, may hold bytes that
    are no text."""
    return text.encode(errors="backslashreplace").decode()[:MOST]


Text = Annotated[str, Field(max_length=MOST)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
# JSON has lists where we have tuples.
Many = Annotated[tuple[Value, ...], Field(strict=False, fail_fast=True)]
Few = Annotated[tuple[Value, ...], Field(strict=False), few(MOST)]


def _words(place: tuple[int | str, ...], error: Mapping[str, Any], what: str) -> str:
    where = ".".join(_shown(part) for part in place if part != _KEY)
    subject = f"'{where}' of {what}" if where else what
    said = error.get("ctx", {})
    return f"{subject} {_PHRASES.get(error['type'], _other)({**said, 'msg': error['msg']})}"


def _other(said: Mapping[str, Any]) -> str:
    return f"is wrong: {said['msg']}"


def _fixed(words: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda said: words


_NO_INTEGER, _NO_TUPLE = _fixed("is no integer"), _fixed("is no list")
_PHRASES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "bool_type": _fixed("is neither true nor false"),
    "dict_type": _fixed("is not an object"),
    "finite_number": _fixed("is no finite number"),
    "float_type": _fixed("is no number, or too large"),
    "greater_than": lambda said: f"is {said['gt']} or less",
    "greater_than_equal": lambda said: f"is less than {said['ge']}",
    "int_type": _NO_INTEGER,
    "less_than": lambda said: f"is {said['lt']} or more",
    "less_than_equal": lambda said: f"is more than {said['le']}",
    "frozen_set_type": _NO_TUPLE,
    "list_type": _NO_TUPLE,
    "literal_error": lambda said: f"is not {said['expected']}",
    "string_too_long": lambda said: f"is too long: more than {said['max_length']} characters",
    "string_type": _fixed("is no text"),
    "string_unicode": _fixed("holds half a character"),
    "tuple_type": _NO_TUPLE,
    "value_error": lambda said: str(said["error"]),
}


def _shown(part: object) -> str:
    text = str(part)[:_MOST_SHOWN]
    return text if text.isprintable() else repr(text)[1:-1]
