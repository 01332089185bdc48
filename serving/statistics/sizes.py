"""How large the sketches of a feature are, and the memory that they take at most."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from serving.statistics.features import FeatureType

# A text among the top values: longer ones are cut there. Bytes of UTF-8.
MOST_TEXT_BYTES = 64
# Kinds of shapes that are told apart.
MOST_SHAPES = 8
# Digits of a 64-bit integer with its sign.
_INTEGER_BYTES = 20
# Of a feature in Python: its counters, and the objects around the library's.
OVERHEAD = 1024
# Up to 2^32 values; beyond, a sketch of quantiles grows by 64 bytes for each doubling.
_MOST_DOUBLINGS = 32
# Levels of it have at least as many places.
_LEAST_LEVEL = 8
# An entry of the table of frequent values: the text's head, its count, a mark.
_ENTRY = 32 + 8 + 2


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of one feature's sketches.

    ``quantiles``: k of KLL (200: ranks within 1.33 %, at 99 % confidence). ``frequent``: logarithm
    of the table of frequent values, which holds three quarters of it (8: a value's count is off by
    at most 1.4 % of all); 0: none are kept. ``distinct``: logarithm of HyperLogLog's registers (11:
    1.8 %, one standard error).
    """

    quantiles: int
    frequent: int
    distinct: int

    @lru_cache(maxsize=64)  # noqa: B019 - those below live as long as the process
    def most_bytes(self, kind: FeatureType) -> int:
        """That a feature of the type takes at most, with up to 2^32 values."""
        numeric = kind in (FeatureType.INT, FeatureType.FLOAT)
        counted = kind is not FeatureType.FLOAT
        text = _INTEGER_BYTES if kind is FeatureType.INT else MOST_TEXT_BYTES
        return (
            OVERHEAD
            + (self._quantile_bytes() if numeric else 0)
            + (self._frequent_bytes(text) if counted and kind is not FeatureType.BYTES else 0)
            + (self._distinct_bytes() if counted else 0)
        )

    def _quantile_bytes(self) -> int:
        places, level = 0, float(self.quantiles)
        for _ in range(_MOST_DOUBLINGS - self.quantiles.bit_length() + 1):
            places += max(_LEAST_LEVEL, round(level))
            level *= 2 / 3
        return 8 * places

    def _frequent_bytes(self, text: int) -> int:
        entries = 1 << self.frequent if self.frequent else 0
        return entries * _ENTRY + entries * 3 // 4 * (text + 16)

    def _distinct_bytes(self) -> int:
        # HLL_4: half a byte each, and those that do not fit in one.
        return (1 << self.distinct) * 5 // 8 + 64


# Finest first. The first is for files; the second is what few features get within 1 MiB; the last
# but one what 256 columns do.
GRADES = (
    Sizes(quantiles=400, frequent=12, distinct=12),
    Sizes(quantiles=200, frequent=8, distinct=11),
    Sizes(quantiles=128, frequent=6, distinct=10),
    Sizes(quantiles=64, frequent=5, distinct=9),
    Sizes(quantiles=32, frequent=4, distinct=8),
    Sizes(quantiles=32, frequent=0, distinct=6),
)
DEFAULT = GRADES[1]
