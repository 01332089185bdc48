"""Named exports whose rows are independent, each with two callers: what is to be batched."""

from __future__ import annotations

from . import exports_sequences, exports_sklearn, exports_tabular, exports_text, exports_vision

MODULES = (exports_vision, exports_text, exports_sequences, exports_tabular, exports_sklearn)
EXPORTS = [entry for one in MODULES for entry in one.entries]
