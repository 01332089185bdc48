"""Whose values are in no log: the setting ``request_log.redact`` names tensors, and so does a
model's own configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from serving.models.views import Changes, VersionView
from serving.signature import Signature


def patterns_of(redact: Sequence[str], version: VersionView) -> tuple[str, ...]:
    """The setting's, and the version's own beside them."""
    config = version.facts.config
    return (*redact, *(config.request_log.redact if config is not None else ()))


def shown_of(patterns: Sequence[str], signature: Signature | None) -> tuple[str, ...] | None:
    """The tensors of a version that none of ``patterns`` names: None for all. By name, so that a
    tensor that is in no signature is hidden where anything is."""
    if not patterns:
        return None
    tensors = () if signature is None else (*signature.inputs, *signature.outputs)
    return tuple(
        tensor.name
        for tensor in tensors
        if not any(fnmatchcase(tensor.name, pattern) for pattern in patterns)
    )


def before(publish: Callable[[Changes], None], redact: Sequence[str]) -> Callable[[Changes], None]:
    """``publish``, once the core knows what it may log of the versions that then serve."""

    def published(changed: Changes) -> None:
        for view in changed.values():
            for version in view.versions if view is not None else ():
                if version.queue is not None:
                    shown = shown_of(patterns_of(redact, version), version.facts.signature)
                    version.queue.show_only(shown)
        publish(changed)

    return published
