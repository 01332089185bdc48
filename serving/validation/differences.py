"""What one schema says otherwise than another, in lines. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from serving.validation.schemas import SchemaView

_MOST_VALUES = 20


@dataclass(frozen=True, slots=True)
class Difference:
    """``what``: a feature, or a part of the schema. ``change``: ``+``, ``-`` or ``~``."""

    what: str
    change: str
    words: str

    def __str__(self) -> str:
        return f"{self.change} {self.what}" + (f": {self.words}" if self.words else "")


def differences(old: Any, new: Any) -> list[Difference]:
    """In the order of names: features that came, went or say something else (a named domain is
    looked at by its values), then what the schemas say apart from features."""
    before, after = SchemaView(old), SchemaView(new)
    found = []
    for path in sorted(before.features.keys() | after.features.keys()):
        name = ".".join(path)
        if path not in after.features:
            found.append(Difference(name, "-", ""))
        elif path not in before.features:
            found.append(Difference(name, "+", ", ".join(_facts(after, after.features[path]))))
        else:
            a = _facts(before, before.features[path])
            b = _facts(after, after.features[path])
            found += [Difference(name, "~", words) for words in _changes(a, b)]
    rest = _changes(dict(_flat("", old, _PARTS)), dict(_flat("", new, _PARTS)))
    return found + [Difference("schema", "~", words) for words in rest]


# What of a schema is told by feature.
_PARTS = frozenset({"feature", "string_domain"})
_OF_FEATURE = frozenset({"name", "domain", "string_domain", "struct_domain"})


def _facts(schema: SchemaView, feature: Any) -> dict[str, Any]:
    facts = dict(_flat("", feature, _OF_FEATURE))
    values = schema.values_of(feature)
    if values is not None:
        facts["domain"] = frozenset(values)
    return facts


def _flat(above: str, message: Any, without: frozenset[str] = frozenset()) -> Iterator[Any]:
    """(path, value) of each field that is set; repeated ones are one value."""
    for field, value in message.ListFields():
        name = f"{above}{field.name}"
        if field.name in without:
            continue
        if field.message_type is None:
            yield name, _plain(field, value)
        elif hasattr(value, "DESCRIPTOR"):
            inner = list(_flat(f"{name}.", value))
            yield from inner or [(name, "set")]
        else:
            yield name, " ".join(str(value).split())


def _plain(field: Any, value: Any) -> Any:
    if hasattr(value, "append"):
        return frozenset(map(str, value))
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known else str(value)
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def _changes(a: dict[str, Any], b: dict[str, Any]) -> Iterator[str]:
    for name in sorted(a.keys() | b.keys()):
        before, after = a.get(name), b.get(name)
        if before != after:
            yield _change(name, before, after)


def _change(name: str, before: Any, after: Any) -> str:
    if isinstance(before, frozenset) and isinstance(after, frozenset):
        gone = [f"-{value!r}" for value in sorted(before - after)]
        come = [f"+{value!r}" for value in sorted(after - before)]
        return f"{name} {_some(gone + come)}"
    return f"{name} {_told(before)} -> {_told(after)}"


def _told(value: Any) -> str:
    if value is None:
        return "none"
    return _some([repr(each) for each in sorted(value)]) if isinstance(value, frozenset) else value


def _some(words: list[str]) -> str:
    more = len(words) - _MOST_VALUES
    return " ".join(words[:_MOST_VALUES]) + (f" and {more} more" if more > 0 else "")
