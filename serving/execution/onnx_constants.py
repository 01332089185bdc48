"""An ONNX graph's constants: their types and shapes, and what the small ones hold."""

from __future__ import annotations

from dataclasses import dataclass

# ONNX's element types.
FLOAT, INT32, INT64, BOOL = 1, 6, 7, 9


@dataclass(slots=True)
class Constant:
    """``dims``: its shape. ``values``: its integers, ``floats``: its floats; None where they
    are many (the core has the bounds), kept elsewhere, or of another type."""

    elem_type: int
    values: tuple[int, ...] | None = None
    dims: tuple[int, ...] = ()
    floats: tuple[float, ...] | None = None
