"""What each operator does to rows, by its specification; a file for each kind of operator.

The specifications are those of ONNX (``ai.onnx``, ``ai.onnx.ml``: "Operators.md" and
"Operators-ml.md") and of onnxruntime's contributed operators ("ContribOperators.md").
"""

from __future__ import annotations

from importlib import import_module

_FILES = (
    "elementwise",
    "arithmetic",
    "shaping",
    "spreading",
    "making",
    "indexing",
    "cutting",
    "joining",
    "contraction",
    "reduction",
    "normalization",
    "spatial",
    "recurrent",
    "attention",
    "control",
    "rowless",
    "ml",
    "microsoft",
    "microsoft_quantised",
    "microsoft_products",
    "microsoft_attention",
    "microsoft_rowless",
)


def load() -> None:
    """Register all rules."""
    for name in _FILES:
        import_module(f"{__name__}.{name}")
