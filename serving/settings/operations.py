"""What operators may ask about settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from serving.operations import Form, Operation, telling
from serving.settings.shown import settings_json
from serving.settings.tree import Settings


class SettingInfo(Form):
    key: str
    value: Any
    origin: Literal["default", "file", "environment", "flag"]


class SettingsList(Form):
    settings: list[SettingInfo]


def operations(settings: Settings, origins: Mapping[str, str]) -> tuple[Operation, ...]:
    return (
        telling(
            *("/api/v1/settings", "listSettings"),
            "Every setting with its effective value and where that came from",
            SettingsList,
            lambda: {"settings": settings_json(settings, origins)},
        ),
    )
