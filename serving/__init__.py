"""A gateway that serves versioned ONNX models over gRPC and HTTP.

``serving.publish`` is what trainers use (``serving.publishing``); it is imported when asked for.
"""

from __future__ import annotations

# ``typing`` is not imported: what comes before the signal handlers is to be quick.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from serving.publishing import publish

__all__ = ["__version__", "publish"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "publish":
        from serving.publishing import publish

        return publish
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
