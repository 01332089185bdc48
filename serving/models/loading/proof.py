"""Whether a model may be batched: proven by running it, not by its shapes alone.

That axis 0 varies everywhere is necessary and not enough: it may be time, or a model may
mix its rows (fault table C4). So rows that differ are run alone and together, in several
numbers and with several neighbours, and each row's answers must agree.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.errors import LoadError
from serving.execution.faults import classify, short_of_memory
from serving.model_config.schema import ModelConfig, Tolerance
from serving.models.loading.warmup import STYLES, Array, Feeds, Run, Source
from serving.settings import Settings
from serving.signature import Signature

# Which rows run together: several numbers of rows, and the same rows beside others.
_GROUPS = ((0, 1), (0, 1, 2), (0, 1, 2, 3, 4), (4, 0), (2, 1, 3))
# For models so slow that all of it would hold up the load for long.
_FEW_GROUPS = ((0, 1), (2, 1, 0))
_LONG_SECONDS = 20.0

# The rounding of narrow floats is coarser than the usual tolerance.
_LEAST_RTOL = {"FP16": 4e-3, "BF16": 3e-2}


@dataclass(frozen=True, slots=True)
class BatchingVerdict:
    """``max_rows``: most rows of a batch; 0 when each request runs alone. ``words`` say why.
    ``surprising``: the configuration asked for something else. ``open``: nothing was proven
    either way, so real requests may yet prove it."""

    batched: bool
    words: str
    max_rows: int
    surprising: bool = False
    open: bool = False


@dataclass(frozen=True, slots=True)
class Intent:
    """What configuration and settings want. ``max_rows`` 0: no batching, for ``words``."""

    max_rows: int
    explicit: bool
    words: str = ""


class _ShortError(Exception):
    """There is not the memory to run, or to compare, so many rows."""


class _DisprovedError(Exception):
    """Batching this model changes its answers; the text says how it showed."""


def intent(config: ModelConfig, settings: Settings) -> Intent:
    """The model's configuration goes before the settings; without one, batching if proven."""
    explicit = config.batching is True or bool(config.max_batch_size)
    if config.batching is False or config.max_batch_size == 0:
        return Intent(0, False, "unbatched by the model's configuration")
    if not settings.batching.enabled and not explicit:
        return Intent(0, False, "unbatched by the settings (batching.enabled)")
    return Intent(config.max_batch_size or settings.batching.max_rows, explicit)


def why_never(signature: Signature) -> str:
    """Why the shapes alone forbid batching; '' where they do not (fault 91)."""
    if signature.may_batch:
        return ""
    if not signature.inputs:
        return "the model has no inputs"
    for kind, tensors in (("input", signature.inputs), ("output", signature.outputs)):
        for tensor in tensors:
            if not tensor.shape:
                return f"{kind} '{tensor.name}' has no dimensions"
            if tensor.shape[0] != -1:
                return (
                    f"{kind} '{tensor.name}' has no variable first dimension"
                    f" (shape {list(tensor.shape)})"
                )
    return "its shapes do not allow it"


def prove(
    run: Run,
    signature: Signature,
    wanted: Intent,
    tolerance: Tolerance,
    plans: Sequence[Source | None],
    sampled: Source | None = None,
) -> BatchingVerdict:
    """The verdict on one model.

    ``plans``: how to make its inputs, one for each set of inputs that a request may bring;
    ``None`` where no input was found on which it runs. ``sampled``: rows of the user's own.
    Generated input that does not run, or whose rows all get the same answer, proves nothing:
    then the user's rows may, else the configuration decides.
    """
    ruled_out = _ruled_out(signature, wanted)
    if ruled_out is not None:
        return ruled_out
    try:
        unknowns = [_prove(run, signature, tolerance, plan) for plan in plans]
        if sampled is not None and not _prove(run, signature, tolerance, sampled):
            unknowns[:1] = []
    except _DisprovedError as disproof:
        words = f"unbatched: {disproof}{_hint(signature)}"
        return BatchingVerdict(False, words, 0, surprising=wanted.explicit)
    return _settled(wanted, next(filter(None, unknowns), ""))


def undecided(signature: Signature, wanted: Intent, unknown: str) -> BatchingVerdict:
    """The verdict where nothing could be run, for the reason ``unknown``."""
    return _ruled_out(signature, wanted) or _settled(wanted, unknown)


def _ruled_out(signature: Signature, wanted: Intent) -> BatchingVerdict | None:
    """What needs no run."""
    if not wanted.max_rows:
        return BatchingVerdict(False, wanted.words, 0)
    never = why_never(signature)
    if never:
        return BatchingVerdict(False, f"unbatched: {never}", 0, surprising=wanted.explicit)
    return None


def _settled(wanted: Intent, unknown: str) -> BatchingVerdict:
    """Nothing speaks against batching. ``unknown``: why it is not proven, '' where it is."""
    rows = f"up to {wanted.max_rows} rows"
    if not unknown:
        return BatchingVerdict(True, f"batched, {rows}: proven", wanted.max_rows)
    if wanted.explicit:
        words = f"batched, {rows}: by the model's configuration; not proven: {unknown}"
        return BatchingVerdict(True, words, wanted.max_rows)
    return BatchingVerdict(False, f"unbatched: not proven: {unknown}", 0, open=True)


def _prove(run: Run, signature: Signature, tolerance: Tolerance, plan: Source | None) -> str:
    """'' when proven, else why it stays unknown. Raises _DisprovedError."""
    try:
        return _compare(run, signature, tolerance, plan)
    except (_ShortError, MemoryError):
        return "there is not enough memory to run several rows"


def _compare(run: Run, signature: Signature, tolerance: Tolerance, plan: Source | None) -> str:
    if plan is None:
        return "the model did not run on generated input"
    names = [tensor.name for tensor in signature.outputs]
    for style in dict.fromkeys((plan.style, *STYLES[3:])):
        rows = [plan.make(1, seed, style) for seed in range(5)]
        try:
            start = time.monotonic()
            alone = [answers_of(run, names, row) for row in rows]
            seconds = time.monotonic() - start
        except LoadError:
            raise
        except Exception:  # noqa: BLE001, S112, RUF100 - these values are not for this model
            continue
        _check_rows(names, alone, 1)
        # The groups hold 15 rows, the singles were 5.
        groups = _GROUPS if seconds * 3 < _LONG_SECONDS else _FEW_GROUPS
        for group in groups:
            _check_group(run, names, tolerance, rows, alone, group)
        if _differ(alone, tolerance):
            return ""
    return "all generated rows get the same answer"


def _check_group(
    run: Run,
    names: Sequence[str],
    tolerance: Tolerance,
    rows: Sequence[Feeds],
    alone: Sequence[Sequence[Array]],
    group: Sequence[int],
) -> None:
    feeds = {name: np.concatenate([rows[i][name] for i in group]) for name in rows[0]}
    try:
        together = answers_of(run, names, feeds)
    except LoadError:
        raise
    except Exception as error:
        if short_of_memory(error):
            raise _ShortError from error
        raise _DisprovedError(
            f"rows run alone, but not {len(group)} together: {classify(error).message}"
        ) from error
    _check_rows(names, [together], len(group))
    for place, row in enumerate(group):
        for name, single, batch in zip(names, alone[row], together, strict=True):
            gap = distance(single, batch[place : place + 1], tolerance)
            if gap is not None:
                raise _DisprovedError(
                    f"in a batch of {len(group)} a row's answer changes (output '{name}', {gap})"
                )


def _check_rows(names: Sequence[str], runs: Sequence[Sequence[Array]], rows: int) -> None:
    for answers in runs:
        for name, answer in zip(names, answers, strict=True):
            if answer.ndim == 0 or answer.shape[0] != rows:
                got = f"shape {list(answer.shape)}"
                raise _DisprovedError(f"output '{name}' has {got} for {rows} rows of input")


def _differ(alone: Sequence[Sequence[Array]], tolerance: Tolerance) -> bool:
    """Whether the rows' own answers differ, so that a mix-up would have shown."""
    return any(
        distance(first, other, tolerance) is not None
        for answers in alone[1:]
        for first, other in zip(alone[0], answers, strict=True)
    )


def distance(a: Array, b: Array, tolerance: Tolerance) -> str | None:
    """``None`` when two answers agree within the tolerance; else how far apart they are.

    NaN equals NaN. Integers, booleans and strings must be the same.
    """
    if a.shape != b.shape:
        return f"shapes {list(a.shape)} and {list(b.shape)}"
    if not np.issubdtype(a.dtype, np.inexact):
        return None if np.array_equal(a, b) else "other values"
    rtol = max(tolerance.rtol, _LEAST_RTOL.get(_narrow(a), 0.0))
    x, y = a.astype(np.float64), b.astype(np.float64)
    if np.allclose(x, y, rtol=rtol, atol=tolerance.atol, equal_nan=True):
        return None
    with np.errstate(invalid="ignore"):
        gap = np.abs(x - y)
    return f"by {np.nanmax(gap):.3g}" if np.isfinite(gap).any() else "by NaN or infinity"


class _Bf16(np.ndarray[Any, Any]):
    """float32 values that were BF16."""


def _narrow(a: Array) -> str:
    return "BF16" if isinstance(a, _Bf16) else "FP16" if a.dtype == np.float16 else ""


def answers_of(run: Run, names: Sequence[str], feeds: Mapping[str, Array]) -> list[Array]:
    """The outputs of one run as arrays, BF16 as float32; BYTES as objects."""
    # The list keeps alive what BF16's addresses point into until they are copied.
    outputs = run(names, feeds)
    return [as_array(output) for output in outputs]


def as_array(output: Any) -> Array:
    """An output as an array of its own, or the one it is."""
    if not isinstance(output, tuple):
        return np.asarray(output)
    address, _, shape = output
    count = int(np.prod(shape, dtype=np.int64))
    bits = np.frombuffer(ctypes.string_at(address, 2 * count) if count else b"", np.uint16)
    return (bits.astype(np.uint32) << 16).view(np.float32).reshape(shape).view(_Bf16)


def _hint(signature: Signature) -> str:
    """The graph's own names of axis 0, where they disagree."""
    tensors = signature.inputs + signature.outputs
    names = {t.dim_names[0] for t in tensors if t.dim_names and t.dim_names[0]}
    return f"; its first dimensions are called {', '.join(sorted(names))}" if len(names) > 1 else ""
