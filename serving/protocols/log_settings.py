"""Triton's log settings, of our log levels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from serving.authorization import Gate
from serving.errors import ErrorCode, ServingError
from serving.observe.log_levels import LogLevels, Written
from serving.protocols.views import shown

Value = bool | int | str
# Each line has its time so, whatever its form.
_FORMAT = "ISO8601"
_MOST_VERBOSE = 2**31 - 1


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What calls may see and change of what is logged."""

    levels: LogLevels
    gate: Gate

    def now(self) -> dict[str, Value]:
        """Raises ServingError UNIMPLEMENTED where the log is not ours."""
        written = self._written()
        return {
            "log_file": "",
            "log_info": written.info,
            "log_warning": written.warning,
            "log_error": written.error,
            "log_verbose_level": written.verbose,
            "log_format": _FORMAT,
        }

    def change(self, values: Mapping[str, object], headers: Mapping[str, str]) -> None:
        """Raises ServingError for who may not, and for values that say nothing, before anything
        is changed."""
        self.gate.check(headers)
        self._written()
        self.levels.change(lambda written: _changed(written, values))

    def _written(self) -> Written:
        written = self.levels.written
        if written is None:
            raise ServingError(ErrorCode.UNIMPLEMENTED, "this server's log is not its own")
        return written


def _changed(written: Written, values: Mapping[str, object]) -> Written:
    for key, value in values.items():
        if key == "log_file":
            raise _unsupported("log file location can not be updated through network protocol")
        if key == "log_info":
            written = replace(written, info=_boolean(key, value))
        elif key == "log_warning":
            written = replace(written, warning=_boolean(key, value))
        elif key == "log_error":
            written = replace(written, error=_boolean(key, value))
        elif key == "log_verbose_level":
            written = replace(written, verbose=_verbose(key, value))
        elif key == "log_format":
            _check_format(key, value)
        else:
            raise _bad(f"unrecognized log setting '{shown(key)}'")
    return written


def _boolean(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _bad(f"expect boolean for '{key}'")
    return value


def _verbose(key: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _bad(f"expect int32 for '{key}'")
    if not 0 <= value <= _MOST_VERBOSE:
        raise _bad(f"expect 0 to {_MOST_VERBOSE} for '{key}'")
    return value


def _check_format(key: str, value: object) -> None:
    if not isinstance(value, str):
        raise _bad(f"expect string for '{key}'")
    if value not in ("default", _FORMAT):
        raise _bad(f"invalid argument for {key}, got: {shown(value)}")
    if value != _FORMAT:
        raise _unsupported(f"{key} '{value}' is not supported: times are written in ISO 8601")


def _bad(words: str) -> ServingError:
    return ServingError(ErrorCode.BAD_REQUEST, words)


def _unsupported(words: str) -> ServingError:
    return ServingError(ErrorCode.UNIMPLEMENTED, words)
