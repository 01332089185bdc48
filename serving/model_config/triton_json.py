"""A model configuration as a load request brings it: Triton's message in JSON."""

from __future__ import annotations

import json
import re
from typing import Any

from google.protobuf import json_format

from serving.errors import ConfigError
from serving.model_config import triton_read, triton_rules
from serving.model_config.load import MAX_BYTES
from serving.model_config.schema import ModelConfig
from serving.model_config.words import suggestion
from serving.wire import messages

_UNKNOWN_FIELD = re.compile(r'Message type "([\w.]+)" has no field named "([^"]*)"')


def read_triton_json(text: str, name: str) -> ModelConfig:
    """The configuration of model ``name``.

    proto3's JSON: both spellings of a key, integers also as strings; and the names of
    enumerations in any case. Raises ConfigError, for unknown keys too.
    """
    message = _parse(text)
    triton_rules.check(message, name)
    return triton_read.to_model_config(message)


def _parse(text: str) -> Any:
    if len(text) > MAX_BYTES:
        raise ConfigError(f"it has more than {MAX_BYTES} characters")
    message = messages.ModelConfig()
    try:
        found = json.loads(text.removeprefix("\ufeff"), object_pairs_hook=_without_repeats)
        if not isinstance(found, dict):
            raise ConfigError("it must be a JSON object")
        folded = _with_capitals(found, message.DESCRIPTOR)
        json_format.ParseDict(folded, message, descriptor_pool=messages.pool)
    except json_format.ParseError as error:
        raise ConfigError(_explain(error)) from None
    except json.JSONDecodeError as error:
        raise ConfigError(f"line {error.lineno} is not valid JSON") from None
    except RecursionError:
        raise ConfigError("it is nested too deeply") from None
    except (ValueError, TypeError) as error:
        # What protobuf does not wrap: a lone surrogate, a number beyond its type.
        raise ConfigError(_first_line(error)) from None
    return message


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ConfigError(f"key {key!r} is given twice")
        found[key] = value
    return found


def _with_capitals(value: Any, descriptor: Any) -> Any:
    """The same, the names of enumerations in capitals as the message has them."""
    if not isinstance(value, dict):
        return value
    folded = {}
    for key, item in value.items():
        field = descriptor.fields_by_name.get(key) or descriptor.fields_by_camelcase_name.get(key)
        folded[key] = item if field is None else _field_with_capitals(item, field)
    return folded


def _field_with_capitals(value: Any, field: Any) -> Any:
    if isinstance(value, list):
        return [_field_with_capitals(item, field) for item in value]
    if field.enum_type is not None:
        return value.upper() if isinstance(value, str) else value
    kind = field.message_type
    if kind is None:
        return value
    if kind.GetOptions().map_entry and isinstance(value, dict):
        inner = kind.fields_by_name["value"]
        return {key: _field_with_capitals(item, inner) for key, item in value.items()}
    return _with_capitals(value, kind)


def _explain(error: json_format.ParseError) -> str:
    words = _first_line(error)
    if found := _UNKNOWN_FIELD.search(words):
        kind, field = found.groups()
        known = messages.pool.FindMessageTypeByName(kind).fields_by_name
        return f"unknown key {field!r}{suggestion(field, known)}"
    return words


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:500]
