"""Triton's trace settings: texts on the wire, of which a rule for tracing is made, and back.

Spans go out by OTLP, which Triton calls the mode ``opentelemetry``: in it the fields for files of
traces are left out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.authorization import Gate
from serving.errors import ErrorCode, ServingError
from serving.observe.tracing.control import UNLIMITED, TraceChange, TraceControl, TraceRule
from serving.protocols.views import shown

# What a call says of each setting it names; no texts: what holds for all models, or from the start.
Values = Mapping[str, Sequence[str]]

_MODE = "opentelemetry"
_LEVEL, _RATE, _COUNT, _FREQUENCY, _MODE_KEY, _FILE = (
    "trace_level",
    "trace_rate",
    "trace_count",
    "log_frequency",
    "trace_mode",
    "trace_file",
)
_MOST_RATE, _MOST_COUNT = 2**32 - 1, 2**31 - 1
_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")


@dataclass(frozen=True, slots=True)
class TraceSettings:
    """What calls may see and change of what is traced."""

    control: TraceControl
    gate: Gate

    def now(self, model: str = "") -> dict[str, list[str]]:
        """All settings of a model, or of all that have none of their own."""
        return _shown(self.control.rule(model))

    def change(
        self,
        values: Values,
        headers: Mapping[str, str],
        model: str = "",
        known: Collection[str] = (),
    ) -> None:
        """As ``TraceControl.change``. Raises ServingError for who may not, and for values that
        say nothing."""
        self.gate.check(headers)
        self.control.change(read(values), model, known)


def _shown(rule: TraceRule) -> dict[str, list[str]]:
    rate = max(round(1 / rule.share), 1) if rule.share else 0
    return {
        _LEVEL: ["TIMESTAMPS" if rule.on else "OFF"],
        _RATE: [str(rate)],
        _COUNT: [str(rule.count.left)],
        _MODE_KEY: [_MODE],
    }


def as_json(settings: Mapping[str, list[str]]) -> dict[str, Any]:
    """A list is only what may be one."""
    return {key: texts if key == _LEVEL else texts[0] for key, texts in settings.items()}


def from_json(said: Mapping[str, object]) -> dict[str, list[str]]:
    """Null is no text. Raises ServingError for what are no texts."""
    return {key: _texts(key, value) for key, value in said.items()}


def _texts(key: str, value: object) -> list[str]:
    if value is None:
        return []
    texts = []
    for text in value if isinstance(value, list) else [value]:
        if not isinstance(text, str):
            raise _bad(f"Unable to parse '{shown(key)}', got: {shown(str(text))}")
        texts.append(text)
    return texts


def read(values: Values) -> TraceChange:
    """Raises ServingError: BAD_REQUEST for what can't be read, UNIMPLEMENTED for what can't be
    done here."""
    change = TraceChange()
    for key, texts in values.items():
        if key == _FILE:
            raise _unsupported("trace file location can not be updated through network protocol")
        if key == _LEVEL:
            change["on"] = _level(texts) if texts else None
        elif key == _RATE:
            change["share"] = _share(_only(key, texts)) if texts else None
        elif key == _COUNT:
            change["count"] = _count(_only(key, texts)) if texts else None
        elif key == _FREQUENCY:
            _check_frequency(_only(key, texts) if texts else "0")
        elif key == _MODE_KEY:
            _check_mode(_only(key, texts) if texts else _MODE)
        else:
            raise _bad(f"unrecognized trace setting '{shown(key)}'")
    return change


def _level(texts: Sequence[str]) -> bool:
    for text in texts:
        if text == "OFF" and len(texts) > 1:
            raise _bad("Expect only one trace level 'OFF' is specified")
        if text == "TENSORS":
            raise _unsupported(
                "trace level 'TENSORS' is not supported: spans have no tensors, the request log has"
            )
        if text not in ("OFF", "TIMESTAMPS"):
            raise _bad(f"Unable to parse '{_LEVEL}', got: {shown(text)}")
    return texts[0] != "OFF"


def _share(text: str) -> float:
    rate = _number(_RATE, text, 0, _MOST_RATE)
    return 1 / rate if rate else 0.0


def _count(text: str) -> int:
    number = _number(_COUNT, text, -(2**31), _MOST_COUNT)
    if number < UNLIMITED:
        raise _bad(f"Unable to parse '{_COUNT}'. Expecting value >= {UNLIMITED}, got: {number}")
    return number


def _check_frequency(text: str) -> None:
    if _number(_FREQUENCY, text, 0, _MOST_RATE):
        raise _unsupported(
            f"'{_FREQUENCY}' is not supported: traces are sent on as they end, to no file"
        )


def _check_mode(text: str) -> None:
    if text != _MODE:
        raise _unsupported(f"'{_MODE_KEY}' can not be updated: traces go out by OTLP")


def _number(key: str, text: str, least: int, most: int) -> int:
    if _INTEGER.fullmatch(text) is None:
        raise _bad(f"Unable to parse '{key}', got: {shown(text)}")
    number = int(text)
    if not least <= number <= most:
        raise _bad(
            f"Unable to parse '{key}', value is out of range [ {least}, {most} ], got: {number}"
        )
    return number


def _only(key: str, texts: Sequence[str]) -> str:
    if len(texts) != 1:
        raise _bad(f"expect only 1 value for '{key}'")
    return texts[0]


def _bad(words: str) -> ServingError:
    return ServingError(ErrorCode.BAD_REQUEST, words)


def _unsupported(words: str) -> ServingError:
    return ServingError(ErrorCode.UNIMPLEMENTED, words)
