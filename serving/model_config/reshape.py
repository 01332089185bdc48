"""Tensors that clients know in another shape than the model's (``reshape`` in config.pbtxt).

The two shapes hold the same elements: each has as many dimensions that vary, in the same order,
and between them as many elements. So a size goes from a place that varies to its counterpart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from serving.signature import Tensor

Shape = tuple[int, ...]


def agree(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether tensors of the one shape are tensors of the other, whatever size -1 takes."""
    return _blocks(one) == _blocks(other)


def _blocks(shape: Sequence[int]) -> list[int]:
    """Elements before, between and behind the dimensions that vary: [2, 3, -1, 4] is 6, 4."""
    varying = [-1, *(at for at, size in enumerate(shape) if size == -1), len(shape)]
    return [math.prod(shape[start + 1 : end]) for start, end in pairwise(varying)]


def reshaped(sizes: Shape, described: Shape, shape: Shape) -> Shape | None:
    """A tensor's ``sizes`` as ``shape`` has them; None where they are not as ``described``."""
    pairs = list(zip(described, sizes, strict=False))
    if len(sizes) != len(described) or any(said not in (-1, size) for said, size in pairs):
        return None
    varying = iter([size for said, size in pairs if said == -1])
    return tuple(next(varying) if size == -1 else size for size in shape)


def described_shape(tensor: Tensor, max_rows: int) -> Shape:
    """The whole shape in which the configuration that clients read describes a tensor of a
    version that is batched up to ``max_rows`` rows (0: unbatched).

    Triton's form can't say that a tensor is nothing but the batch axis: it is [-1, 1] there.
    """
    is_vector = max_rows > 0 and tensor.shape == (-1,) and tensor.described is None
    return (-1, 1) if is_vector else tensor.client_shape
