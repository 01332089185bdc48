"""``config.pbtxt``: Triton's text form, read against our own description of it."""

from __future__ import annotations

import re
from typing import Any

from serving import text_form
from serving.errors import ConfigError
from serving.model_config import triton_read, triton_rules
from serving.model_config.schema import ModelConfig
from serving.model_config.words import suggestion
from serving.wire import messages

FILE = "config.pbtxt"

_UNKNOWN_FIELD = re.compile(r'Message type "([\w.]+)" has no field named "(\w+)"')
_UNKNOWN_VALUE = re.compile(r'Enum type "([\w.]+)" has no value named "?(\w+)"?')


def read_pbtxt(text: str, name: str) -> ModelConfig:
    """The configuration of model ``name``. Raises ConfigError."""
    message = parse(text)
    try:
        triton_rules.check(message, name)
        return triton_read.to_model_config(message)
    except ConfigError as error:
        raise ConfigError(f"{FILE}: {error} (model {name!r})") from None


def parse(text: str) -> Any:
    """The ``ModelConfig`` message as written. Raises ConfigError with line and nearest key."""
    message = messages.ModelConfig()
    try:
        text_form.parse(text, message, messages.pool)
    except text_form.TextFormError as error:
        raise ConfigError(_explain(error)) from None
    return message


def _explain(error: text_form.TextFormError) -> str:
    words = error.words
    if found := _UNKNOWN_FIELD.search(words):
        words = _unknown_field(*found.groups())
    elif found := _UNKNOWN_VALUE.search(words):
        words = _unknown_value(*found.groups())
    return f"{FILE} line {error.line}: {words}" if error.line else f"{FILE}: {words}"


def _unknown_field(kind: str, field: str) -> str:
    descriptor = messages.pool.FindMessageTypeByName(kind)
    return f"unknown key {field!r}{suggestion(field, descriptor.fields_by_name)}"


def _unknown_value(kind: str, value: str) -> str:
    descriptor = messages.pool.FindEnumTypeByName(kind)
    return f"unknown value {value!r}{suggestion(value, descriptor.values_by_name)}"
