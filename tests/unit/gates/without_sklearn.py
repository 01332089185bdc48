"""The gates' child where scikit-learn is not installed."""

from __future__ import annotations

import sys

from serving.gates import child


def main() -> None:
    """Never returns."""
    sys.modules["sklearn.metrics"] = None  # type: ignore[assignment]  # how Python is told so
    child.main()


if __name__ == "__main__":
    main()
