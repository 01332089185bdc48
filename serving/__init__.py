"""A gateway that serves versioned ONNX models over gRPC and HTTP.

``serving.publish`` is what trainers use (``serving.publishing``); it is imported when asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serving.publishing import publish

__all__ = ["__version__", "publish"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "publish":
        from serving.publishing import publish

        return publish
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
