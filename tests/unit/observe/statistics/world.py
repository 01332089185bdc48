"""Samples, versions and series as the tests of statistics need them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from serving.loading.facts import VersionFacts
from serving.models.state import State
from serving.models.views import ModelView, VersionView
from serving.observe.statistics.arrays import SampledTensor
from serving.observe.statistics.rollup import Lengths, Span
from serving.observe.statistics.series import Series
from serving.observe.statistics.window import Bounds
from serving.registry.folder_origin import FolderOrigin
from serving.signature import DATATYPES, Signature, Tensor

NOON = 1_800_000_000.0 // 86400 * 86400 + 43200
LENGTHS = Lengths(60.0, {Span.MINUTE: 5, Span.HOUR: 3, Span.DAY: 2})


@dataclass(frozen=True)
class Sample:
    """What statistics read of ``_core.Sample``."""

    model: str = "m"
    version: int = 1
    inputs: Sequence[SampledTensor] = ()
    outputs: Sequence[SampledTensor] = ()
    drawn: bool = False
    for_statistics: bool = True

    @property
    def size(self) -> int:
        return sum(len(data) for _, _, _, data in (*self.inputs, *self.outputs))


def tensor(name: str, array: np.ndarray, datatype: str = "FP32") -> SampledTensor:
    if datatype == "BYTES":
        texts = [one if isinstance(one, bytes) else one.encode() for one in array.reshape(-1)]
        data = b"".join(struct.pack("<I", len(one)) + one for one in texts)
    else:
        data = array.astype(np.dtype(DATATYPES[datatype][0]).newbyteorder("<")).tobytes()
    return name, datatype, tuple(array.shape), data


def signature(
    inputs: Mapping[str, tuple[str, tuple[int, ...]]],
    outputs: Mapping[str, tuple[str, tuple[int, ...]]] | None = None,
    optional: Sequence[str] = (),
) -> Signature:
    def tensors(given: Mapping[str, tuple[str, tuple[int, ...]]]) -> tuple[Tensor, ...]:
        return tuple(
            Tensor(name, datatype, shape, name in optional)
            for name, (datatype, shape) in given.items()
        )

    return Signature(tensors(inputs), tensors(outputs or {}))


def view(
    of: Signature, folder: Path = Path("/nowhere"), *numbers: int, model: str = "m", **more: Any
) -> ModelView:
    """``numbers``: of its versions, each with the files of ``folder``."""
    versions = tuple(
        VersionView(
            number,
            State.READY,
            FolderOrigin(folder / str(number), folder),
            facts=VersionFacts(signature=of, **more),
        )
        for number in numbers or (1,)
    )
    return ModelView(model, versions)


@dataclass
class Clock:
    now: float = NOON
    asked: int = field(default=0)

    def __call__(self) -> float:
        return self.now


def series(most_bytes: int = 1 << 20) -> Series:
    return Series(Bounds(256, most_bytes), LENGTHS)


def features(message: Any, dataset: str = "inputs") -> dict[str, Any]:
    """Name -> FeatureNameStatistics."""
    (found,) = [one for one in message.datasets if one.name == dataset]
    return {".".join(one.path.step) or one.name: one for one in found.features}
