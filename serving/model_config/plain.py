"""A parsed configuration as plain JSON values and back, for processes of our own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from serving.model_config.schema import ModelConfig


def to_plain(config: ModelConfig) -> dict[str, Any]:
    """Everything but ``triton``, the original message, which only clients want."""
    plain: dict[str, Any] = _plain(replace(config, triton=b""))
    del plain["triton"]
    return plain


def from_plain(plain: Mapping[str, Any]) -> ModelConfig:
    """Raises ValueError for what ``to_plain`` did not make."""
    return _adapter().validate_python(plain)


@cache
def _adapter() -> TypeAdapter[ModelConfig]:
    return TypeAdapter(ModelConfig)


@cache
def _fields_of(kind: type) -> tuple[str, ...]:
    """None of what is no dataclass."""
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else ()


def _plain(value: Any) -> Any:
    if names := _fields_of(type(value)):  # type: ignore[arg-type]  # a class is hashable
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value
