"""The features of a set of examples, in bounded memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Self

from serving.statistics import packing
from serving.statistics.features import Array, FeatureType, feature_type
from serving.statistics.metadata import messages
from serving.statistics.sizes import GRADES, OVERHEAD, Sizes
from serving.statistics.sketch import FeatureSketch

MOST_FEATURES = 1024
# Of a version and a window.
MOST_BYTES = 1024 * 1024
# Of files, where nothing else goes on.
MOST_FILE_BYTES = 64 * 1024 * 1024


class DatasetSketch:
    """Statistics of columns, added batch by batch; merged with those of another window or file.

    ``max_features``: of which statistics are kept, the first that come. ``most_bytes``: of memory,
    for all of them: each feature's sketches are as fine as fits when it is first seen, by what they
    may take at most (``Sizes.most_bytes``), so the bound holds whatever comes. Features that there
    was no place for are counted in ``left_out``. Not for several threads at once.
    """

    def __init__(self, max_features: int = MOST_FEATURES, most_bytes: int = MOST_BYTES) -> None:
        self.max_features = max_features
        self.most_bytes = most_bytes
        self.features: dict[str, FeatureSketch] = {}
        # Rows added.
        self.examples = 0
        # Times that a batch's feature found no place.
        self.left_out = 0
        self._reserved = OVERHEAD

    def add(
        self,
        columns: Mapping[str, Array],
        rows: int | None = None,
        types: Mapping[str, FeatureType] | None = None,
    ) -> None:
        """A batch: feature -> values, the rows first (``features.of_tensors`` makes them of
        tensors).

        ``rows``: that there are, where it is not what the longest column has. A feature that is not
        among the columns is missing in all of them. ``types``: of features for which the values
        themselves should not decide.
        """
        columns = {name: one.reshape(1) if one.ndim == 0 else one for name, one in columns.items()}
        if rows is None:
            rows = max((len(one) for one in columns.values()), default=0)
        known = types or {}
        new = {
            name: known.get(name) or feature_type(one)
            for name, one in columns.items()
            if name not in self.features
        }
        self._open(new)
        self.examples += rows
        for name, one in columns.items():
            if (sketch := self.features.get(name)) is not None:
                sketch.add(one)

    def _open(self, new: Mapping[str, FeatureType]) -> None:
        """Places for features that were not there before."""
        places = max(0, self.max_features - len(self.features))
        wanted = dict(list(new.items())[:places])
        sizes = self._sizes(wanted.values())
        for name, kind in wanted.items():
            most = sizes.most_bytes(kind)
            if self._reserved + most <= self.most_bytes:
                self._reserved += most
                self.features[name] = FeatureSketch(kind, sizes)
        self.left_out += sum(name not in self.features for name in new)

    def _sizes(self, kinds: Collection[FeatureType]) -> Sizes:
        """The finest with which all fit."""
        free = self.most_bytes - self._reserved
        for sizes in GRADES if self.most_bytes > MOST_BYTES else GRADES[1:]:
            if sum(map(sizes.most_bytes, kinds)) <= free:
                return sizes
        return GRADES[-1]

    def merge(self, other: DatasetSketch) -> None:
        """Takes in what the other was told. Raises ValueError where a feature of one name has
        another type in each; nothing is taken in then."""
        for name, one in other.features.items():
            if (mine := self.features.get(name)) is not None and not mine.goes_with(one):
                raise ValueError(f"'{name}' is {mine.type} in one and {one.type} in the other")
        self._open(
            {name: one.type for name, one in other.features.items() if name not in self.features}
        )
        self.examples += other.examples
        self.left_out += other.left_out
        for name, one in other.features.items():
            if (mine := self.features.get(name)) is not None:
                mine.merge(one)

    @property
    def nbytes(self) -> int:
        """Of memory, about; at most ``most_bytes``."""
        return OVERHEAD + sum(one.nbytes for one in self.features.values())

    def message(self, name: str = "", categorical: Collection[str] = ()) -> Any:
        """``DatasetFeatureStatistics``. ``categorical``: INT features that a schema calls so."""
        made = messages.DatasetFeatureStatistics(name=name, num_examples=self.examples)
        for feature, sketch in self.features.items():
            drawn = sketch.message(feature, self.examples, categorical=feature in categorical)
            made.features.append(drawn)
        return made

    def to_bytes(self) -> bytes:
        facts = {
            "max_features": self.max_features,
            "most_bytes": self.most_bytes,
            "examples": self.examples,
            "left_out": self.left_out,
            "names": list(self.features),
        }
        return packing.pack(facts, [one.to_bytes() for one in self.features.values()])

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """What ``to_bytes`` made. Raises ValueError."""
        facts, parts = packing.unpack(data)
        try:
            made = cls(int(facts["max_features"]), int(facts["most_bytes"]))
            made.examples, made.left_out = int(facts["examples"]), int(facts["left_out"])
            for name, part in zip(facts["names"], parts, strict=True):
                sketch = FeatureSketch.from_bytes(part)
                made.features[str(name)] = sketch
                made._reserved += sketch.sizes.most_bytes(sketch.type)
        except (KeyError, TypeError) as error:
            raise ValueError("the statistics are damaged") from error
        return made
