"""Running rows together and alone: a witness beside the proof, and the test of what is open.

The rows would show a meeting: ordinary ones beside outliers, zeros, NaN and infinities, in
several orders. Two questions are asked of each row:

- Does its answer change with the *values* beside it? The same places, as many rows: then the
  kernels do the same arithmetic, and any difference is a meeting of rows.
- Does it change with the *number* of rows and its place? Kernels round differently then; what
  is behind a step (a rounding, a comparison) may jump, so there the step's inputs are compared.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from serving.errors import LoadError
from serving.execution.faults import classify, short_of_memory
from serving.loading.batching.answers import answers_of, distance, is_close
from serving.loading.batching.steps import Steps
from serving.loading.batching.verdict import Evidence
from serving.loading.inputs.generated import STYLES, Array, Feeds, Run, Source, Style
from serving.model_config.schema import Tolerance

# Makes a run that gives these tensors of the graph. Raises LoadError where that can't be.
Tap = Callable[[Sequence[str]], Run]

_ORDINARY = 10
# Models so slow that all of it would hold up the load for long get a few rows.
_LONG_SECONDS = 20.0
_FEW = 3
_RUNS_IN_ALL = 5
_FACTORS = (1e3, 1e6, 0.0, -1e6)
# Those of which no cast makes the smallest integer, which ends a process divided by -1 (fact C1).
_TAME_FACTORS = _FACTORS[:3]
# Floats that no finite row has.
_STRANGE = (np.nan, np.inf, -np.inf)


class _DisprovedError(Exception):
    """Rows' answers change; the text says how it showed."""


class _ShortError(Exception):
    """There is not the memory to run, or to compare, so many rows."""


@dataclass(slots=True)
class Witness:
    """What is run, and how it is judged.

    ``names``: the outputs. ``tolerance``: what counts as the same answer for users.
    ``steps``: of the graph. ``tap``: see ``Tap``. ``inside``: tensors that are compared beside
    the outputs. ``tame``: without the strangest outliers, for models that such input could kill.
    """

    run: Run
    names: Sequence[str]
    tolerance: Tolerance
    steps: Steps = field(default_factory=Steps)
    tap: Tap | None = None
    inside: tuple[str, ...] = ()
    tame: bool = False
    # Whether memory kept it from looking at all there is.
    short: bool = False

    def examine(self, sources: Sequence[Source | None]) -> Evidence:
        """Look at rows of each source; ``None`` is one for which no input was found."""
        unknown, rounding = "", ""
        for source in sources:
            if source is None:
                unknown = unknown or "the model did not run on generated input"
                continue
            found = self._examined(source)
            if found.disproved:
                return found
            unknown, rounding = unknown or found.unknown, rounding or found.rounding
        return Evidence(unknown=unknown, rounding=rounding)

    def _examined(self, source: Source) -> Evidence:
        try:
            return _Look(self, _Rows.of(self, source)).result()
        except _DisprovedError as disproof:
            return Evidence(disproved=str(disproof))
        except (_ShortError, MemoryError):
            self.short = True
            return Evidence(unknown="there is not enough memory to run several rows")

    def answers(self, run: Run, names: Sequence[str], feeds: Feeds) -> list[Array]:
        try:
            return answers_of(run, names, feeds)
        except LoadError:
            raise
        except Exception as error:
            if short_of_memory(error):
                raise _ShortError from error
            raise


@dataclass(slots=True)
class _Rows:
    """Rows that run alone, with their answers: ordinary ones first, then outliers."""

    feeds: list[Feeds]
    alone: list[list[Array]]
    ordinary: int

    @classmethod
    def of(cls, witness: Witness, source: Source) -> _Rows:
        found = cls([], [], 0)
        start = time.monotonic()
        for seed in range(_ORDINARY):
            found._try(witness, source.make(1, seed, _style(source, seed)))
            took = (time.monotonic() - start) * 2 * _RUNS_IN_ALL
            if len(found.feeds) >= _FEW and took > _LONG_SECONDS:
                break
        found.ordinary = len(found.feeds)
        if found.ordinary == _ORDINARY:
            for feeds in list(_outliers(found.feeds[0], tame=witness.tame)):
                found._try(witness, feeds)
        return found

    def _try(self, witness: Witness, feeds: Feeds) -> None:
        try:
            answers = witness.answers(witness.run, witness.names, feeds)
        except (LoadError, _ShortError):
            raise
        except Exception:  # noqa: BLE001 - these values are not for this model
            return
        _check_rows(witness.names, answers, 1)
        self.feeds.append(feeds)
        self.alone.append(answers)


def _style(source: Source, seed: int) -> Style:
    styles = (source.style, *STYLES[3:])
    return styles[seed % len(styles)] if seed else source.style


def _outliers(row: Feeds, *, tame: bool) -> Sequence[Feeds]:
    """The row made large, very large, nothing, or strange; integers and texts at their ends."""
    floats = [name for name, array in row.items() if np.issubdtype(array.dtype, np.floating)]
    if not floats:
        return [_with(row, list(row), edge) for edge in (_lowest, _highest)]
    factors = _TAME_FACTORS if tame else _FACTORS
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = [_with(row, floats, partial(_scaled, factor=factor)) for factor in factors]
        if tame:
            return scaled
        filled = [_with(row, floats, partial(np.full_like, fill_value=x)) for x in _STRANGE]
        return [*scaled, *filled, _with(row, floats, _largest)]


def _scaled(array: Array, factor: float) -> Array:
    return np.asarray(array * array.dtype.type(factor))


def _largest(array: Array) -> Array:
    return np.full_like(array, np.finfo(array.dtype).max)


def _with(row: Feeds, names: Sequence[str], change: Callable[[Array], Array]) -> Feeds:
    return {name: change(array) if name in names else array for name, array in row.items()}


def _lowest(array: Array) -> Array:
    if array.dtype == object:
        return np.full_like(array, "")
    return np.full_like(array, np.iinfo(np.int8).min if array.dtype == np.int8 else 0)


def _highest(array: Array) -> Array:
    """Bytes at their end; wider integers may be sizes or places, and stay small."""
    if array.dtype == object:
        return np.full_like(array, "outlier " * 32)
    narrow = array.dtype.itemsize == 1 and array.dtype != bool
    return np.full_like(array, np.iinfo(array.dtype).max if narrow else 1)


@dataclass(slots=True)
class _Look:
    """One look at rows of one source."""

    witness: Witness
    rows: _Rows
    rounding: str = ""

    def result(self) -> Evidence:
        count = len(self.rows.feeds)
        if count < 2:
            return Evidence(unknown="hardly any generated row runs alone")
        for group in self._groups(count):
            self._beside_alone(group, self._together(group))
        self._beside_others(count)
        self._inside(list(range(count)), self.witness.inside, "a tensor the rules lost")
        told = "" if self._differ() else "all generated rows get the same answer"
        return Evidence(unknown=told, rounding=self.rounding)

    def _groups(self, count: int) -> list[list[int]]:
        whole = list(range(count))
        if count <= _FEW + 1:
            return [whole, whole[::-1]]
        shuffled = list(whole)
        random.Random(0).shuffle(shuffled)
        return [[0, 1], [count - 1, 0], whole, shuffled[::-1]]

    def _together(self, group: Sequence[int]) -> list[Array]:
        return self._run(self.witness.run, self.witness.names, group)

    def _run(self, run: Run, names: Sequence[str], group: Sequence[int]) -> list[Array]:
        rows = [self.rows.feeds[i] for i in group]
        feeds = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        try:
            answers = self.witness.answers(run, names, feeds)
        except (LoadError, _ShortError):
            raise
        except Exception as error:
            words = f"rows run alone, but not {len(group)} together: {classify(error).message}"
            raise _DisprovedError(words) from error
        if names is self.witness.names:
            _check_rows(names, answers, len(group))
        return answers

    def _beside_alone(self, group: Sequence[int], together: Sequence[Array]) -> None:
        """Ordinary rows' answers against those they get alone. Outliers' may overflow at one
        number of rows and not at another; they are compared in ``_beside_others``."""
        for place, row in enumerate(group):
            if row >= self.rows.ordinary:
                continue
            for at, name in enumerate(self.witness.names):
                alone, beside = self.rows.alone[row][at], together[at][place : place + 1]
                if not is_close(alone, beside):
                    self._explain(name, alone, beside, group)

    def _explain(self, name: str, alone: Array, beside: Array, group: Sequence[int]) -> None:
        """A difference is rounding, made visible by a step or not, or a disproof."""
        gap = distance(alone, beside, self.witness.tolerance)
        entering = self.witness.steps.behind.get(name)
        if gap is None:
            return
        if entering is None:
            raise _DisprovedError(
                f"in a batch of {len(group)} a row's answer changes (output '{name}', {gap})"
            )
        if not entering:
            raise _DisprovedError(
                f"in a batch of {len(group)} a row's answer changes behind too many steps to look"
                f" at them all (output '{name}', {gap})"
            )
        self._inside(group, tuple(sorted(entering)), "a step's input")
        self.rounding = self.rounding or self.witness.steps.before[min(entering)]

    def _inside(self, group: Sequence[int], names: tuple[str, ...], what: str) -> None:
        """Tensors of the graph: the same alone and together, within rounding."""
        if not names:
            return
        inputs = set(self.rows.feeds[0])
        names = tuple(name for name in names if name not in inputs)
        if not names:
            return
        run = self._tapped(names, what)
        together = self._run(run, names, group)
        for place, row in enumerate(group):
            if row < self.rows.ordinary:
                alone = self.witness.answers(run, names, self.rows.feeds[row])
                self._compare(names, alone, together, place, len(group))

    def _tapped(self, names: tuple[str, ...], what: str) -> Run:
        why = "it can't be looked at"
        if self.witness.tap is not None:
            try:
                return self.witness.tap(names)
            except LoadError as error:
                self.witness.short |= error.for_memory
                why = f"{why}: {error.reason}"
        raise _DisprovedError(f"rows' answers may change behind '{names[0]}', {what}, and {why}")

    def _compare(
        self,
        names: Sequence[str],
        alone: Sequence[Array],
        together: Sequence[Array],
        place: int,
        count: int,
    ) -> None:
        for name, one, all_ in zip(names, alone, together, strict=True):
            part = _part(one, all_, place, count)
            if part is None or (
                not is_close(one, part) and distance(one, part, self.witness.tolerance)
            ):
                raise _DisprovedError(
                    f"in a batch of {count} a row's part of '{name}' inside the graph changes"
                )

    def _beside_others(self, count: int) -> None:
        """Ordinary rows that stay in their places while other values come beside them: first
        ordinary ones, then outliers."""
        half = self.rows.ordinary // 2
        held, usual = list(range(half)), list(range(half, 2 * half))
        first = self._together(_between(held, usual))
        others = list(range(2 * half, count))
        for start in range(0, len(others), max(half, 1)):
            some = (others[start:] + others)[:half]
            if len(some) == half:
                self._unmoved(first, self._together(_between(held, some)), half)

    def _unmoved(self, first: Sequence[Array], second: Sequence[Array], held: int) -> None:
        for at, name in enumerate(self.witness.names):
            for place in range(0, 2 * held, 2):
                one, other = first[at][place : place + 1], second[at][place : place + 1]
                if not is_close(one, other):
                    raise _DisprovedError(
                        f"a row's answer changes with the rows beside it (output '{name}')"
                    )

    def _differ(self) -> bool:
        """Whether rows' own answers differ, in more than their shapes."""
        alone = self.rows.alone[: self.rows.ordinary]
        return any(
            first.shape == other.shape and distance(first, other, self.witness.tolerance)
            for answers in alone[1:]
            for first, other in zip(alone[0], answers, strict=True)
        )


def _between(held: Sequence[int], others: Sequence[int]) -> list[int]:
    """In turn: one that is held, one that is not."""
    return [row for pair in zip(held, others, strict=True) for row in pair]


def _part(alone: Array, together: Array, place: int, count: int) -> Array | None:
    """A row's block of a tensor, along the one axis that grew with the rows."""
    if alone.ndim != together.ndim:
        return None
    grown = [at for at in range(alone.ndim) if together.shape[at] != alone.shape[at]]
    if not grown:
        return together
    if len(grown) > 1 or together.shape[grown[0]] != alone.shape[grown[0]] * count:
        return None
    size = alone.shape[grown[0]]
    return together.take(range(place * size, (place + 1) * size), axis=grown[0])


def _check_rows(names: Sequence[str], answers: Sequence[Array], rows: int) -> None:
    for name, answer in zip(names, answers, strict=True):
        if answer.ndim == 0 or answer.shape[0] != rows:
            got = f"shape {list(answer.shape)}"
            raise _DisprovedError(f"output '{name}' has {got} for {rows} rows of input")
