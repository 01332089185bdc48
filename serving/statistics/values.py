"""Values by how often they come, and how many different ones there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from serving.statistics.library import datasketches
from serving.statistics.sizes import MOST_TEXT_BYTES, Sizes

_LIBRARY_ERRORS = (ValueError, IndexError, RuntimeError)


class Frequencies:
    """By Apache DataSketches' frequent items and HyperLogLog.

    Exact until there are more different values than the table holds (three quarters of
    ``2**Sizes.frequent``); then a count is off by at most 3.5 / ``2**Sizes.frequent`` of all, and
    the number of different ones by HyperLogLog's error.
    """

    __slots__ = ("_distinct", "_frequent", "_most_distinct", "cut")

    def __init__(self, sizes: Sizes) -> None:
        library = datasketches()
        self._most_distinct = sizes.distinct
        self._frequent = library.frequent_strings_sketch(sizes.frequent) if sizes.frequent else None
        self._distinct = library.hll_sketch(sizes.distinct, library.tgt_hll_type.HLL_4)
        # Values that were longer than what is kept of them.
        self.cut = 0

    def add(self, counts: Mapping[str, int]) -> None:
        """Texts and how often each came; surrogates stand for what is no Unicode."""
        for text, count in counts.items():
            whole = kept = text
            if not text.isascii() or len(text) > MOST_TEXT_BYTES:
                data = text.encode("utf-8", "replace")
                whole = data.decode()
                kept = _head(data)
                self.cut += count if len(data) > MOST_TEXT_BYTES else 0
            self._distinct.update(whole)
            if self._frequent is not None:
                self._frequent.update(kept, count)

    def merge(self, other: Frequencies) -> None:
        library = datasketches()
        union = library.hll_union(self._most_distinct)
        union.update(self._distinct)
        union.update(other._distinct)
        self._distinct = union.get_result(library.tgt_hll_type.HLL_4)
        if self._frequent is None or other._frequent is None:
            self._frequent = None
        else:
            self._frequent.merge(other._frequent)
        self.cut += other.cut

    @property
    def unique(self) -> int:
        """Different values: exact while all of them are in the table, whole."""
        if self._frequent is not None and not self._slack and not self.cut:
            active: int = self._frequent.num_active_items
            return active
        return round(float(self._distinct.get_estimate()))

    @property
    def _slack(self) -> int:
        """What a count may lack: 0 where nothing was ever thrown out."""
        assert self._frequent is not None
        return int(self._frequent.get_upper_bound("")) - int(self._frequent.get_lower_bound(""))

    def top(self, most: int) -> list[tuple[str, int]]:
        """Values that are frequent for certain, the most frequent first, ties by text."""
        if self._frequent is None:
            return []
        certain = datasketches().frequent_items_error_type.NO_FALSE_POSITIVES
        found = [(text, count) for text, count, *_ in self._frequent.get_frequent_items(certain)]
        return sorted(found, key=lambda one: (-one[1], one[0]))[:most]

    @property
    def nbytes(self) -> int:
        frequent = self._frequent.get_serialized_size_bytes() if self._frequent is not None else 0
        return int(frequent) + int(self._distinct.get_compact_serialization_bytes())

    def to_parts(self) -> tuple[bytes, bytes]:
        frequent = b"" if self._frequent is None else bytes(self._frequent.serialize())
        return bytes(self._distinct.serialize_compact()), frequent

    @classmethod
    def from_parts(cls, parts: tuple[bytes, bytes], cut: int) -> Self:
        """Raises ValueError."""
        library = datasketches()
        made = cls.__new__(cls)
        try:
            made._distinct = library.hll_sketch.deserialize(parts[0])
            made._frequent = (
                library.frequent_strings_sketch.deserialize(parts[1]) if parts[1] else None
            )
        except _LIBRARY_ERRORS as error:
            raise ValueError("a sketch of values is damaged") from error
        made._most_distinct = int(made._distinct.lg_config_k)
        made.cut = cut
        return made


def kept_of(text: str) -> str:
    """What is kept of a text among the top values."""
    return _head(text.encode("utf-8", "replace"))


def _head(data: bytes) -> str:
    return data[:MOST_TEXT_BYTES].decode("utf-8", "ignore")
