"""Whether a configuration fits the model it was written for, and what it makes of it."""

from __future__ import annotations

from dataclasses import replace

from serving.errors import ConfigError
from serving.model_config import signatures
from serving.model_config.schema import ModelConfig, TensorConfig
from serving.model_config.words import suggestion
from serving.signature import Signature, Tensor


def fit_signature(name: str, config: ModelConfig, signature: Signature) -> Signature:
    """The signature that model ``name`` is served with: the graph's, as the configuration
    narrows it. A side that the configuration lists is limited to what it lists.

    Raises ConfigError where the two contradict each other, or where ``max_batch_size`` is above
    0 and some input or output has no dynamic axis 0, as Triton does, or where the signatures that
    it names ask for what the model has not. Batching that is only
    asked for is no contradiction: such a model is served unbatched, and the verdict says so.
    """
    fitted = replace(
        signature,
        inputs=_fit_side(name, "input", signature.inputs, config.inputs),
        outputs=_fit_side(name, "output", signature.outputs, config.outputs),
    )
    listed = {tensor.name for tensor in fitted.inputs}
    missing = [t.name for t in signature.inputs if t.name not in listed and not t.optional]
    if missing:
        raise ConfigError(
            f"model {name!r}: the configuration lists inputs but not the required {missing[0]!r}"
        )
    # Asked of the graph itself: a narrowed axis 0 is the configuration's own doing.
    if config.max_batch_size and not signature.may_batch:
        raise ConfigError(
            f"autofill failed for model {name!r}: model does not support batching while "
            "non-zero max_batch_size is specified; for batching the first dimension of every "
            "input and output must be variable"
        )
    signatures.fitted(config.signatures, fitted)
    return fitted


def _fit_side(
    name: str, side: str, tensors: tuple[Tensor, ...], written: tuple[TensorConfig, ...]
) -> tuple[Tensor, ...]:
    if not written:
        return tensors
    by_name = {entry.name: entry for entry in written}
    known = [tensor.name for tensor in tensors]
    for entry in written:
        if entry.name not in known:
            raise ConfigError(
                f"model {name!r} has no {side} {entry.name!r}{suggestion(entry.name, known)}"
            )
    return tuple(
        _fit(f"model {name!r}, {side} {tensor.name!r}", tensor, by_name[tensor.name])
        for tensor in tensors
        if tensor.name in by_name
    )


def _fit(where: str, tensor: Tensor, entry: TensorConfig) -> Tensor:
    if entry.datatype not in (None, tensor.datatype):
        raise ConfigError(
            f"{where}: the configuration says {entry.datatype}, the model has {tensor.datatype}"
        )
    if entry.optional and not tensor.optional:
        raise ConfigError(f"{where}: optional, but the graph has no value to use in its place")
    return replace(
        tensor,
        shape=_fit_shape(where, tensor.shape, entry.shape),
        optional=tensor.optional if entry.optional is None else entry.optional,
        described=entry.described,
    )


def _fit_shape(
    where: str, shape: tuple[int, ...], written: tuple[int, ...] | None
) -> tuple[int, ...]:
    # A scalar can only be written as [1] in config.pbtxt.
    if written is None or (not shape and written == (1,)):
        return shape
    pairs = zip(shape, written, strict=False)
    if len(shape) != len(written) or any(model not in (-1, said) for model, said in pairs):
        cure = "; a tensor that is nothing but the batch axis is written as dims: [1] reshape { }"
        raise ConfigError(
            f"{where}: the configuration says {list(written)}, the model has {list(shape)}"
            f"{cure if len(shape) == 1 and written == (-1, 1) else ''}"
        )
    return written
