"""The inputs of a configuration's warm-up requests (Triton's ``model_warmup``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from serving.errors import LoadError, Retry
from serving.loading.inputs.generated import STYLES, Array, Feeds, values
from serving.model_config.schema import WarmupInput, WarmupSample
from serving.signature import Signature, Tensor
from serving.user_files import read_file

# In words; a model may have thousands of inputs.
_MOST_DIFFERENCES = 4
# More than any input to warm up with.
_MOST_BYTES = 1 << 30


def feeds_of(sample: WarmupSample, signature: Signature, folder: Path) -> Feeds:
    """The inputs of one of the user's samples; ``folder`` holds the files that it names.

    Raises LoadError naming the sample and in what the model's inputs differ from its own, or
    the input that is wrong.
    """
    known = {tensor.name: tensor for tensor in signature.inputs}
    differs = list(_differences(sample, known))
    if differs:
        rest = len(differs) - _MOST_DIFFERENCES
        more = [f"and {rest} more"] if rest > 0 else []
        raise LoadError(
            f"the model's inputs are not those of warm-up sample '{sample.name}' in its"
            f" configuration: {'; '.join(differs[:_MOST_DIFFERENCES] + more)}; versions with"
            " other inputs need other samples, or are another model"
        )
    feeds: Feeds = {}
    for given in sample.inputs:
        who = f"warm-up sample '{sample.name}', input '{given.name}'"
        feeds[given.name] = _sample_value(who, given, known[given.name], folder)
    return feeds


def _differences(sample: WarmupSample, known: Mapping[str, Tensor]) -> Iterator[str]:
    """What the model takes and the sample has, where that is not the same."""
    given = {one.name: one for one in sample.inputs}
    for name, tensor in known.items():
        takes = _words(tensor.datatype, tensor.client_shape)
        one = given.get(name)
        if one is None:
            if not tensor.optional:
                yield f"the model needs '{name}' ({takes}), which the sample lacks"
        elif one.datatype not in (None, tensor.datatype) or not _fits(one, tensor):
            has = _words(one.datatype, one.shape)
            yield f"'{name}' is {has} in the sample, the model takes {takes}"
    for name in sorted(given.keys() - known.keys()):
        yield f"the sample has '{name}', the model has no such input"


def _fits(given: WarmupInput, tensor: Tensor) -> bool:
    """Whether the model may take the shape; one that is not whole is told of by itself."""
    shape = given.shape
    if shape is None or any(dim < 0 for dim in shape) or (shape == (1,) and not tensor.shape):
        return True
    return any(
        len(shape) == len(takes)
        and all(want in (-1, dim) for dim, want in zip(shape, takes, strict=True))
        for takes in (tensor.shape, tensor.client_shape)
    )


def _words(datatype: str | None, shape: Sequence[int] | None) -> str:
    """``FP32[-1,4]``."""
    return f"{datatype or ''}{'' if shape is None else list(shape)}".replace(" ", "")


def _sample_value(who: str, given: WarmupInput, tensor: Tensor, folder: Path) -> Array:
    shape = given.shape or tuple(1 if dim < 0 else dim for dim in tensor.shape)
    if given.shape is not None and any(dim < 0 for dim in given.shape):
        raise LoadError(f"{who}: every dimension must be given, got {list(given.shape)}")
    if given.shape == (1,) and not tensor.shape:
        shape = ()
    if given.fill == "file":
        return _from_file(who, given, tensor, shape, folder)
    if given.fill == "random":
        return values(np.random.default_rng(0), tensor.datatype, shape, STYLES[0])
    if tensor.datatype == "BYTES":
        return np.full(shape, "", object)
    return np.zeros(shape, tensor.dtype)


def _from_file(
    who: str, given: WarmupInput, tensor: Tensor, shape: tuple[int, ...], folder: Path
) -> Array:
    if not given.file or Path(given.file).name != given.file:
        raise LoadError(f"{who}: expected a plain file name")
    path = folder / given.file
    try:
        data = b"" if path.is_symlink() else read_file(path, _MOST_BYTES, follow=False)
    except OSError as error:
        words = f"{who}: its file cannot be read: {error.strerror}"
        # One that is missing may still come: it lies beside the version, not among its files.
        raise LoadError(words, str(error), Retry.LATER) from error
    row = (shape[0] // given.repeat, *shape[1:]) if given.repeat > 1 else shape
    count = int(np.prod(row, dtype=np.int64))
    if tensor.datatype == "BYTES":
        array = np.array(_texts(who, data, count), object).reshape(row)
    else:
        if len(data) != count * tensor.dtype.itemsize:
            raise LoadError(
                f"{who}: its file has {len(data)} bytes, expected {count * tensor.dtype.itemsize}"
            )
        array = np.frombuffer(data, tensor.dtype).reshape(row)
    return np.concatenate([array] * given.repeat) if given.repeat > 1 else array


def _texts(who: str, data: bytes, count: int) -> list[str]:
    """Length-prefixed elements (four bytes, little endian), strictly UTF-8."""
    texts, at = [], 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "little")
        if end > len(data):
            raise LoadError(f"{who}: its file ends within an element")
        try:
            texts.append(data[at + 4 : end].decode())
        except UnicodeDecodeError:
            raise LoadError(f"{who}: its file holds text that is not UTF-8") from None
        at = end
    if len(texts) != count:
        raise LoadError(f"{who}: its file has {len(texts)} elements, expected {count}")
    return texts
