"""Generated inputs. They only guess: that a model fails on them proves nothing about the model and
is merely reported."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from serving.errors import LoadError
from serving.signature import Signature, Tensor

Array = np.ndarray[Any, Any]
Feeds = dict[str, Array]
Run = Callable[[Sequence[str], Mapping[str, Array]], Sequence[Any]]

# For guessing dimensions: wrong guesses fail in microseconds.
SEARCH_SECONDS = 5.0

# Sizes tried for dimensions that may vary: first those with room to differ, then what
# image and audio models want, then the very small.
_SIZES = (16, 8, 32, 64, 48, 128, 224, 256, 320, 512, 1, 2, 3, 4, 5)


@dataclass(frozen=True, slots=True)
class Style:
    """How values are drawn: integers from ``low`` to ``high``, floats scaled by ``scale``
    (0: evenly between 0 and 1)."""

    low: int
    high: int
    scale: float = 0.0


# Small non-negative integers: they are indices more often than not, and never divide
# the smallest integer by -1, which would kill the process (fact C1).
STYLES = (Style(0, 7), Style(0, 1), Style(1, 9), Style(0, 127, 1.0), Style(0, 99, 4.0))


@dataclass(frozen=True, slots=True)
class Plan:
    """How to make inputs that the model has been seen to run on.

    ``sizes``: (input, axis) -> size of a dimension that varies. With ``by_rows`` axis 0 is
    left to ``make``.
    """

    inputs: tuple[Tensor, ...]
    sizes: Mapping[tuple[str, int], int]
    style: Style
    by_rows: bool

    def make(self, rows: int = 1, seed: int = 0, style: Style | None = None) -> Feeds:
        """Inputs whose values, and whose rows, differ; the same for the same arguments."""
        rng = np.random.default_rng(seed)
        return {
            tensor.name: values(
                rng, tensor.datatype, self._shape(tensor, rows), style or self.style
            )
            for tensor in self.inputs
        }

    def shapes(self, rows: int = 1) -> tuple[tuple[int, ...], ...]:
        """Of the inputs, in their order."""
        return tuple(self._shape(tensor, rows) for tensor in self.inputs)

    def _shape(self, tensor: Tensor, rows: int) -> tuple[int, ...]:
        return tuple(
            rows
            if self.by_rows and axis == 0
            else (dim if dim >= 0 else self.sizes[tensor.name, axis])
            for axis, dim in enumerate(tensor.shape)
        )


class Source(Protocol):
    """Where inputs of any number of rows come from: a plan, or the user's samples."""

    @property
    def style(self) -> Style: ...
    @property
    def by_rows(self) -> bool: ...
    def make(self, rows: int = 1, seed: int = 0, style: Style | None = None) -> Feeds: ...


def values(rng: np.random.Generator, datatype: str, shape: tuple[int, ...], style: Style) -> Array:
    """Random values of a datatype: BF16 as the uint16 of its bits, BYTES as ``str``."""
    if datatype == "BOOL":
        return np.asarray(rng.integers(0, 2, shape), bool)
    if datatype == "BYTES":
        numbers = rng.integers(style.low, style.high + 1, shape)
        texts = np.empty(shape, object)
        texts[...] = np.asarray(numbers).astype(str)
        return texts
    if datatype in ("FP16", "FP32", "FP64", "BF16"):
        drawn = rng.normal(size=shape) * style.scale if style.scale else rng.random(shape)
        if datatype == "BF16":
            bits = np.asarray(drawn, np.float32).view(np.uint32)
            return np.asarray(bits >> 16, np.uint16)
        return np.asarray(drawn, Tensor("", datatype, ()).dtype)
    # A lone integer is a step, a size or a divisor: some operators die of a zero (STFT).
    low = style.low if shape else max(1, style.low)
    return np.asarray(rng.integers(low, style.high + 1, shape), Tensor("", datatype, ()).dtype)


def find_plan(
    run: Run,
    signature: Signature,
    by_rows: bool,
    hints: Iterable[Feeds] = (),
    with_optional: bool = False,
    on_failure: Callable[[Exception], None] = lambda error: None,
) -> Plan | None:
    """Guess sizes and values until the model runs; ``None`` when nothing was found in time.

    ``hints``: inputs known to work, whose sizes are tried first. ``on_failure`` hears why a
    guess did not run.
    """
    inputs = tuple(t for t in signature.inputs if with_optional or not t.optional)
    names = [tensor.name for tensor in signature.outputs]
    end = time.monotonic() + SEARCH_SECONDS
    for sizes in _candidates(inputs, by_rows, hints):
        for style in STYLES:
            plan = Plan(inputs, sizes, style, by_rows)
            try:
                run(names, plan.make())
            except LoadError:
                raise
            except Exception as error:  # noqa: BLE001 - a wrong guess, as most are
                on_failure(error)
                if time.monotonic() > end:
                    return None
                continue
            return plan
    return None


def _candidates(
    inputs: Sequence[Tensor], by_rows: bool, hints: Iterable[Feeds]
) -> Iterator[dict[tuple[str, int], int]]:
    free = [
        (tensor.name, axis)
        for tensor in inputs
        for axis, dim in enumerate(tensor.shape)
        if dim < 0 and not (by_rows and axis == 0)
    ]
    for feeds in hints:
        if all(name in feeds and axis < feeds[name].ndim for name, axis in free):
            yield {(name, axis): feeds[name].shape[axis] for name, axis in free}
    if not free:
        yield {}
        return
    # One size for all of them: dimensions of one name must agree, and most others may.
    for size in _SIZES:
        yield dict.fromkeys(free, size)
    if not by_rows:
        # Axis 0 is often a batch although the model as a whole cannot be batched.
        for size in _SIZES:
            yield {(name, axis): 1 if axis == 0 else size for name, axis in free}
