"""A feature's values as they come, in bounded memory, and what TFX's message says of them."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from serving.statistics import draw, packing
from serving.statistics.features import Array, FeatureType, Flat
from serving.statistics.numbers import Extremes, Moments, Quantiles
from serving.statistics.presence import Presence
from serving.statistics.reading_values import Lengths, many_bytes, numbers, texts, with_nans
from serving.statistics.sizes import DEFAULT, OVERHEAD, Sizes
from serving.statistics.values import Frequencies

_NUMERIC = (FeatureType.INT, FeatureType.FLOAT)


class FeatureSketch:
    """One feature: add values, merge with another of the same type, ask for the message.

    Counts, extremes, zeros, NaN, infinities and lengths are exact; mean and standard deviation as
    numpy's within rounding, whatever the numbers (``Moments``); ranks of quantiles, counts of
    frequent values and the number of different ones within what ``Sizes`` says. An INT feature that
    gets numbers with a fraction becomes a FLOAT one. Raises ConfigError where ``datasketches`` is
    missing.
    """

    __slots__ = (
        *("extremes", "frequencies", "lengths", "mistyped", "moments", "presence"),
        *("quantiles", "sizes", "type"),
    )

    def __init__(self, kind: FeatureType | str, sizes: Sizes = DEFAULT) -> None:
        self.type = FeatureType(kind)
        self.sizes = sizes
        self.presence = Presence()
        self.extremes = Extremes()
        self.moments = Moments()
        self.lengths = Lengths()
        # Values that are not of the type, in rows that count as having the feature.
        self.mistyped = 0
        self.quantiles = Quantiles(sizes.quantiles) if self.type in _NUMERIC else None
        self.frequencies = self._counting() if self.type is not FeatureType.FLOAT else None

    def _counting(self) -> Frequencies:
        if self.type is FeatureType.BYTES:
            return Frequencies(Sizes(self.sizes.quantiles, 0, self.sizes.distinct))
        return Frequencies(self.sizes)

    @property
    def rows(self) -> int:
        """That it was told of, with and without the feature."""
        return self.presence.non_missing + self.presence.missing

    def add(self, array: Array, rows: int | None = None) -> None:
        """``array``: any dtype, the rows first; or of any shape, as the values of one row where
        ``rows`` is 1 and the first axis is not."""
        if rows == 1 and (array.ndim == 0 or array.shape[0] != 1):
            array = array[None]
        flat = Flat.of(with_nans(array) if self.type in _NUMERIC else array)
        self.presence.add(flat)
        self.extremes.nans += flat.nans
        if flat.values.size:
            if self.type in _NUMERIC:
                self._add_numbers(flat.values)
            else:
                self._add_texts(flat.values)

    def missing(self, rows: int) -> None:
        """Rows that do not have the feature."""
        self.presence.missing += rows

    def _add_numbers(self, values: Array) -> None:
        found, mistyped = numbers(values, integers=self.type is FeatureType.INT)
        self.mistyped += mistyped
        if self.type is FeatureType.INT and found.dtype.kind not in "biu":
            found = self._integers(found)
        finite = self.extremes.add(found)
        self.moments.add(finite)
        if self.quantiles is not None:
            self.quantiles.add(finite)
        if self.frequencies is not None:
            self._count(found)

    def _integers(self, found: Array) -> Array:
        """Integers that stand as floats, since NaN is among them; else this becomes a FLOAT
        feature."""
        given = found[~np.isnan(found)]
        whole = given.astype(np.int64) if _fits(given) else None
        if whole is None or (whole != given).any():
            self.type, self.frequencies = FeatureType.FLOAT, None
            return found
        self.extremes.nans += found.size - given.size
        return whole

    def _count(self, found: Array) -> None:
        if self.frequencies is not None:
            whole = found.astype(np.uint8) if found.dtype.kind == "b" else found
            values, counts = np.unique(whole, return_counts=True)
            self.frequencies.add(dict(zip(map(str, values.tolist()), counts.tolist(), strict=True)))

    def _add_texts(self, values: Array) -> None:
        read = many_bytes if self.type is FeatureType.BYTES else texts
        found = read(values, self.lengths)
        if self.frequencies is not None:
            self.frequencies.add(found)

    def goes_with(self, other: FeatureSketch) -> bool:
        """Whether the two can be merged."""
        return self.type is other.type or {self.type, other.type} == set(_NUMERIC)

    def merge(self, other: FeatureSketch) -> None:
        """Takes in what the other was told. Raises ValueError where the types do not go
        together."""
        if not self.goes_with(other):
            raise ValueError(f"statistics of {self.type} and of {other.type} cannot be joined")
        if self.type is not other.type:
            self.type, self.frequencies = FeatureType.FLOAT, None
        self.presence.merge(other.presence)
        self.extremes.merge(other.extremes)
        self.moments.merge(other.moments)
        self.lengths.merge(other.lengths)
        self.mistyped += other.mistyped
        if self.quantiles is not None and other.quantiles is not None:
            self.quantiles.merge(other.quantiles)
        if self.frequencies is not None and other.frequencies is not None:
            self.frequencies.merge(other.frequencies)

    @property
    def nbytes(self) -> int:
        """Of memory, about; at most ``sizes.most_bytes(type)``."""
        quantiles = self.quantiles.nbytes if self.quantiles is not None else 0
        frequencies = self.frequencies.nbytes if self.frequencies is not None else 0
        return OVERHEAD + quantiles + frequencies

    def message(
        self, name: str = "", examples: int | None = None, *, categorical: bool = False
    ) -> Any:
        """``FeatureNameStatistics``, as ``draw.feature`` has it. ``examples``: rows that there
        were; those that this was not told of miss the feature. ``categorical``: an INT feature as
        TFX has those that a schema calls so, with top values instead of quantiles."""
        return draw.feature(self, name, examples, categorical=categorical)

    def to_bytes(self) -> bytes:
        facts = {
            "type": str(self.type),
            "sizes": [self.sizes.quantiles, self.sizes.frequent, self.sizes.distinct],
            "presence": self.presence.facts(),
            "extremes": self.extremes.facts(),
            "moments": self.moments.facts(),
            "lengths": self.lengths.facts(),
            "mistyped": self.mistyped,
            "cut": self.frequencies.cut if self.frequencies is not None else None,
        }
        parts = [self.quantiles.to_bytes() if self.quantiles is not None else b""]
        parts += self.frequencies.to_parts() if self.frequencies is not None else ()
        return packing.pack(facts, parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """What ``to_bytes`` made. Raises ValueError."""
        facts, parts = packing.unpack(data)
        try:
            made = cls(facts["type"], Sizes(*facts["sizes"]))
            made.presence = Presence(**facts["presence"])
            made.extremes = Extremes(**facts["extremes"])
            made.moments = Moments(**facts["moments"])
            made.lengths = Lengths(**facts["lengths"])
            made.mistyped = int(facts["mistyped"])
            made.quantiles = Quantiles.from_bytes(parts[0]) if parts[0] else None
            cut = facts["cut"]
            made.frequencies = (
                None if cut is None else Frequencies.from_parts((parts[1], parts[2]), int(cut))
            )
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError("the statistics are damaged") from error
        return made


def _fits(given: Array) -> bool:
    return not given.size or bool((np.abs(given) < 2.0**63).all())
