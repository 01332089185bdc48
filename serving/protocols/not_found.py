"""Words for a path below /v2 that nothing answers: which part of it is wrong. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from serving.protocols.views import shown

_OF_A_MODEL = re.compile(r"/v2/models/[^/]+(?:/versions/[0-9]+)?/(?P<rest>.+)")


def not_found(path: str, patterns: Iterable[re.Pattern[str]]) -> str:
    """``patterns``: of the paths that there are."""
    bare = path.rstrip("/")
    if bare != path and any(pattern.fullmatch(bare) for pattern in patterns):
        return f"Not Found: the path ends without a slash: {shown(bare)}"
    found = _OF_A_MODEL.fullmatch(path)
    if found is not None:
        return (
            f"Not Found: a model has no '{shown(found['rest'])}':"
            " expected infer, ready, config or stats, or nothing for its metadata"
        )
    return "Not Found"
