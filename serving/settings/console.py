"""The section of settings for the console."""

from __future__ import annotations

from pydantic import Field

from serving.settings.sections import CountOrAuto, Section


class ConsoleSettings(Section):
    enabled: bool = Field(
        default=True,
        description="Whether browsers get a page at `/` of the admin port; others get JSON there"
        " either way.",
    )
    curve_versions: CountOrAuto = Field(
        default=1000,
        description="Versions, the last ones that were asked, of which the figures of an hour and a"
        " day are kept, at most 36 KB each; and as many that are loaded, asked or not, of which the"
        " memory is kept, at most 13 KB each (0: of none).",
    )
