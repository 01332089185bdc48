"""The settings of requests held against their model's schema."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from serving.settings.sections import Section


def _off(value: Any) -> Any:
    """``off`` without quotes is YAML's word for False."""
    return "off" if value is False else value


class ValidationSettings(Section):
    mode: Annotated[Literal["off", "log", "reject"], BeforeValidator(_off)] = Field(
        default="off",
        description="What becomes of a request with a value that its model's `schema.pbtxt` does"
        " not allow, where the model's configuration says nothing: `off` looks at none, `log`"
        " counts and logs them, `reject` refuses them.",
    )
