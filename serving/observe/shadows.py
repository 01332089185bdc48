"""What versions answered as shadows, against what was answered: for operators, and with no more of
a request than its log would show."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from serving import _core
from serving.models.views import ModelView, VersionView
from serving.observe.redaction import patterns_of, shown_of
from serving.settings import Settings

# Of what one example is written in: above what its tensors may take in any form.
_MOST_TEXT = 1 << 30
_NO_COUNTS: dict[str, Any] = {
    "copies": 0,
    "dropped": {},
    "failed": {},
    "uncompared": {},
    "compared": 0,
    "different": 0,
    "outputs": [],
}


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """One shadow of a model. ``share`` of the requests is copied, 0: none any more, and what was
    counted stands. ``counts``: as ``_core.Queue.shadow`` tells them."""

    version: int
    share: float
    state: str
    counts: dict[str, Any]


def reports(view: ModelView) -> Iterator[ShadowReport]:
    """Of the versions that are shadows, or were since they were loaded; ascending."""
    there = {version.number: version for version in view.versions}
    for number in sorted({*there, *view.split.shadows}):
        version = there.get(number)
        counts = version.queue.shadow() if version and version.queue is not None else None
        share = view.split.shadows.get(number, 0.0)
        if counts is not None or share:
            state = str(version.state) if version is not None else "not loaded"
            yield ShadowReport(number, share, state, counts or _NO_COUNTS)


def examples(version: VersionView, settings: Settings) -> list[dict[str, Any]]:
    """The last requests whose two answers differ, the newest first. Tensors are as a request log
    has them: those that ``request_log.redact`` or the model's configuration names come without
    values."""
    if version.queue is None:
        return []
    shown = shown_of(patterns_of(settings.request_log.redact, version), version.facts.signature)
    return [_example(*one, shown) for one in version.queue.shadow_examples()]


def _example(
    known: dict[str, Any],
    given: _core.Sample,
    shadow: _core.Sample,
    shown: Sequence[str] | None,
) -> dict[str, Any]:
    ours, theirs = (_written(one, shown) for one in (given, shadow))
    return {
        **known,
        "inputs": ours.get("inputs", []),
        "given": ours.get("outputs", []),
        "shadow": theirs.get("outputs", []),
    }


def _written(sample: _core.Sample, shown: Sequence[str] | None) -> dict[str, Any]:
    # What is no finite number JSON has no form for: it is told as a text.
    line, _ = _core.json_lines([sample], [shown], _MOST_TEXT)
    written: dict[str, Any] = json.loads(line, parse_constant=str)
    return written


def configure(tell: Callable[..., None], settings: Settings) -> None:
    """Have the core copy and compare as the settings say; ``tell``: ``_core.Server.shadows``."""
    said = settings.shadow
    tell(
        copies=said.copies,
        held_bytes=said.bytes,
        timeout_s=said.timeout_s,
        absolute=said.absolute_tolerance,
        relative=said.relative_tolerance,
        examples=said.examples,
        example_bytes=said.example_bytes,
        event_every_s=said.event_every_s,
    )
