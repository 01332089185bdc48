"""A window of one version: open, as sketches, or closed, as the message that is told of it."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Self

from serving.observe.statistics.columns import Table
from serving.observe.statistics.damaged import DamagedError
from serving.observe.statistics.rollup import Span
from serving.statistics.dataset import DatasetSketch
from serving.statistics.features import FeatureType
from serving.statistics.metadata import messages

INPUTS, OUTPUTS = "inputs", "outputs"
# What a document may unpack to: far more than any window has.
_MOST_BYTES = 16 * 1024 * 1024

# Of a window's memory; there are mostly more inputs than outputs.
_INPUTS_SHARE = 0.75


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of a window: features of inputs, and of outputs, and bytes of memory."""

    max_features: int
    most_bytes: int


@dataclass(slots=True)
class Open:
    """``start``: seconds since the epoch. ``samples``: requests that are in it."""

    start: float
    inputs: DatasetSketch
    outputs: DatasetSketch
    samples: int = 0

    @classmethod
    def new(cls, start: float, bounds: Bounds) -> Self:
        inputs = int(bounds.most_bytes * _INPUTS_SHARE)
        return cls(
            start,
            DatasetSketch(bounds.max_features, inputs),
            DatasetSketch(bounds.max_features, bounds.most_bytes - inputs),
        )

    @property
    def nbytes(self) -> int:
        return self.inputs.nbytes + self.outputs.nbytes

    def add(self, inputs: Iterable[Table], outputs: Iterable[Table], samples: int) -> None:
        for columns, rows in inputs:
            self.inputs.add(columns, rows)
        for columns, rows in outputs:
            self.outputs.add(columns, rows)
        self.samples += samples

    def goes_with(self, other: Open) -> bool:
        """Whether the two can be merged: a feature of one name has one type in both. A version that
        was loaded anew may be other files."""
        return all(
            _go_together(mine, theirs.features[name].type)
            for ours, theirs in ((self.inputs, other.inputs), (self.outputs, other.outputs))
            for name, mine in ((name, one.type) for name, one in ours.features.items())
            if name in theirs.features
        )

    def merge(self, other: Open) -> None:
        """``other`` is left as it is."""
        self.inputs.merge(other.inputs)
        self.outputs.merge(other.outputs)
        self.samples += other.samples

    def message(self, categorical: Collection[str] = ()) -> Any:
        """``DatasetFeatureStatisticsList`` of the datasets ``inputs`` and ``outputs``.
        ``categorical``: features of whole numbers that count nothing."""
        found = messages.DatasetFeatureStatisticsList()
        found.datasets.append(self.inputs.message(INPUTS, categorical))
        found.datasets.append(self.outputs.message(OUTPUTS, categorical))
        return found

    def closed(self, span: Span, end: float, categorical: Collection[str] = ()) -> Closed:
        data = zlib.compress(self.message(categorical).SerializeToString(), 1)
        return Closed(span, self.start, end, self.samples, data)

    def to_json(self) -> dict[str, Any]:
        kept = {INPUTS: self.inputs.to_bytes(), OUTPUTS: self.outputs.to_bytes()}
        packed = {name: _packed(zlib.compress(data, 1)) for name, data in kept.items()}
        return {"start": self.start, "samples": self.samples, **packed}

    @classmethod
    def from_json(cls, given: Any) -> Self:
        """Raises DamagedError."""
        try:
            inputs, outputs = (
                DatasetSketch.from_bytes(_inflated(_unpacked(given[name])))
                for name in (INPUTS, OUTPUTS)
            )
            return cls(float(given["start"]), inputs, outputs, int(given["samples"]))
        except (ValueError, LookupError, TypeError, OverflowError) as error:
            raise DamagedError("what was kept of a window can't be read") from error


@dataclass(frozen=True, slots=True)
class Closed:
    """``data``: the message, packed."""

    span: Span
    start: float
    end: float
    samples: int
    data: bytes

    @property
    def nbytes(self) -> int:
        return len(self.data)

    def message(self) -> Any:
        """See ``Open.message``. Raises DamagedError."""
        try:
            return messages.DatasetFeatureStatisticsList.FromString(_inflated(self.data))
        except Exception as error:
            raise DamagedError("what was kept of a window can't be read") from error

    def to_json(self) -> list[Any]:
        return [str(self.span), self.start, self.end, self.samples, _packed(self.data)]

    @classmethod
    def from_json(cls, given: Any) -> Self:
        """Raises DamagedError."""
        try:
            span, start, end, samples, data = given
            return cls(Span(span), float(start), float(end), int(samples), _unpacked(data))
        except (ValueError, TypeError, OverflowError) as error:
            raise DamagedError("what was kept of a window can't be read") from error


def _packed(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unpacked(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("it is no base64") from None


def _inflated(data: bytes) -> bytes:
    """Raises ValueError, also for what becomes too large."""
    try:
        inflater = zlib.decompressobj()
        found = inflater.decompress(data, _MOST_BYTES)
    except zlib.error:
        raise ValueError("it can't be unpacked") from None
    if not inflater.eof:
        raise ValueError("it is cut off, or too large")
    return found


def _go_together(one: FeatureType, other: FeatureType) -> bool:
    return one is other or {one, other} == {FeatureType.INT, FeatureType.FLOAT}
